"""Tells when the daemon begins to listen in network namespaces. It asks sock_diag for listening
sockets only, and one namespace after the other: /proc/net/tcp walks the machine's whole table of
connections for each look, which takes longer than an enrolment and the core it runs on with it.

    python3 capture_watch.py SECONDS < paths of namespaces

Prints "ready", and when there is a listener in every one, the time of CLOCK_MONOTONIC in ns; exits
with a complaint after SECONDS.
"""

import ctypes
import os
import resource
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_ERROR = 4, 20, 2
NLM_F_REQUEST_DUMP = 0x301
STATE_LISTEN = 1 << 10
ANSWER_BYTES_MAX = 1 << 16
LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """The program below as a process; made before the event that it waits for."""

    def __init__(self, paths, seconds):
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", sys.executable, __file__, str(seconds)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.process.stdin.write("\n".join(paths))
        self.process.stdin.close()
        self.ready = self.process.stdout.readline().strip() == "ready"

    def captured_ns(self):
        """CLOCK_MONOTONIC when the last one was captured; (None, complaint) when it was not."""
        text = self.process.stdout.read().strip()
        complaint = self.process.stderr.read().strip()
        self.process.wait()
        return (int(text), "") if text.isdigit() else (None, complaint)


class Namespace:
    """A netlink socket inside the namespace of `path`."""

    def __init__(self, path):
        self.path = path
        namespace = os.open(path, os.O_RDONLY)
        try:
            if LIBC.setns(namespace, CLONE_NEWNET) != 0:
                sys.exit(f"setns {path}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(namespace)
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)

    def listens(self):
        return any(self.listens_at(family) for family in (socket.AF_INET6, socket.AF_INET))

    def listens_at(self, family):
        # struct nlmsghdr, struct inet_diag_req_v2 with an empty inet_diag_sockid
        request = struct.pack("=BBxxI48x", family, socket.IPPROTO_TCP, STATE_LISTEN)
        self.socket.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY,
                                     NLM_F_REQUEST_DUMP, 0, 0) + request)
        kinds = []
        while not kinds or kinds[-1] == SOCK_DIAG_BY_FAMILY:  # until it says done, or error
            answer = self.socket.recv(ANSWER_BYTES_MAX)
            while answer:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", answer, 16)[0]
                    sys.exit(f"sock_diag in {self.path}: {os.strerror(error)}")
                kinds.append(kind)
                answer = answer[(length + 3) & ~3:]
        return SOCK_DIAG_BY_FAMILY in kinds


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    waiting = [Namespace(path.strip()) for path in sys.stdin if path.strip()]
    total, deadline = len(waiting), time.monotonic() + float(sys.argv[1])
    if any(namespace.listens() for namespace in waiting):
        sys.exit("there is a listener already")
    waiting.reverse()
    print("ready", flush=True)
    while waiting and time.monotonic() < deadline:
        if waiting[-1].listens():
            waiting.pop()
        else:
            time.sleep(0.0001)
    if waiting:
        captured = total - sum(not namespace.listens() for namespace in waiting)
        sys.exit(f"{captured} of {total} pods enrolled within {sys.argv[1]} s")
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)


if __name__ == "__main__":
    main()
