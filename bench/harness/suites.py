"""What is run: contenders, loads, and in which order."""

import random
import time
from dataclasses import replace

import measure
import mesh as orlop
from compare import compare
from copies import counted
from cross_check import cross_check
from enrol import FIRST_NUMBER, add_idle_pods
from events import events
from flame_profile import profile
from handshakes import MODES, handshakes
from handshakes import loads as handshake_loads
from measure import Bench, Load, Noise
from opponents import APP_PORT, ECHO_PORT, FLOORS, PAIRS, SLOTS, Opponents
from scale import scale
from soak import soak
from topology import PODS, BenchError, netns_path, run

SATURATED = Load("saturated-64")
SLOW = Load("1000/s", connections=16, rate=1000)
FAST = Load("8000/s", connections=64, rate=8000)
SINGLE = Load("one-connection-one-core", connections=1, pinning="one")
CONNECT = Load("connection-per-request", connections=16, traffic="connect")
BULK = Load("bulk-8MB", connections=4, path="/bytes/8388608", reply_bytes=8388608, check_content=1)
BY_CONNECTIONS = [Load(f"saturated-{n}", connections=n) for n in (1, 16, 256)]

HTTP1_100 = Load("http1-100-connections", connections=100)
HTTP2_100 = Load("http2-100-streams", connections=1, traffic="h2", streams=100)

# What profile.sh can be asked for.
LOADS = [SATURATED, SLOW, FAST, SINGLE, CONNECT, BULK, *BY_CONNECTIONS, HTTP1_100, HTTP2_100,
         *(replace(ours, connections=1) for mode in MODES for _, ours in handshake_loads(mode))]

PAIRS_QUICK = ("pair-mtls-h2-haproxy", "pair-mtls-h2-nghttpx")


class Plan:
    """Loads for contenders; `only` picks some of them by name and layout. `beside` are loads that
    only orlop runs, in the same repetitions: what it is compared with is itself."""

    def __init__(self, contenders, loads, repetitions, only=lambda contender: True, beside=()):
        self.contenders = [c for c in contenders if only(c)]
        self.loads, self.repetitions, self.beside = loads, repetitions, beside

    def shuffled(self):
        """What is compared is measured close together, since the machine's speed changes within
        seconds: contenders of one layout under one load in turn, in any order."""
        groups = [[(c, load) for c in self.contenders if c.layout == layout]
                  for layout in {c.layout for c in self.contenders} for load in self.loads]
        for group in groups:
            group += [(c, load) for c, main in group if c.name == "orlop" and main is self.loads[0]
                      for load in self.beside]
            random.shuffle(group)
        random.shuffle(groups)
        return [run for group in groups for run in group]


def without_floors(contender):
    return not contender.name.startswith("floor-")


def between_nodes(contender):
    return contender.layout == "two"


def takes_http2(contender):
    """Whose callers may speak HTTP/2 without TLS; the backend and nginx do not."""
    return contender.name == "orlop" or "haproxy" in contender.name or "nghttpx" in contender.name


