"""Suite `profile`: one load through orlopd under perf, strace and the counting library."""

import json
import os
import shutil
import subprocess
import threading
import time

import flame
import measure
from copies import counted, through_kernel
from topology import BenchError

PERF_SECONDS = 5
PERF_HZ = 997


def profile(session, loads):
    layout = os.environ.get("ORLOP_PROFILE_LAYOUT", "same")
    name = os.environ.get("ORLOP_PROFILE_LOAD", "saturated-64")
    load = measure.pick_load("profile", layout, name, loads)
    if shutil.which("perf") is None:
        raise BenchError("profile: no perf; install linux-perf")
    contender = session.orlop(layout)
    if contender.absent:
        raise BenchError(contender.absent)
    folder = session.bench.results.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    backend = session.backends[contender.server]
    counters = sample(session, contender, load, backend, folder)
    counters["syscalls"] = measure.syscalls_per_request(session.bench, contender, load, backend)
    counters["kernel"] = through_kernel(session, contender, load)
    counters.update(counted(session, layout, load))
    (folder / "counters.json").write_text(json.dumps(counters, indent=1) + "\n")
    show(counters)
    print(f"{folder}: flame.svg, functions.txt, counters.json")


def show(counters):
    """Per request, for both ends of a tunnel together where the layout has one."""
    calls, kernel = counters["syscalls"], counters["kernel"]
    print(f"{counters['contender']} {counters['load']}, per request:")
    print(f"  CPU {counters['cpu_mesh_us']:.2f} us, switches {counters['switches_mesh']:.3f}")
    print("  system calls of the caller's daemon "
          + (calls.get("error") or f"{calls['per_request']:.3f}"))
    print("  bytes sent and received "
          + (kernel.get("error") or f"{kernel['bytes_per_request']:.0f} in"
             f" {kernel['operations_per_request']:.2f} operations of the ring"))
    print("  allocations, copies "
          + (counters.get("allocations_error") or f"{counters['allocations_per_request']:.4f},"
             f" {counters['copied_bytes_per_request']:.0f} bytes in"
             f" {counters['copies_per_request']:.1f} calls of memcpy and memmove"))


def sample(session, contender, load, backend, folder):
    """The load's figures while perf samples the daemons; the graph goes into `folder`."""
    data = folder / "perf.data"
    pids = ",".join(str(p.pid) for p in contender.mesh)
    result = {}

    def drive():
        result.update(measure.run_load(session.bench, contender, load, backend,
                                       seconds=PERF_SECONDS + 2))

    thread = threading.Thread(target=drive)
    thread.start()
    time.sleep(session.bench.warmup + 0.5)
    recorded = subprocess.run(["perf", "record", "-q", "-g", "-F", str(PERF_HZ), "-p", pids, "-o",
                               data, "--", "sleep", str(PERF_SECONDS)], capture_output=True,
                              text=True, check=False)
    thread.join()
    if recorded.returncode != 0:
        raise BenchError(f"perf record: {recorded.stderr.strip()}")
    script = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym"],
                            capture_output=True, text=True, check=False).stdout
    (folder / "flame.svg").write_text(flame.flame_graph(script.split("\n")))
    report = subprocess.run(["perf", "report", "-i", data, "--no-children", "-g", "none",
                             "--percent-limit", "0.3", "--stdio"], capture_output=True, text=True,
                            check=False).stdout
    (folder / "functions.txt").write_text(report)
    if not os.environ.get("ORLOP_PROFILE_KEEP"):
        data.unlink()
    return {"contender": contender.key, "load": load.name,
            **{k: v for k, v in result.items() if k not in ("cdf_us", "slices")}}
