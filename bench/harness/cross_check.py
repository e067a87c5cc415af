"""Is our load generator right? The same load by wrk and h2load against the same peer."""

import re
import shutil
import statistics
import subprocess

import measure
from topology import netns_path

TURNS = 3
H1 = measure.Load("cross-check-http1", connections=64)
H2 = measure.Load("cross-check-http2", connections=10, traffic="h2", streams=10)
WITHIN = 0.1


def cross_check(session):
    """Against a pair that is the bottleneck: with a faster peer a cheaper generator would win."""
    pair = session.opponents.pair("pair-mtls-h2-haproxy", "same")
    for load, tool in ((H1, wrk), (H2, h2load)):
        record = {**session.bench.identity(), "contender": tool.__name__, "layout": "same",
                  "load": {"name": load.name}}
        record.update({"error": pair.absent} if pair.absent else
                      compare(session, load, pair, tool))
        session.bench.append(record)
        shown = record.get("error") or f"{record['ratio']:.3f} x {tool.__name__}"
        print(f"{load.name:24} bench-load measures {shown}", flush=True)
    session.opponents.stop(pair)


def compare(session, load, contender, tool):
    if shutil.which(tool.__name__) is None:
        return {"error": f"no binary '{tool.__name__}'"}
    ours, theirs = [], []
    for _ in range(TURNS):
        result = measure.run_load(session.bench, contender, load,
                                  session.backends[contender.server], seconds=2)
        if "error" in result:
            return result
        ours.append(result["rate"])
        rate = tool(contender, load)
        if rate is None:
            return {"error": f"{tool.__name__} gave no rate"}
        theirs.append(rate)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return {"rate": statistics.median(ours), "rate_of_tool": statistics.median(theirs),
            "ratio": ratio, "within_10_percent": abs(ratio - 1) <= WITHIN}


def output(contender, argv):
    done = subprocess.run(["nsenter", f"--net={netns_path(contender.client)}", "taskset", "-c", "0",
                           *argv], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout


def wrk(contender, load):
    text = output(contender, ["wrk", "-t1", f"-c{load.connections}", "-d2s",
                              f"http://{contender.address}:{contender.port}/"])
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return float(found[1]) if found and "Non-2xx" not in text else None


def h2load(contender, load):
    text = output(contender, ["h2load", f"-c{load.connections}", f"-m{load.streams}", "-D2",
                              "--warm-up-time=1",
                              f"http://{contender.address}:{contender.port}/"])
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", text)
    wrong = re.search(r"status codes: .*? 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    if not rate or not wrong or any(int(n) for n in wrong.groups()):
        return None
    return float(rate[1])