class Session:
    """One run: topology, certificates, backends, everything that is measured."""

    def __init__(self, topology, certificates, root, bench):
        self.topology = topology
        self.bench = bench
        self.opponents = Opponents(topology, certificates, bench.binaries, mesh_core=1)
        self.binary = orlop.find_binary(root)
        self.mesh = None
        self.mesh_trouble = "no binary" if self.binary is None else ""
        self.backends = {}

    def start_backends(self):
        for pod in ("s", "t", "os", "ot"):
            self._start_backend(pod)

    def _start_backend(self, pod):
        cgroup = None
        if self.mesh and pod.startswith("o"):
            cgroup = self.mesh.pod_cgroup(pod, PODS[pod][0])
        self.backends[pod] = self.start_backend(pod, cgroup)

    def start_backend(self, pod, cgroup):
        argv = [self.bench.binaries / "bench-backend", "--address", "0.0.0.0", "--port", APP_PORT,
                "--echo-port", ECHO_PORT]
        process = self.topology.start(f"backend-{pod}", pod, argv, core=0, cgroup=cgroup)
        self.topology.wait_listening(process, pod, APP_PORT)
        return process

    def start_mesh(self):
        if self.binary is None:
            return
        self.mesh = orlop.Mesh(self.topology, self.binary, 1)
        try:
            self.mesh.prepare()
            for node in ("a", "b"):
                self.mesh.start(node)
        except (BenchError, OSError) as error:
            self.mesh_trouble = str(error)

    def orlop(self, layout):
        if self.mesh_trouble:
            return orlop.absent(layout, self.mesh_trouble)
        contender = self.mesh.contender(layout)
        trouble = self.first_answer(contender)
        return orlop.absent(layout, trouble) if trouble else contender

    def is_captured(self, pod):
        """A pod is captured when the daemon listens for it in its namespace."""
        return bool(run("nsenter", f"--net={netns_path(pod)}", "ss", "-Hltn").strip())

    def first_answer(self, contender, connections=1, seconds=10):
        """Enrolment and the first configuration take a moment: try until a request is answered."""
        deadline, last = time.monotonic() + seconds, ""
        probe = Bench(self.bench.binaries, self.bench.results, Noise.accepted, 0.2, 0.1, "probe")
        while time.monotonic() < deadline:
            result = measure.run_load(probe, contender, Load("probe", connections=connections),
                                      self.backends[contender.server])
            if "error" not in result and result.get("cpu_mesh_us", 0) >= 0.5:
                return ""
            last = result.get("error", "traffic went around the daemon")
            time.sleep(0.2)
        return f"no good answer within {seconds} s: {last}"

    def contenders(self, pairs, layouts):
        made = []
        opponents = self.opponents
        for layout in layouts:
            made.append(opponents.direct(layout))
            made += [opponents.floor(name, layout) for name in FLOORS]
            if layout == "same":
                made.append(opponents.hop(layout))
            made += [opponents.pair(name, layout) for name in pairs
                     if layout == "same" or "plain" not in name]
            made += [opponents.slot(name, layout) for name in SLOTS]
            made.append(self.orlop(layout))
        return made

    def run_plan(self, plan):
        voided = set()
        for repetition in range(plan.repetitions):
            for contender, load in plan.shuffled():
                again = repetition or (contender.name in SLOTS and load is not plan.loads[0])
                if contender.absent and again:
                    continue
                if (contender.key, load.name) in voided:
                    continue
                record = measure.measure(self.bench, contender, load,
                                         self.backends[contender.server], repetition)
                if "error" in record:
                    voided.add((contender.key, load.name))
                say(record)


def say(record):
    head = f"{record['contender']:22} {record['layout']:5} {record['load']['name']:24}"
    if "error" in record:
        print(f"{head} {record['error']}", flush=True)
        return
    note = f"  DROPPED: {record['dropped']}" if "dropped" in record else ""
    print(f"{head} {record['rate']:9.0f}/s  p50 {record['p50_us']:7.0f}  p99"
          f" {record['p99_us']:7.0f} us  mesh {record.get('cpu_mesh_us', 0):6.1f} us/req{note}",
          flush=True)


def one_request(session, pods_extra):
    """What one same-node request costs in system calls and allocations; memory idle and per pod."""
    record = {**session.bench.identity(), "contender": "orlop", "layout": "same",
              "load": {"name": "one-request"}}
    contender = session.orlop("same")
    if contender.absent:
        record["error"] = contender.absent
        session.bench.append(record)
        return record
    backend = session.backends["os"]
    record["syscalls"] = measure.syscalls_per_request(session.bench, contender, SATURATED, backend)
    record.update(memory_per_pod(session, pods_extra))
    record.update(counted(session, "same", SATURATED))
    session.bench.append(record)
    return record


def memory_per_pod(session, count):
    """PSS of a fresh daemon on node a, then with `count` more idle pods enrolled."""
    mesh, topology = session.mesh, session.topology
    mesh.stop("a")
    daemon = mesh.start("a")
    session.orlop("same")  # enrolled and answering
    before = measure.memory_kb(daemon.pid)
    available = measure.mem_available_kb()
    added = add_idle_pods(topology, count)
    available_pods = measure.mem_available_kb()
    for i, pod in enumerate(added):
        mesh.add_pod(pod, "a", topology.address("a", FIRST_NUMBER + i))
    enrolled = wait_enrolled(session, added)
    after = measure.memory_kb(daemon.pid)
    found = {"idle_rss_kb": before["rss_kb"], "idle_pss_kb": before["pss_kb"],
             "pods_enrolled": enrolled, "pods_wanted": count,
             "kernel_and_daemon_kb_for_pods": available_pods - measure.mem_available_kb(),
             "empty_pods_kb": available - available_pods}
    if enrolled == count:
        found["rss_kb_per_pod"] = (after["rss_kb"] - before["rss_kb"]) / count
        found["pss_kb_per_pod"] = (after["pss_kb"] - before["pss_kb"]) / count
    for pod in added:
        mesh.remove_pod(pod, "a")
    return found


