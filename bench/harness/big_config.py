"""Row 11: a mesh of 10,000 services and 100,000 endpoints: memory, ready, one update, rate."""

import time

import measure
from admin import Api
from mesh import NAMESPACE, write
from topology import BenchError

SERVICES = 10_000
ENDPOINTS_EACH = 10
PER_FILE = 500
UPDATES = 20
RATE_RUNS = 3
READY_SECONDS_MAX = 60

SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {ns}}}
spec:
  clusterIP: {ip}
  clusterIPs: [{ip}]
  ports: [{{name: http, port: 80, protocol: TCP, targetPort: 8080}}]
"""
SLICE = """apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {ns}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
{endpoints}
"""


def address(index):
    return f"10.{100 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"


def slice_text(number, salt=0):
    first = number * ENDPOINTS_EACH
    lines = [f"- {{addresses: [{address(first + i + salt)}], conditions: {{ready: true}}}}"
             for i in range(ENDPOINTS_EACH)]
    return SLICE.format(name=f"big-{number}", ns=NAMESPACE, endpoints="\n".join(lines))


def write_services(config):
    for begin in range(0, SERVICES, PER_FILE):
        numbers = range(begin, begin + PER_FILE)
        write(config, f"big-{begin}.yaml", "---\n".join(
            SERVICE.format(name=f"big-{n}", ns=NAMESPACE, ip=f"10.74.{n >> 8}.{n & 255}")
            for n in numbers))
        write(config, f"slices-{begin}.yaml", "---\n".join(slice_text(n) for n in numbers[1:]))
    write(config, "slice-one.yaml", slice_text(0))


def big_configuration(session):
    record = {**session.bench.identity(), "contender": "orlop", "layout": "same",
              "load": {"name": "10000-services"}}
    if session.mesh_trouble:
        return record | {"error": session.mesh_trouble}
    mesh = session.mesh
    config = mesh.root / "config"
    backend = session.backends["os"]
    try:
        few = rate(session, backend)
        idle = measure.pss_kb(mesh.daemons["a"].pid)
        write_services(config)
        mesh.stop("a")
        begin = time.monotonic()
        daemon = mesh.start("a", pinned=False)  # reading may use every core, as on a node
        contender = session.orlop("same")
        if contender.absent:
            return record | {"error": contender.absent}
        record["ready_s"] = time.monotonic() - begin
        measure.pin(contender, "A")
        record["pss_kb"] = measure.pss_kb(daemon.pid)
        record["pss_kb_of_services"] = record["pss_kb"] - idle
        record["update_ms"] = update_times(session, config)
        record["rate_10_services"], record["rate"] = few, rate(session, backend)
        record["rate_ratio"] = record["rate"] / few
    except BenchError as error:
        record["error"] = str(error)
    finally:
        for path in [*config.glob("big-*.yaml"), *config.glob("slice*.yaml")]:
            path.unlink()
    return record


def rate(session, backend):
    """The median of a few runs: there is one figure with few services and one with many."""
    contender, rates = session.orlop("same"), []
    for _ in range(RATE_RUNS):
        result = measure.run_load(session.bench, contender, measure.Load("saturated-64"), backend)
        if "error" in result:
            raise BenchError(result["error"])
        rates.append(result["rate"])
    return measure.median(rates)


def update_times(session, config):
    """Milliseconds from one EndpointSlice's change on disk to its generation in force."""
    api, times = Api(session.mesh.root / "a.sock"), []
    for turn in range(UPDATES):
        before = api.generation()
        begin = time.monotonic()
        write(config, "slice-one.yaml", slice_text(0, salt=turn + 1))
        while api.generation() == before:
            if time.monotonic() - begin > READY_SECONDS_MAX:
                raise BenchError("an endpoint's change was not in force within a minute")
        times.append((time.monotonic() - begin) * 1000)
    times.sort()
    return {"p50": times[len(times) // 2], "worst": times[-1]}
