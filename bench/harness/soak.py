"""Suite `soak`: a quarter of an hour of traffic while the configuration changes all the time and
pods come and go. Every answer is checked; what counts is no error, and memory that stays."""

import threading
import time

import measure
from events import service_text
from mesh import write

SEGMENTS = 15
SEGMENT_SECONDS = 60
UPDATES_PER_S = 50
POD_EVERY_S = 2
PODS = [f"z{i}" for i in range(4)]
LOAD = measure.Load("soak-2000/s", connections=32, rate=2000)


class Churn:
    """Rewrites one route 50 times a second and enrols or removes a pod every two seconds."""

    def __init__(self, session):
        self.session = session
        self.stopped = threading.Event()
        self.updates = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        config = self.session.mesh.root / "config"
        next_pod = time.monotonic()
        while not self.stopped.wait(1 / UPDATES_PER_S):
            self.updates += 1
            write(config, "service-same.yaml", service_text(timeout=15 + self.updates % 5))
            if time.monotonic() >= next_pod:
                next_pod += POD_EVERY_S
                self._turn_pod(int(next_pod / POD_EVERY_S) % (2 * len(PODS)))

    def _turn_pod(self, turn):
        name, mesh = PODS[turn % len(PODS)], self.session.mesh
        if turn < len(PODS):
            address = self.session.topology.address("a", 200 + turn)
            mesh.add_pod(name, "a", address)
        else:
            mesh.remove_pod(name, "a")

    def stop(self):
        self.stopped.set()
        self.thread.join()


def soak(session):
    record = {**session.bench.identity(), "contender": "orlop", "layout": "same",
              "load": {"name": LOAD.name}}
    contender = session.orlop("same")
    if contender.absent:
        session.bench.append(record | {"error": contender.absent})
        return
    for i, name in enumerate(PODS):
        session.topology.add_pod(name, "a", 200 + i)
    churn = Churn(session)
    segments = []
    try:
        for number in range(SEGMENTS):
            result = measure.run_load(session.bench, contender, LOAD, session.backends["os"],
                                      seconds=SEGMENT_SECONDS)
            pss = measure.pss_kb(session.mesh.daemons["a"].pid)
            segments.append({"p99_us": result.get("p99_us"), "pss_kb": pss})
            print(f"minute {number + 1}: {result.get('error') or result['p99_us']} p99 us,"
                  f" PSS {pss / 1024:.1f} MB, {churn.updates} updates", flush=True)
            if "error" in result:
                record["error"] = result["error"]
                break
    finally:
        churn.stop()
        for name in PODS:
            session.mesh.remove_pod(name, "a")
    session.bench.append(record | {"segments": segments, "updates": churn.updates,
                                   "pss_growth_kb": segments[-1]["pss_kb"] - segments[0]["pss_kb"]})
