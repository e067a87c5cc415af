"""One measurement: a load against a contender, with the machine's own noise beside it."""

import functools
import hashlib
import json
import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from topology import BenchError, netns_path

FOREIGN_RETRY, FOREIGN_DROP = 0.15, 0.2  # cores
STILL_KB = 512


@dataclass(frozen=True)
class Load:
    name: str
    connections: int = 64
    rate: int = 0  # 0: closed loop
    traffic: str = "keepalive"
    path: str = "/"
    reply_bytes: int = 1024
    pinning: str = "A"  # A: load and backend on core 0, mesh on core 1; one: all on core 0
    check_content: int = 0
    streams: int = 1  # HTTP/2 requests at once on each connection
    sever_port: int = 0  # destroy the caller's connections to it after every reply


def pick_load(asked, layout, name, loads):
    """The load of that name; `asked` says in the error what asked for it."""
    load = next((known for known in loads if known.name == name), None)
    if layout not in ("same", "two") or load is None:
        raise BenchError(f"{asked}: layout is same or two, load one of"
                         f" {', '.join(known.name for known in loads)}")
    return load


class Noise:
    strict = "strict"  # drop a run with too much foreign CPU
    accepted = "accepted"  # keep it: for the smoke test, where no figure counts


@dataclass
class Bench:
    """Where programs and results are, and what identifies this run."""
    binaries: Path
    results: Path
    noise: str
    seconds: float
    warmup: float
    suite: str
    noisy_in_a_row: int = 0

    def identity(self):
        return {"suite": self.suite, "noise": self.noise, "commit": commit(),
                "kernel": platform.release(), "cpu": cpu_model(), "cores": os.cpu_count(),
                "configuration": configuration_hash(),
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}

    def finish(self):
        """The last line: without it the report takes the file for a half-finished run."""
        if self.results.exists():
            self.append({**self.identity(), "contender": "", "layout": "",
                         "load": {"name": "finished"}})

    def append(self, record):
        with self.results.open("a") as out:
            out.write(json.dumps(record) + "\n")


@functools.cache
def configuration_hash():
    """Of everything that decides what is compared: opponents, orlop's objects, loads, harness."""
    root = Path(__file__).resolve().parent.parent
    text = hashlib.sha256()
    for path in sorted([*root.glob("opponents/*/*"), *root.glob("harness/*.py")]):
        text.update(path.name.encode() + b"\0" + path.read_bytes())
    return text.hexdigest()[:12]


@functools.cache
def commit():
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(["git", "-c", f"safe.directory={root}", "-C", str(root), "describe",
                           "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def run_load(bench, contender, load, backend, extra=(), seconds=None):
    """The load generator's JSON as a dict; {"error": ...} when an answer was wrong."""
    pids = ",".join(str(process.pid) for process in contender.backends or [backend])
    argv = ["nsenter", f"--net={netns_path(contender.client)}", "taskset", "-c", "0",
            str(bench.binaries / "bench-load"), "--address", contender.address, "--port",
            str(contender.port), "--host", contender.host, "--connections", str(load.connections),
            "--seconds", str(seconds or bench.seconds), "--warmup", str(bench.warmup),
            "--traffic", load.traffic, "--path", load.path, "--reply-bytes",
            str(load.reply_bytes), "--rate", str(load.rate), "--check-content",
            str(load.check_content), "--streams", str(load.streams), "--sever-port",
            str(load.sever_port), "--watch", f"backend={pids}", *extra]
    for target in contender.targets:
        argv += ["--target", ",".join(target)]
    if contender.mesh:
        argv += ["--watch", "mesh=" + ",".join(str(p.pid) for p in contender.mesh)]
    cgroup = getattr(contender, "client_cgroup", None)

    def join_cgroup():
        if cgroup is not None:
            (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))

    limit = bench.warmup + (seconds or bench.seconds) + 30
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False,
                              preexec_fn=join_cgroup)
    except subprocess.TimeoutExpired:
        return {"error": f"no result within {limit:.0f} s"}
    if not done.stdout.strip():
        return {"error": done.stderr.strip() or f"bench-load exit {done.returncode}"}
    return json.loads(done.stdout)


