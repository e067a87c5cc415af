"""Tells when the daemon begins to listen in network namespaces: it looks from within them, because
`ss` for each would take longer than an enrolment.

    python3 capture_watch.py SECONDS < paths of namespaces

Prints "ready", and when there is a listener in every one, the time of CLOCK_MONOTONIC in ns; exits
with a complaint after SECONDS.
"""

import ctypes
import os
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
LISTEN = "0A"
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


def listening(path):
    namespace = os.open(path, os.O_RDONLY)
    try:
        if LIBC.setns(namespace, CLONE_NEWNET) != 0:
            sys.exit(f"setns {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(namespace)
    for name in ("tcp", "tcp6"):
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as table:
            if any(line.split()[3] == LISTEN for line in list(table)[1:]):
                return True
    return False


def main():
    waiting = [path.strip() for path in sys.stdin if path.strip()]
    total, deadline = len(waiting), time.monotonic() + float(sys.argv[1])
    if any(listening(path) for path in waiting):
        sys.exit("there is a listener already")
    print("ready", flush=True)
    while waiting and time.monotonic() < deadline:
        waiting = [path for path in waiting if not listening(path)]
        time.sleep(0.0001)
    if waiting:
        sys.exit(f"{total - len(waiting)} of {total} pods enrolled within {sys.argv[1]} s")
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)


if __name__ == "__main__":
    main()
