"""Rows 7, 12 and 13: what enrolled, idle pods cost in memory, CPU and time, beside sidecars."""

import functools
import time

import measure
from big_config import big_configuration
from capture_watch import Watch
from enrol import FIRST_NUMBER, add_idle_pods, enrol_one_by_one
from opponents import COMMANDS, CONFIGS
from topology import RUN, BenchError, netns_path

PODS_PER_STEP = (10, 100, 1000)
SIDECARS = 100  # more would only repeat the same number
IDLE_SECONDS = 10
ENROL_SECONDS_MAX = 120


def scale(session):
    steps = [big_configuration, sidecar_memory, enrol_one_by_one]
    steps += [functools.partial(enrolled_pods, count=count) for count in PODS_PER_STEP]
    for step in steps:
        record = step(session)
        session.bench.append(record)
        print({k: v for k, v in record.items() if k not in session.bench.identity()}, flush=True)


def base(session, contender, name):
    return {**session.bench.identity(), "contender": contender, "layout": "same",
            "load": {"name": name}}


def sidecar_memory(session):
    """PSS of real sidecars (the callee's side of the HTTP/2 pair), idle, one per pod."""
    record = base(session, "sidecar-haproxy", "pods-sidecars")
    template = (CONFIGS / "haproxy" / "pair-mtls-h2-server.cfg").read_text()
    text = template.replace("@CERTS@", str(session.opponents.certificates))
    text = text.replace("@APP_PORT@", "8080")
    processes, before = [], measure.mem_available_kb()
    try:
        for i in range(SIDECARS):
            config = RUN / f"sidecar-{i}.cfg"
            config.write_text(text.replace("@MESH_PORT@", str(20000 + i)))
            processes.append(session.topology.start(f"sidecar-{i}", "t",
                                                    COMMANDS["haproxy"](config)))
        session.topology.wait_listening(processes[-1], "t", 20000 + SIDECARS - 1, seconds=60)
        record["pods"] = SIDECARS
        record["pss_kb"] = sum(measure.pss_kb(p.pid) for p in processes)
        record["mem_available_kb"] = before - measure.mem_available_kb()
        record["idle_cpu_percent"] = idle_cpu_percent(processes)
    except BenchError as error:
        record["error"] = str(error)
    for process in processes:
        session.topology.stop(process)
    return record


def idle_cpu_percent(processes):
    def used():
        return sum(measure.cpu_ns(p.pid) for p in processes)

    first, begin = used(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (used() - first) / 1e9 / (time.monotonic() - begin) * 100


def enrolled_pods(session, count):
    """A fresh daemon, then `count` pods at once: time until all are captured, and what stays."""
    record = base(session, "orlop", f"pods-{count}")
    if session.mesh_trouble:
        record["error"] = session.mesh_trouble
        return record
    mesh, topology = session.mesh, session.topology
    names = add_idle_pods(topology, count)
    try:
        mesh.stop("a")
        daemon = mesh.start("a")
        idle = measure.memory_kb(daemon.pid)
        available = measure.mem_available_kb()
        watch = Watch([netns_path(name) for name in names], ENROL_SECONDS_MAX)
        begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if watch.ready:
            for i, name in enumerate(names):
                mesh.add_pod(name, "a", topology.address("a", FIRST_NUMBER + i))
            record["written_s"] = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - begin) / 1e9
        captured, complaint = watch.captured_ns()
        if captured is None:
            return record | {"error": complaint}
        record["enrol_s"], record["pods"] = (captured - begin) / 1e9, count
        record["pss_kb"] = measure.pss_kb(daemon.pid)
        record["pss_kb_per_pod"] = (record["pss_kb"] - idle["pss_kb"]) / count
        record["mem_available_kb"] = available - measure.mem_available_kb() + idle["pss_kb"]
        record["idle_cpu_percent"] = idle_cpu_percent([daemon])
    except BenchError as error:
        record["error"] = str(error)
    finally:
        for name in names:
            mesh.remove_pod(name, "a")
    return record