def pin(contender, pinning):
    core = "1" if pinning == "A" else "0"
    for process in contender.mesh:
        done = subprocess.run(["taskset", "-acp", core, str(process.pid)], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"taskset {process.name}: {done.stderr.strip()}")


def measure(bench, contender, load, backend, repetition, judge=None):
    """Records and returns one result; a noisy run is retried once, then recorded as dropped.
    `judge` may add to the record, an "error" included, when the load itself went well."""
    record = {**bench.identity(), "contender": contender.name, "layout": contender.layout,
              "load": asdict(load), "repetition": repetition}
    if contender.absent:
        record["error"] = contender.absent
        bench.append(record)
        return record
    dead = [p for p in contender.mesh if not p.alive()]
    if dead:
        record["error"] = dead[0].complaint()
        bench.append(record)
        return record
    pin(contender, load.pinning)
    result = run_load(bench, contender, load, backend)
    if bench.noise == Noise.strict:
        result = reject_noise(bench, result, lambda: run_load(bench, contender, load, backend))
    if "error" not in result and contender.mesh and result.get("cpu_mesh_us", 0) < 0.5:
        result["error"] = "the mesh used no CPU: traffic went around it"
    record.update(result)
    if judge and "error" not in record:
        judge(record)
    record["pss_kb"] = sum(pss_kb(p.pid) for p in contender.mesh)
    bench.append(record)
    return record


def reject_noise(bench, result, again):
    """One retry, unless the machine has been busy for a while: then there is no point in it."""
    if result.get("foreign_cores", 0) > FOREIGN_RETRY and bench.noisy_in_a_row < 5:
        result = again()
    if result.get("foreign_cores", 0) > FOREIGN_DROP:
        result["dropped"] = f"{result['foreign_cores']:.2f} cores of foreign work"
        bench.noisy_in_a_row += 1
    else:
        bench.noisy_in_a_row = 0
    return result


def pss_kb(pid):
    return memory_kb(pid)["pss_kb"]


def memory_kb(pid):
    found = {"rss_kb": 0, "pss_kb": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n"):
            words = line.split()
            if words and words[0] in ("Rss:", "Pss:"):
                found[words[0][:-1].lower() + "_kb"] = int(words[1])
    except OSError:
        pass
    return found


def cpu_ns(pid):
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, ValueError):
            pass
    return total


def mem_available_kb(seconds_max=15):
    """What the machine has left, once that holds still for a second: what ended before gives its
    memory back late (namespaces, RCU), which would count against what is measured next."""
    deadline = time.monotonic() + seconds_max
    level, since = mem_available_now_kb(), time.monotonic()
    while time.monotonic() < min(deadline, since + 1):
        time.sleep(0.1)
        now = mem_available_now_kb()
        if abs(now - level) > STILL_KB:
            level, since = now, time.monotonic()
    return mem_available_now_kb()


def mem_available_now_kb():
    for line in Path("/proc/meminfo").read_text().split("\n"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    return 0


def median(values):
    return statistics.median(values) if values else None


def syscalls_per_request(bench, contender, load, backend, seconds=2.0):
    """strace -c over a window; the tracer slows the mesh, the calls per reply stay alike."""
    pid = contender.mesh[0].pid
    trace = subprocess.Popen(["strace", "-f", "-c", "-qq", "-S", "calls", "-p", str(pid)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(0.3)
        result = run_load(bench, contender, load, backend, seconds=seconds)
    finally:
        trace.send_signal(2)
        text = trace.communicate(timeout=20)[1]
    if "error" in result:
        return {"error": result["error"]}
    replies = result["rate"] * (seconds + bench.warmup)  # strace saw the warm-up as well
    calls = {}
    for line in text.split("\n"):
        words = line.split()
        if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3]) / replies
    return {"per_request": sum(calls.values()), "replies_per_s_traced": result["rate"],
            "by_name": dict(sorted(calls.items(), key=lambda item: -item[1])[:8])}
