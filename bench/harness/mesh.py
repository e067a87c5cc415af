"""orlopd in the bench topology: its objects, its cgroups, one daemon per node.

The configuration is the shipped one with every feature on: STRICT mutual TLS, a route with a
timeout and retries, outlier detection, metrics; the access log is off, as the opponents' are.
"""

import os
import time
from pathlib import Path

from opponents import APP_PORT, Contender
from topology import PODS, RUN, BenchError, netns_path, pod_ip

NAMESPACE = "bench"
SERVICE_IP = {"same": "10.72.0.1", "two": "10.72.0.2"}
SERVERS = {"same": "os", "two": "ot"}
ENROL_PORT = 15020

MESH_OBJECTS = """apiVersion: v1
kind: Namespace
metadata:
  name: {ns}
  labels:
    istio.io/dataplane-mode: orlop
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: strict
  namespace: {ns}
spec:
  mtls:
    mode: STRICT
"""

SERVICE = """apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {ns}
spec:
  type: ClusterIP
  clusterIP: {ip}
  clusterIPs:
  - {ip}
  selector:
    app: {pod}
  ports:
  - name: http
    port: {port}
    protocol: TCP
    targetPort: {port}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: {ns}
spec:
  hosts:
  - {name}
  http:
  - route:
    - destination:
        host: {name}
    timeout: 15s
    retries:
      attempts: 2
      perTryTimeout: 5s
      retryOn: connect-failure,refused-stream,503
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
  namespace: {ns}
spec:
  host: {name}
  trafficPolicy:
    loadBalancer:
      simple: LEAST_REQUEST
    outlierDetection:
      consecutive5xxErrors: 1000
      interval: 10s
"""

POD = """apiVersion: v1
kind: Pod
metadata:
  name: {pod}
  namespace: {ns}
  uid: {uid}
  labels:
    app: {pod}
spec:
  nodeName: n{node}
  serviceAccountName: {pod}
  containers:
  - name: app
    image: bench
    ports:
    - containerPort: {port}
status:
  phase: Running
  hostIP: 10.80.0.{number}
  podIP: {ip}
  podIPs:
  - ip: {ip}
  conditions:
  - type: Ready
    status: "True"
"""

SANDBOX = """apiVersion: orlop.dev/v1
kind: PodSandbox
metadata:
  name: {pod}
  namespace: {ns}
  uid: {uid}
spec:
  netns: {netns}
  cgroup: {cgroup}
"""

NODE = """apiVersion: v1
kind: Node
metadata:
  name: n{node}
status:
  addresses:
  - type: InternalIP
    address: 10.80.0.{number}
"""


def find_binary(root):
    for candidate in (os.environ.get("ORLOPD"), root / "build/release/bin/orlopd"):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def write(folder, name, text):
    """Whole or not at all: the daemon watches this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{name}.new"
    beside.write_text(text)
    beside.rename(folder / name)


class Mesh:
    def __init__(self, topology, binary, mesh_core):
        self.topology = topology
        self.binary = binary
        self.mesh_core = mesh_core
        self.root = RUN / "mesh"
        self.daemons = {}
        self.generation = 0

    def prepare(self):
        """Objects and cgroups; call once, before start()."""
        self.topology.mount_kernel_filesystems()
        config = self.root / "config"
        for node, number in (("a", 1), ("b", 2)):
            write(config, f"node-{node}.yaml", NODE.format(node=node, number=number))
            self.node_cgroup(node).mkdir(exist_ok=True)
            (self.node_cgroup(node) / "orlopd").mkdir(exist_ok=True)
        write(config, "mesh.yaml", MESH_OBJECTS.format(ns=NAMESPACE))
        for pod in ("oc", "os", "ot", "on"):
            self.add_pod(pod, PODS[pod][0], pod_ip(pod))
        for layout, pod in SERVERS.items():
            write(config, f"service-{layout}.yaml", SERVICE.format(
                name=f"server-{layout}", ns=NAMESPACE, ip=SERVICE_IP[layout], pod=pod,
                port=APP_PORT))

    def node_cgroup(self, node):
        return self.topology.cgroup / node

    def pod_cgroup(self, pod, node):
        return self.node_cgroup(node) / pod

    def add_pod(self, pod, node, address):
        cgroup = self.pod_cgroup(pod, node)
        cgroup.mkdir(parents=True, exist_ok=True)
        number = 1 if node == "a" else 2
        values = {"pod": pod, "ns": NAMESPACE, "uid": f"uid-{pod}", "node": node, "number": number,
                  "ip": address, "port": APP_PORT, "netns": netns_path(pod), "cgroup": cgroup}
        write(self.root / "sandbox" / node, f"{pod}.yaml", SANDBOX.format(**values))
        write(self.root / "config", f"pod-{pod}.yaml", POD.format(**values))

    def remove_pod(self, pod, node):
        for path in (self.root / "config" / f"pod-{pod}.yaml",
                     self.root / "sandbox" / node / f"{pod}.yaml"):
            path.unlink(missing_ok=True)

    def start(self, node, preload=None, pinned=True):
        state = self.root / "state" / node
        state.mkdir(parents=True, exist_ok=True)
        socket = self.root / f"{node}.sock"
        argv = [self.binary, "--node-name", f"n{node}", "--config-dir", self.root / "config",
                "--sandbox-dir", self.root / "sandbox" / node, "--state-dir", state, "--socket",
                socket, "--cgroup", self.node_cgroup(node), "--bpffs",
                self.topology.bpffs / f"orlop-bench-{node}", "--ca-dir", self.root / "ca",
                "--instance", f"bench-{node}", "--cores", 1, "--access-log", ""]
        env = dict(os.environ)
        if preload is not None:
            env.update(LD_PRELOAD=str(preload), ORLOP_ALLOC_FILE=str(self.counter_file))
        daemon = self.topology.start(f"orlopd-{node}", node, argv,
                                     core=self.mesh_core if pinned else None, env=env,
                                     cgroup=self.node_cgroup(node) / "orlopd")
        self.daemons[node] = daemon
        self._wait_for(daemon, socket)
        return daemon

    @property
    def counter_file(self):
        return self.root / "allocations"

    @staticmethod
    def _wait_for(daemon, socket, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not daemon.alive():
                raise BenchError(daemon.complaint())
            if socket.exists():
                return
            time.sleep(0.02)
        raise BenchError(f"{daemon.name} made no socket {socket} (log {daemon.log})")

    def stop(self, node):
        daemon = self.daemons.pop(node, None)
        if daemon:
            self.topology.stop(daemon, seconds=30)

    def contender(self, layout, client="oc"):
        nodes = ("a",) if layout == "same" else ("a", "b")
        contender = Contender("orlop", layout, SERVICE_IP[layout], APP_PORT, client=client,
                              server=SERVERS[layout], host=f"server-{layout}",
                              mesh=[self.daemons[n] for n in nodes if n in self.daemons])
        contender.client_cgroup = self.pod_cgroup(client, "a")
        return contender

    def uninstall(self):
        """Pins and routes outlive the daemon on purpose; orlopctl takes them out."""
        control = self.binary.parent / "orlopctl"
        if control.is_file():
            for node in ("a", "b"):
                self.topology.start(f"uninstall-{node}", node, [
                    control, "uninstall", "--bpffs", self.topology.bpffs / f"orlop-bench-{node}",
                    "--state-dir", self.root / "state" / node]).popen.wait(20)


def absent(layout, reason):
    return Contender("orlop", layout, "", 0, absent=reason)
