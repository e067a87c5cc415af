"""What a request costs that no clock shows: heap allocations, bytes copied, bytes to the kernel."""

import os
import subprocess
import tempfile
import time

import measure

SECONDS = 1.5
ATTACH_SECONDS = 1  # perf says nothing when it has begun


def counted(session, layout, load):
    """Allocations and copies in user space, by a preloaded library: a run of its own, for which the
    daemons are restarted. Copies that the compiler wrote out in place are not seen."""
    mesh = session.mesh
    nodes = ("a",) if layout == "same" else ("a", "b")
    try:
        restart(mesh, nodes, preload=session.bench.binaries / "bench-alloc-count.so")
        contender = session.orlop(layout)
        if contender.absent:
            return {"allocations_error": contender.absent}
        measure.pin(contender, load.pinning)
        result = measure.run_load(session.bench, contender, load,
                                  session.backends[contender.server],
                                  extra=["--counter-file", str(mesh.counter_file)], seconds=SECONDS)
    finally:
        restart(mesh, nodes)
    if "error" in result:
        return {"allocations_error": result["error"]}
    names = {"counted_per_reply": "allocations_per_request", "copies_per_reply":
             "copies_per_request", "copied_bytes_per_reply": "copied_bytes_per_request"}
    return {name: result[theirs] for theirs, name in names.items() if theirs in result}


def restart(mesh, nodes, preload=None):
    for node in nodes:
        mesh.stop(node)
    for node in nodes:
        mesh.start(node, preload=preload)


def through_kernel(session, contender, load):
    """Bytes that the rings of the daemons sent and received: results of completed operations.

    Descriptors of accepted connections count as if they were bytes, a few for each connection."""
    pids = ",".join(str(process.pid) for process in contender.mesh)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        recorder = subprocess.Popen(["perf", "record", "-q", "-m", "8M", "-e",
                                     "io_uring:io_uring_complete", "--filter", "res > 0", "-p",
                                     pids, "-o", data], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(ATTACH_SECONDS)
            result = measure.run_load(session.bench, contender, load,
                                      session.backends[contender.server], seconds=SECONDS)
        finally:
            recorder.send_signal(2)
            complaint = recorder.communicate(timeout=30)[1].strip()
        if "error" in result:
            return {"error": result["error"]}
        if not os.path.exists(data):
            return {"error": f"perf record: {complaint}"}
        script = subprocess.Popen(["perf", "script", "-i", data, "-F", "trace"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        sizes = [int(line.split("result ", 1)[1].split(",", 1)[0]) for line in script.stdout
                 if "result " in line]
        lost = script.communicate()[1]
    if not sizes or "lost" in lost.lower():
        return {"error": f"perf: events are missing: {lost.strip() or complaint}"}
    replies = result["rate"] * (SECONDS + session.bench.warmup)  # perf saw the warm-up as well
    return {"bytes_per_request": sum(sizes) / replies, "operations_per_request":
            len(sizes) / replies}
