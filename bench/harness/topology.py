"""Two nodes and six pods as network namespaces, and the processes in them.

    node a --- veth --- node b        each node: a bridge with its pods, routed to the other node
    pods: c (caller) and s (server) on a, t (server) on b; oc, os, ot are the same for orlopd, so
    that capture never touches an opponent; on is a noisy neighbour of oc.

Everything is named orlop-bench-*, is recorded when made, and is removed by down(); the next up()
also clears what a run that was killed left behind.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "orlop-bench-"
RUN = Path("/run/orlop-bench")
NODES = {"a": 1, "b": 2}  # node addresses 10.80.0.N, pods 10.8N.0.0/16
PODS = {"c": ("a", 10), "s": ("a", 11), "oc": ("a", 20), "os": ("a", 21), "on": ("a", 22),
        "t": ("b", 11), "ot": ("b", 21)}
SYSCTLS = {"net.ipv4.ip_forward": 1, "net.ipv4.tcp_congestion_control": "reno",
           "net.ipv4.ip_local_port_range": "10240 65535", "net.ipv4.tcp_tw_reuse": 1}


class BenchError(Exception):
    """One line for the terminal: what failed and what to check."""


def run(*argv, check=True):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip(*words, ns=None, check=True):
    return run("ip", *(["-n", PREFIX + ns] if ns else []), *words, check=check)


def pod_ip(pod):
    return Topology.address(*PODS[pod])


def netns_path(name):
    return f"/run/netns/{PREFIX}{name}"


@dataclass
class Process:
    name: str
    popen: subprocess.Popen
    log: Path

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def complaint(self):
        text = self.log.read_text(errors="replace").strip().split("\n")
        return f"{self.name} ended: {text[-1] if text[-1] else 'no message'} (log {self.log})"


@dataclass
class Topology:
    namespaces: list = field(default_factory=list)
    processes: list = field(default_factory=list)
    mounts: list = field(default_factory=list)
    cgroup: Path | None = None
    bpffs: Path | None = None

    @staticmethod
    def address(node, number):
        return f"10.8{NODES[node]}.{number >> 8}.{number & 255}"

    def up(self):
        remove_leftovers()
        RUN.mkdir(parents=True, exist_ok=True)
        for node in NODES:
            self._namespace(node)
        ip("link", "add", "wire", "netns", PREFIX + "a", "type", "veth", "peer", "name", "wire",
           "netns", PREFIX + "b")
        for node, number in NODES.items():
            other = 3 - number
            ip("addr", "add", f"10.80.0.{number}/30", "dev", "wire", ns=node)
            ip("link", "set", "wire", "up", ns=node)
            ip("link", "add", "bridge", "type", "bridge", ns=node)
            ip("addr", "add", f"10.8{number}.0.1/16", "dev", "bridge", ns=node)
            ip("link", "set", "bridge", "up", ns=node)
            ip("route", "add", f"10.8{other}.0.0/16", "via", f"10.80.0.{other}", ns=node)
        for pod in PODS:
            self.add_pod(pod, *PODS[pod])

    def add_pod(self, pod, node, number):
        self._namespace(pod)
        port = f"p-{pod}"
        ip("link", "add", port, "netns", PREFIX + node, "type", "veth", "peer", "name", "eth0",
           "netns", PREFIX + pod)
        ip("link", "set", port, "master", "bridge", "up", ns=node)
        ip("addr", "add", f"{self.address(node, number)}/16", "dev", "eth0", ns=pod)
        ip("link", "set", "eth0", "up", ns=pod)
        ip("route", "add", "default", "via", f"10.8{NODES[node]}.0.1", ns=pod)

    def _namespace(self, name):
        ip("netns", "add", PREFIX + name)
        self.namespaces.append(name)
        ip("link", "set", "lo", "up", ns=name)
        for key, value in SYSCTLS.items():
            run("nsenter", f"--net={netns_path(name)}", "sysctl", "-qw", f"{key}={value}")

    def mount_kernel_filesystems(self):
        """A cgroup v2 tree and a BPF file system of our own: neither the host's nor systemd's."""
        self.cgroup = self._mount("cgroup2", "cgroup") / "orlop-bench"
        self.bpffs = self._mount("bpf", "bpf")
        self.cgroup.mkdir(exist_ok=True)

    def _mount(self, kind, name):
        point = RUN / name
        point.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", kind, "none", point)
        self.mounts.append(point)
        return point

    def start(self, name, namespace, argv, core=None, env=None, cgroup=None):
        """Starts a program in a namespace; its pid is the program's own."""
        log = RUN / f"{name}.log"
        command = ["nsenter", f"--net={netns_path(namespace)}"]
        if core is not None:
            command += ["taskset", "-c", str(core)]

        def join_cgroup():
            if cgroup is not None:
                (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))

        with log.open("w") as out:
            popen = subprocess.Popen([*command, *map(str, argv)], stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT, env=env or os.environ,
                                     preexec_fn=join_cgroup, start_new_session=True)
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def stop(self, process, seconds=5):
        if process.alive():
            process.popen.send_signal(signal.SIGTERM)
            try:
                process.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
        if process in self.processes:
            self.processes.remove(process)

    def wait_listening(self, process, namespace, port, seconds=15):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not process.alive():
                raise BenchError(process.complaint())
            found = run("nsenter", f"--net={netns_path(namespace)}", "ss", "-Hltn",
                        f"sport = :{port}")
            if found.strip():
                return
            time.sleep(0.02)
        raise BenchError(f"{process.name} does not listen on port {port} (log {process.log})")

    def down(self):
        for process in list(self.processes):
            self.stop(process)
        remove_leftovers()
        self.namespaces.clear()
        self.mounts.clear()


def remove_leftovers():
    for name in run("ip", "netns", "list").split("\n"):
        name = name.split(" ")[0]
        if not name.startswith(PREFIX):
            continue
        for pid in run("ip", "netns", "pids", name, check=False).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        run("ip", "netns", "delete", name, check=False)
    for point in (RUN / "cgroup", RUN / "bpf"):
        if not os.path.ismount(point):
            continue
        for folder in point.glob("orlop-bench*"):
            _clear_folder(folder)
        run("umount", "-l", point, check=False)
    shutil.rmtree(RUN, ignore_errors=True)


def _clear_folder(folder):
    """Pins are files and go with unlink; a cgroup is a folder that goes once its processes have."""
    pins = folder.parent.name == "bpf"
    for path in sorted([folder, *folder.rglob("*")], key=lambda p: len(p.parts), reverse=True):
        if not path.is_dir():
            if pins:
                path.unlink()
            continue
        for _ in range(100):
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.02)
