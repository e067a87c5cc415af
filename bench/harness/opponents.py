"""What is measured beside orlopd: direct traffic, floors, one hop, sidecar pairs.

Each contender runs in one layout ("same": caller and server on node a, "two": server on node b) and
keeps its own ports, so all of them stay up and repetitions can be shuffled. To add an opponent: put
its two configurations under bench/opponents and a line in PAIRS.
"""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from topology import RUN, BenchError, pod_ip

APP_PORT = 8080
ECHO_PORT = 8081
CONFIGS = Path(__file__).resolve().parent.parent / "opponents"

COMMANDS = {
    "haproxy": lambda config: ["haproxy", "-db", "-q", "-f", config],
    "nginx": lambda config: ["nginx", "-p", RUN, "-c", config],
    "nghttpx": lambda config: ["nghttpx", f"--conf={config}", "--errorlog-file=/dev/stderr",
                               "--log-level=ERROR"],
    "envoy": lambda config: ["envoy", "-c", config, "--concurrency", "1", "--disable-hot-restart",
                             "--log-level", "error"],
}
# name -> (program, stem of its configuration files)
PAIRS = {
    "pair-plain-haproxy": ("haproxy", "pair-plain"),
    "pair-mtls-h1-haproxy": ("haproxy", "pair-mtls-h1"),
    "pair-mtls-h2-haproxy": ("haproxy", "pair-mtls-h2"),
    "pair-mtls-h1-nginx": ("nginx", "pair-mtls-h1"),
    "pair-mtls-h2-nghttpx": ("nghttpx", "pair-mtls-h2"),
}
# Pairs that can be made to shake hands for every request, by how (see opponents/*/handshake-*).
HANDSHAKE_PAIRS = ("pair-mtls-h1-haproxy", "pair-mtls-h1-nginx")
# Our own bare hops: what any hop costs, by name -> program.
FLOORS = {"floor-epoll": "bench-forwarder", "floor-io_uring": "bench-ring-forwarder"}
# Not packaged for Debian 12: slots, filled when a binary is on the PATH. Envoy then runs as a pair;
# nobody has configured a ztunnel without its control plane yet.
SLOTS = {"envoy": "pair-mtls-h2", "ztunnel": None}
SUFFIX = {"haproxy": ".cfg", "nginx": ".conf", "nghttpx": ".conf", "envoy": ".yaml"}


@dataclass
class Contender:
    name: str
    layout: str
    address: str
    port: int
    client: str = "c"  # pod of the load generator
    server: str = "s"
    host: str = "server"
    mesh: list = field(default_factory=list)  # Process
    absent: str = ""  # why it cannot run
    targets: list = field(default_factory=list)  # see bench-load --target
    backends: list = field(default_factory=list)  # Process, when there are several

    @property
    def key(self):
        return f"{self.name}/{self.layout}"

    @property
    def is_pair(self):
        return self.name.startswith("pair-")


def server_pod(layout):
    return "s" if layout == "same" else "t"


class Opponents:
    def __init__(self, topology, certificates, bench_bin, mesh_core):
        self.topology = topology
        self.certificates = certificates
        self.bench_bin = bench_bin
        self.mesh_core = mesh_core
        self.count = 0

    def direct(self, layout):
        server = server_pod(layout)
        return Contender("direct", layout, pod_ip(server), APP_PORT, server=server)

    def floor(self, name, layout):
        """One bare hop; between nodes two of them, one beside each pod, as every mesh has there."""
        contender = self._listening(name, layout)
        server, port = pod_ip(contender.server), APP_PORT
        if layout == "two":
            port = contender.port + 1000
            self._forward(contender, contender.server, (server, port), (server, APP_PORT))
        self._forward(contender, contender.client, ("127.0.0.1", contender.port), (server, port))
        return contender

    def _forward(self, contender, pod, at, to):
        argv = [self.bench_bin / FLOORS[contender.name], "--address", at[0], "--port", at[1],
                "--to", to[0], "--to-port", to[1]]
        self._start(contender, f"forwarder-{pod}", pod, argv, at[1])

    def hop(self, layout):
        contender = self._listening("hop-haproxy", layout)
        self._start_side(contender, "haproxy", "hop.cfg", contender.client, contender.port)
        return contender

    def pair(self, name, layout, client_stem=None):
        program, stem = PAIRS[name]
        contender = self._listening(name, layout)
        if shutil.which(program) is None:
            contender.absent = f"no binary '{program}'"
            return contender
        return self._start_pair(contender, program, stem, client_stem or stem)

    def _start_pair(self, contender, program, stem, client_stem):
        suffix = SUFFIX[program]
        self._start_side(contender, program, f"{stem}-server{suffix}", contender.server,
                         contender.port + 1000)
        self._start_side(contender, program, f"{client_stem}-client{suffix}", contender.client,
                         contender.port)
        return contender

    def handshake_pair(self, name, mode):
        return self.pair(name, "two", f"handshake-{mode}")

    def stop(self, contender):
        for process in contender.mesh:
            self.topology.stop(process)
        contender.mesh.clear()

    def slot(self, name, layout):
        binary, stem = shutil.which(name), SLOTS[name]
        if binary and stem:
            return self._start_pair(self._listening(f"{stem}-{name}", layout), name, stem, stem)
        reason = f"{binary}: no configuration here yet" if binary else f"no binary '{name}'"
        return Contender(name, layout, "", 0, absent=reason)

    def _listening(self, name, layout):
        self.count += 1
        return Contender(name, layout, "127.0.0.1", 15100 + self.count, server=server_pod(layout))

    def _start_side(self, contender, program, file, pod, port):
        folder = RUN / f"{contender.name}-{contender.layout}-{contender.port}"
        folder.mkdir(exist_ok=True)
        text = (CONFIGS / program / file).read_text()
        values = {"CLIENT_PORT": contender.port, "MESH_PORT": contender.port + 1000,
                  "APP_PORT": APP_PORT, "SERVER_IP": pod_ip(contender.server),
                  "CERTS": self.certificates, "DIR": folder}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        if re.search("@[A-Z_]+@", text):
            raise BenchError(f"{program}/{file}: a placeholder was not filled in")
        config = folder / file
        config.write_text(text)
        self._start(contender, file, pod, COMMANDS[program](config), port)

    def _start(self, contender, part, pod, argv, port):
        """What does not start is absent, and the report says why."""
        process = self.topology.start(f"{contender.name}-{contender.port}-{part}", pod, argv,
                                      core=self.mesh_core)
        contender.mesh.append(process)
        try:
            self.topology.wait_listening(process, pod, port)
        except BenchError as error:
            contender.absent = str(error)
