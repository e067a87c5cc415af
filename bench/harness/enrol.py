"""Row 13: how long the enrolment of one running pod takes, one after another."""

import subprocess
import sys
import time

import measure
from topology import BenchError, netns_path

PODS = 100
FIRST_NUMBER = 1500
WAIT_SECONDS = 10
# Watches one network namespace from within it: `ss` alone would take longer than an enrolment.
WATCHER = r"""
import ctypes, os, sys, time
namespace = os.open(sys.argv[1], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) != 0:
    sys.exit("setns: " + os.strerror(ctypes.get_errno()))
def listening():
    for name in ("tcp", "tcp6"):
        with open("/proc/thread-self/net/" + name) as table:
            if any(line.split()[3] == "0A" for line in list(table)[1:]):
                return True
    return False
if listening():
    sys.exit("there is a listener already")
print("ready", flush=True)
while not listening():
    time.sleep(0.0001)
print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
"""


def enrol_one_by_one(session):
    record = {**session.bench.identity(), "contender": "orlop", "layout": "same",
              "load": {"name": "enrol-one"}}
    if session.mesh_trouble:
        return record | {"error": session.mesh_trouble}
    names = [f"w{i}" for i in range(PODS)]
    for i, name in enumerate(names):
        session.topology.add_pod(name, "a", FIRST_NUMBER + i)
    try:
        times = sorted(one(session, name, FIRST_NUMBER + i) for i, name in enumerate(names))
    except BenchError as error:
        return record | {"error": str(error)}
    finally:
        for name in names:
            session.mesh.remove_pod(name, "a")
    record["enrol_ms_p50"] = times[len(times) // 2]
    record["enrol_ms_p99"] = times[len(times) * 99 // 100 - 1]
    record["enrol_ms_max"] = times[-1]
    record["mesh_pss_kb"] = measure.pss_kb(session.mesh.daemons["a"].pid)
    return record


def one(session, name, number):
    """Milliseconds from the pod's objects being written to the daemon listening in its namespace,
    which is the last thing an enrolment does before the pod's connections are captured."""
    watcher = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", WATCHER,
                                netns_path(name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    try:
        if watcher.stdout.readline().strip() != "ready":
            raise BenchError(f"watching pod {name}: {watcher.stderr.read().strip()}")
        begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        session.mesh.add_pod(name, "a", session.topology.address("a", number))
        out, _ = watcher.communicate(timeout=WAIT_SECONDS)
        return (int(out) - begin) / 1e6
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"pod {name} was not enrolled within {WAIT_SECONDS} s") from late
    finally:
        watcher.kill()
        watcher.wait()
