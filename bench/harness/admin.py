"""The daemon's Unix socket: one connection per question."""

import json
import re
import socket


class Api:
    def __init__(self, path):
        self.path = str(path)

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(self.path)
            end.sendall(f"GET {path} HTTP/1.1\r\nHost: orlopd\r\n".encode() +
                        b"Connection: close\r\n\r\n")
            text = b""
            while got := end.recv(65536):
                text += got
        return text.split(b"\r\n\r\n", 1)[1].decode()

    def generation(self):
        return json.loads(self.get("/status"))["generation"]

    def handshakes(self, outcome):
        """What the daemon counts: "full" (which may include the resumed), "resumed", "failed"."""
        found = re.search(rf'^orlop_tls_handshakes_total{{outcome="{outcome}"}} (\d+)',
                          self.get("/metrics"), re.M)
        return int(found[1]) if found else 0
