"""Row 13: how long the enrolment of one running pod takes, one after another."""

import time

import measure
from capture_watch import Watch
from topology import BenchError, netns_path

PODS = 100
FIRST_NUMBER = 300
WAIT_SECONDS = 10


def add_idle_pods(topology, count):
    """The names of `count` pods on node a. Those of an earlier step serve again: a bridge has room
    for 1023 of them."""
    names = [f"y{i}" for i in range(count)]
    for i, name in enumerate(names):
        if name not in topology.namespaces:
            topology.add_pod(name, "a", FIRST_NUMBER + i)
    return names


def enrol_one_by_one(session):
    record = {**session.bench.identity(), "contender": "orlop", "layout": "same",
              "load": {"name": "enrol-one"}}
    if session.mesh_trouble:
        return record | {"error": session.mesh_trouble}
    names = add_idle_pods(session.topology, PODS)
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
    watch = Watch([netns_path(name)], WAIT_SECONDS)
    begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    if watch.ready:
        session.mesh.add_pod(name, "a", session.topology.address("a", number))
    captured, complaint = watch.captured_ns()
    if captured is None:
        raise BenchError(f"pod {name}: {complaint}")
    return (captured - begin) / 1e6
