"""Rows 14 and 15: what a caller notices of a configuration swap, and of a noisy neighbour."""

import contextlib
import os
import statistics
import threading
import time

import measure
from mesh import NAMESPACE, SERVICE_IP, SERVICE, write
from opponents import APP_PORT

SLICE_MS = 100
SWAP = measure.Load("swap-5000/s", connections=32, rate=5000)
SWAP_SECONDS = 6
VICTIM = measure.Load("victim-100/s", connections=4, rate=100)
NOISE = measure.Load("neighbour-10000/s", connections=64, rate=10000)
VICTIM_SECONDS = 4
SERVICES_SWAPPED = 200


def record_of(session, name):
    return {**session.bench.identity(), "contender": "orlop", "layout": "same",
            "load": {"name": name}}


def configuration_swap(session, repetition):
    """Every Service, route and rule is rewritten at once while 5000 requests/s run."""
    record = record_of(session, "swap-5000/s") | {"repetition": repetition}
    contender = session.orlop("same")
    if contender.absent:
        return record | {"error": contender.absent}
    config = session.mesh.root / "config"
    swap_at = session.bench.warmup + SWAP_SECONDS / 2
    services = bystanders(repetition)
    rules = service_text(timeout=15 + repetition % 2 + 1)

    def swap():
        # Whoever writes is no part of the mesh: it takes no time from a core that has other work.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        time.sleep(swap_at)
        write(config, "swapped.yaml", services)
        write(config, "service-same.yaml", rules)

    session.mesh.stop("b")  # another machine's: here it would read the same files on core 1
    thread = threading.Thread(target=swap)
    thread.start()
    with before_others(session.backends["os"].pid):
        result = measure.run_load(session.bench, contender, SWAP, session.backends["os"],
                                  extra=["--slice-ms", str(SLICE_MS)], seconds=SWAP_SECONDS)
    thread.join()
    session.mesh.start("b")
    (config / "swapped.yaml").unlink(missing_ok=True)
    record.update(result)
    if "error" not in result:
        record.update(around_swap(result["slices"]))
    return record


@contextlib.contextmanager
def before_others(backend):
    """Generator and backend come before whatever else wants their core: what they wait for shall
    be the mesh. Only for a rate that leaves the core idle most of the time."""
    who = (0, backend)  # 0: this thread, whose children inherit
    for pid in who:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        for pid in who:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def around_swap(slices):
    """p99 of quiet slices before the swap, the worst after it, and for how long it was raised; and
    the worst of as many before it, which is the machine's share."""
    middle = len(slices) // 2
    quiet = statistics.median(p99 for count, p99 in slices[1:middle - 1] if count)
    window = 1500 // SLICE_MS
    after = [p99 for count, p99 in slices[middle - 1:middle + window] if count]
    before = [p99 for count, p99 in slices[middle - 2 - window:middle - 1] if count]

    def raised_ms(p99s):
        return sum(p99 > 1.5 * quiet for p99 in p99s) * SLICE_MS

    return {"quiet_p99_us": quiet, "worst_p99_us": max(after),
            "swap_ratio": max(after) / quiet, "raised_ms": raised_ms(after),
            "unswapped_ratio": max(before) / quiet, "unswapped_raised_ms": raised_ms(before)}


def service_text(timeout):
    text = SERVICE.format(name="server-same", ns=NAMESPACE, ip=SERVICE_IP["same"], pod="os",
                          port=APP_PORT)
    return text.replace("timeout: 15s", f"timeout: {timeout}s")


def bystanders(salt):
    """Objects of other services, so that the swap is not one object."""
    parts = []
    for i in range(SERVICES_SWAPPED):
        parts.append(SERVICE.format(name=f"other-{salt}-{i}", ns=NAMESPACE,
                                    ip=f"10.73.{i >> 8}.{(i & 255)}", pod="nobody", port=APP_PORT))
    return "---\n".join(parts)


def noisy_neighbour(session, repetition):
    """A caller's p99 beside a neighbour at 100 times its load; without a mesh as well, because
    the two generators and the backend share a core whatever carries their traffic."""
    record = record_of(session, "victim-100/s") | {"repetition": repetition}
    contender = session.orlop("same")
    if contender.absent:
        return record | {"error": contender.absent}
    record.update(beside_noise(session, contender, session.mesh.contender("same", client="on")))
    direct = session.opponents.direct("same")
    plain = beside_noise(session, direct, direct)
    if "error" in plain:
        return record | {"error": plain["error"]}
    return record | {"direct_victim_ratio": plain["victim_ratio"]}


def beside_noise(session, contender, neighbour):
    """p99 of a caller at 100/s alone, then while `neighbour` sends 10,000/s."""
    backend = session.backends[contender.server]
    quiet = measure.run_load(session.bench, contender, VICTIM, backend, seconds=VICTIM_SECONDS)
    noise = {}

    def make_noise():
        noise.update(measure.run_load(session.bench, neighbour, NOISE, backend,
                                      seconds=VICTIM_SECONDS + 2))

    thread = threading.Thread(target=make_noise)
    thread.start()
    time.sleep(session.bench.warmup)
    loud = measure.run_load(session.bench, contender, VICTIM, backend, seconds=VICTIM_SECONDS)
    thread.join()
    for result in (quiet, loud, noise):
        if "error" in result:
            return {"error": result["error"]}
    return {"quiet_p99_us": quiet["p99_us"], "loud_p99_us": loud["p99_us"],
                     "victim_ratio": loud["p99_us"] / quiet["p99_us"],
                     "neighbour_rate": noise["rate"], "foreign_cores": quiet["foreign_cores"]}


def events(session, repetitions):
    for repetition in range(repetitions):
        for what in (configuration_swap, noisy_neighbour):
            record = what(session, repetition)
            if (session.bench.noise == measure.Noise.strict and
                    record.get("foreign_cores", 0) > measure.FOREIGN_DROP):
                record["dropped"] = f"{record['foreign_cores']:.2f} cores of foreign work"
            session.bench.append(record)
            shown = {k: v for k, v in record.items() if k.endswith(("ratio", "_us", "_ms", "error"))
                     and not k.startswith(("cpu_", "cdf_"))}
            print(f"{record['load']['name']:24} {shown}", flush=True)
