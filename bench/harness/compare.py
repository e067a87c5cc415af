"""Suite `compare`: the daemons in ORLOP_COMPARE, in turns, under the same loads.

For the person who changes orlopd: was it worth it? Each round starts every daemon once, in a new
order, and runs the loads of ORLOP_COMPARE_LOADS (LAYOUT:LOAD, parted by commas) through it.
"""

import os
import random
from pathlib import Path
from statistics import median

import measure
from topology import BenchError

ROUNDS = 5
LOADS = "same:saturated-64,two:saturated-64"


def compare(session, loads):
    binaries = [Path(p) for p in os.environ.get("ORLOP_COMPARE", "").split(":") if p]
    missing = [str(p) for p in binaries if not p.is_file()]
    if len(binaries) < 2 or missing:
        raise BenchError("compare: ORLOP_COMPARE names two daemons or more, FILE:FILE"
                         + "".join(f"; no file {p}" for p in missing))
    steps = [pick(word, loads) for word in os.environ.get("ORLOP_COMPARE_LOADS", LOADS).split(",")]
    rounds = int(os.environ.get("ORLOP_COMPARE_ROUNDS", ROUNDS))
    seen = {}
    for _ in range(rounds):
        for number in random.sample(range(len(binaries)), len(binaries)):
            restart(session, binaries[number])
            for layout, load in steps:
                result = run_once(session, layout, load)
                seen.setdefault((layout, load.name), {}).setdefault(number, []).append(result)
    for (layout, name), by_binary in seen.items():
        show(layout, name, by_binary)


def pick(word, loads):
    layout, _, name = word.partition(":")
    return layout, measure.pick_load(f"compare: '{word}'", layout, name, loads)


def restart(session, binary):
    for node in ("a", "b"):
        session.mesh.stop(node)
    session.mesh.binary = binary
    for node in ("a", "b"):
        session.mesh.start(node)


def run_once(session, layout, load):
    contender = session.orlop(layout)
    if contender.absent:
        raise BenchError(f"compare: {session.mesh.binary}: {contender.absent}")
    measure.pin(contender, load.pinning)
    result = measure.run_load(session.bench, contender, load, session.backends[contender.server])
    if "error" in result:
        raise BenchError(f"compare: {session.mesh.binary}: {result['error']}")
    return result


def show(layout, name, by_binary):
    base = by_binary[0]
    for number in sorted(by_binary):
        results = by_binary[number]
        ratios = [mine["rate"] / theirs["rate"] for mine, theirs in zip(results, base)]
        costs = [mine["cpu_mesh_us"] / theirs["cpu_mesh_us"] for mine, theirs in zip(results, base)]
        print(f"{layout:5} {name:24} daemon {number + 1}"
              f" {median(r['rate'] for r in results):9.0f}/s"
              f" ({median(ratios):.3f}: {min(ratios):.3f} to {max(ratios):.3f})"
              f"  CPU {median(r['cpu_mesh_us'] for r in results):6.2f} us"
              f" ({median(costs):.3f}: {min(costs):.3f} to {max(costs):.3f})"
              f", least {min(r['cpu_mesh_us'] for r in results):6.2f} us"
              f"  p50 {median(r['p50_us'] for r in results):7.1f} us", flush=True)
