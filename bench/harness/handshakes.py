"""Rows 8 and 9: TLS handshakes of a pair, full and resumed, and the first request of a connection.

The sidecar pairs take a connection of their own to the other sidecar for every request (see
opponents/*/handshake-*). orlopd keeps one tunnel for all requests of a pod to another, so
bench-load destroys that tunnel after every reply: one request at a time, and each needs a
handshake. What is compared is the CPU of both ends per handshake; that includes the request around
it. For full handshakes a preloaded library keeps the daemon from offering a session.
"""

import random
from dataclasses import replace

import measure
from admin import Api
from opponents import HANDSHAKE_PAIRS

HBONE_PORT = 15008
MODES = ("full", "resumed")
SHARE_MIN = 0.95  # of requests, that must have had the handshake that is being measured


def loads(mode):
    """(of the sidecar pairs, of orlopd): as many handshakes as there is CPU for; and what the first
    request of a cold connection waits."""
    rate = measure.Load(f"handshakes-{mode}", connections=16)
    cold = measure.Load(f"cold-connection-{mode}", connections=1, traffic="connect")
    pairs = [(rate, replace(rate, connections=1, sever_port=HBONE_PORT))]
    return pairs + ([(cold, replace(cold, sever_port=HBONE_PORT))] if mode == "full" else [])


def handshakes(session, repetitions, say):
    for mode in MODES:
        preload = session.bench.binaries / "bench-full-handshakes.so" if mode == "full" else None
        if session.mesh and not session.mesh_trouble:
            session.mesh.stop("a")
            session.mesh.start("a", preload=preload)
        pairs = [session.opponents.handshake_pair(name, mode) for name in HANDSHAKE_PAIRS]
        run_mode(session, mode, pairs + [session.orlop("two")], repetitions, say)
        for pair in pairs:
            session.opponents.stop(pair)
    if session.mesh and not session.mesh_trouble:
        session.mesh.stop("a")
        session.mesh.start("a")


def run_mode(session, mode, contenders, repetitions, say):
    voided = set()
    for repetition in range(repetitions):
        order = [(c, which) for c in contenders for which in loads(mode)]
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
