"""Rows 8 and 9: TLS handshakes of a pair, full and resumed, and the first request of a connection.

The sidecar pairs take a connection of their own to the other sidecar for every request (see
opponents/*/handshake-*), 16 at once. orlopd keeps one tunnel for all requests of a pod to another,
so one caller asks 16 pods of the other node, one request at a time each, and bench-load destroys a
pod's tunnel after its reply: every request needs a handshake. What is compared is the CPU of both
ends per handshake; that includes the request around it. For full handshakes a preloaded library
keeps the daemon from offering a session.
"""

import random
from dataclasses import replace

import measure
from admin import Api
from mesh import NAMESPACE, SERVICE, write
from opponents import APP_PORT, HANDSHAKE_PAIRS

HBONE_PORT = 15008
MODES = ("full", "resumed")
AT_ONCE = 16
COLD_RATE = 100
FIRST_NUMBER = 60  # of the addresses of the pods that are asked
SHARE_MIN = 0.95  # of requests, that must have had the handshake that is being measured


def loads(mode):
    """(of the sidecar pairs, of orlopd): as many handshakes as there is CPU for; and what the first
    request of a cold connection waits."""
    rate = measure.Load(f"handshakes-{mode}", connections=AT_ONCE)
    # Slow enough that the end of the connection before, which each mesh has in its own way and
    # orlopd by force, is over when the next one begins.
    cold = measure.Load(f"cold-connection-{mode}", connections=1, traffic="connect", rate=COLD_RATE)
    pairs = [(rate, replace(rate, sever_port=HBONE_PORT))]
    return pairs + ([(cold, replace(cold, sever_port=HBONE_PORT))] if mode == "full" else [])


class Callees:
    """AT_ONCE enrolled pods on node b, a Service and a backend each."""

    def __init__(self, session):
        self.targets, self.backends = [], []
        for i in range(AT_ONCE):
            pod, service = f"h{i}", f"10.72.1.{i + 1}"
            address = session.topology.address("b", FIRST_NUMBER + i)
            session.topology.add_pod(pod, "b", FIRST_NUMBER + i)
            session.mesh.add_pod(pod, "b", address)
            write(session.mesh.root / "config", f"service-{pod}.yaml", SERVICE.format(
                name=f"server-{pod}", ns=NAMESPACE, ip=service, pod=pod, port=APP_PORT))
            self.backends.append(session.start_backend(pod, session.mesh.pod_cgroup(pod, "b")))
            self.targets.append((service, f"server-{pod}", address))

    def contender(self, session):
        contender = session.orlop("two")
        if not contender.absent:
            contender.targets, contender.backends = self.targets, self.backends
            contender.absent = session.first_answer(contender, connections=AT_ONCE)
        return contender

    def remove(self, session):
        for i, process in enumerate(self.backends):
            session.mesh.remove_pod(f"h{i}", "b")
            (session.mesh.root / "config" / f"service-h{i}.yaml").unlink(missing_ok=True)
            session.topology.stop(process)


def handshakes(session, repetitions, say):
    callees = Callees(session) if session.mesh and not session.mesh_trouble else None
    for mode in MODES:
        preload = session.bench.binaries / "bench-full-handshakes.so" if mode == "full" else None
        if session.mesh and not session.mesh_trouble:
            session.mesh.stop("a")
            session.mesh.start("a", preload=preload)
        pairs = [session.opponents.handshake_pair(name, mode) for name in HANDSHAKE_PAIRS]
        several = callees.contender(session) if callees else session.orlop("two")
        run_mode(session, mode, [*pairs, session.orlop("two"), several], repetitions, say)
        for pair in pairs:
            session.opponents.stop(pair)
    if callees:
        callees.remove(session)
        session.mesh.stop("a")
        session.mesh.start("a")


def run_mode(session, mode, contenders, repetitions, say):
    voided = set()
    for repetition in range(repetitions):
        order = [(c, which) for c in contenders for which in loads(mode) if runs(c, which[1])]
        random.shuffle(order)
        for contender, (theirs, ours) in order:
            load = ours if contender.name == "orlop" else theirs
            if (contender.key, load.name) in voided:
                continue
            judge = pair_judge
            if contender.name == "orlop" and not contender.absent:
                judge = OrlopJudge(Api(session.mesh.root / "a.sock"), mode)
            record = measure.measure(session.bench, contender, load,
                                     session.backends[contender.server], repetition, judge)
            if "error" in record:
                voided.add((contender.key, load.name))
            say(record)


def runs(contender, load):
    """orlopd is there twice: with one callee for the cold connection, with many for the rate."""
    return contender.name != "orlop" or bool(contender.targets) == (load.connections > 1)


def pair_judge(record):
    record["handshakes_per_core"] = 1e6 / record["cpu_mesh_us"]


class OrlopJudge:
    """Every request must have had its handshake, and of the right kind."""

    def __init__(self, api, mode):
        self.api, self.mode = api, mode
        self.before = self._counts()

    def _counts(self):
        return {outcome: self.api.handshakes(outcome) for outcome in ("full", "resumed")}

    def __call__(self, record):
        counts = {k: v - self.before[k] for k, v in self._counts().items()}
        record["daemon_handshakes"] = counts
        severed = record["severed"] / record["replies"]
        resumed = counts["resumed"] / max(1, *counts.values())
        if severed < SHARE_MIN:
            record["error"] = f"only {severed:.0%} of the requests had a tunnel of their own"
        elif (resumed < SHARE_MIN) if self.mode == "resumed" else (resumed > 1 - SHARE_MIN):
            record["error"] = f"{resumed:.0%} of the handshakes were resumed: {counts}"
        else:
            record["handshakes_per_core"] = 1e6 / record["cpu_mesh_us"] * severed