def wait_enrolled(session, pods, seconds=20):
    deadline = time.monotonic() + seconds
    waiting = set(pods)
    while waiting and time.monotonic() < deadline:
        waiting = {pod for pod in waiting if not session.is_captured(pod)}
        time.sleep(0.1)
    return len(pods) - len(waiting)


def smoke(session):
    """Does the harness work: every contender and every kind of measurement answers rightly once."""
    contenders = session.contenders(PAIRS, ("same", "two"))
    session.run_plan(Plan(contenders, [Load("smoke", connections=8)], 1))
    session.run_plan(Plan(contenders, [HTTP2_100], 1, takes_http2))
    handshakes(session, 1, say)


def quick(session):
    contenders = session.contenders(PAIRS_QUICK, ("same", "two"))
    session.run_plan(Plan(contenders, [SATURATED, SLOW], 3))
    session.run_plan(Plan(contenders, [HTTP2_100], 1, takes_http2, beside=[HTTP1_100]))
    handshakes(session, 1, say)
    show_one_request(one_request(session, 20))


def full(session):
    contenders = session.contenders(PAIRS, ("same", "two"))
    session.run_plan(Plan(contenders, [SATURATED, SLOW], 9))
    session.run_plan(Plan(contenders, [FAST, SINGLE], 9))
    session.run_plan(Plan(contenders, [CONNECT], 9, between_nodes))
    session.run_plan(Plan(contenders, [BULK], 5, without_floors))
    session.run_plan(Plan(contenders, [HTTP2_100], 5, takes_http2, beside=[HTTP1_100]))
    session.run_plan(Plan(contenders, BY_CONNECTIONS, 1, without_floors))
    attempt(session, "cross-check-step", cross_check)
    attempt(session, "swap-step", lambda s: events(s, 3))
    attempt(session, "one-request", lambda s: show_one_request(one_request(s, 100)))
    for contender in contenders:
        if contender.is_pair:
            session.opponents.stop(contender)
    attempt(session, "handshakes-step", lambda s: handshakes(s, 9, say))
    attempt(session, "pods-step", scale)


def attempt(session, name, step):
    """A step that breaks costs its own rows, not those of an hour's run."""
    try:
        step(session)
    except (BenchError, OSError, KeyError, ValueError, IndexError) as error:
        record = {**session.bench.identity(), "contender": "harness", "layout": "same",
                  "load": {"name": name}, "error": f"{type(error).__name__}: {error}"}
        session.bench.append(record)
        print(f"{name}: {record['error']}", flush=True)


def show_one_request(record):
    if "error" in record:
        print(f"one same-node request through orlopd: {record['error']}")
        return
    calls = record["syscalls"]
    print("one same-node HTTP/1.1 keep-alive request through orlopd:")
    if "error" in calls:
        print(f"  system calls: {calls['error']}")
    else:
        names = ", ".join(f"{k} {v:.3f}" for k, v in calls["by_name"].items())
        print(f"  system calls {calls['per_request']:.3f} ({names})")
    if "allocations_per_request" in record:
        print(f"  heap allocations {record['allocations_per_request']:.4f}")
        print(f"  bytes copied {record['copied_bytes_per_request']:.0f} in"
              f" {record['copies_per_request']:.1f} calls")
    else:
        print(f"  heap allocations: {record.get('allocations_error')}")
    print(f"  idle: RSS {record['idle_rss_kb'] / 1024:.1f} MB,"
          f" PSS {record['idle_pss_kb'] / 1024:.1f} MB")
    if "pss_kb_per_pod" in record:
        print(f"  per enrolled idle pod: PSS {record['pss_kb_per_pod']:.1f} KB"
              f" ({record['pods_enrolled']} pods)")
    else:
        print(f"  only {record['pods_enrolled']} of {record['pods_wanted']} pods were enrolled")


SUITES = {  # name -> (function, seconds, warm-up seconds, noise)
    "smoke": (smoke, 0.5, 0.2, Noise.accepted),
    "quick": (quick, 1.0, 0.3, Noise.strict),
    "full": (full, 0.8, 0.3, Noise.strict),
    "scale": (scale, 3.0, 0.5, Noise.strict),
    "profile": (lambda session: profile(session, LOADS), 3.0, 1.0, Noise.accepted),
    "compare": (lambda session: compare(session, LOADS), 1.5, 0.3, Noise.accepted),
    "soak": (soak, 60.0, 1.0, Noise.accepted),
}
