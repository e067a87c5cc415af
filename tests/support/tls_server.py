#!/usr/bin/python3
"""A foreign TLS server: answers every request with what it saw of the handshake.

    tls_server.py PORT CERTIFICATE KEY [CLIENT_ROOTS]

With CLIENT_ROOTS it demands a client certificate of theirs.
"""
import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        peer = self.connection.getpeercert() or {}
        names = [name for _, name in peer.get("subjectAltName", ())]
        body = (f"sni={self.connection.asked_for} alpn={self.connection.selected_alpn_protocol()} "
                f"client={','.join(names)} version={self.connection.version()} path={self.path}\n")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def main():
    port, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    ssl.SSLSocket.asked_for = None

    def note_name(connection, name, _):
        connection.asked_for = name

    context.sni_callback = note_name
    if len(sys.argv) > 4:
        context.load_verify_locations(sys.argv[4])
        context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
    server.serve_forever()


main()
