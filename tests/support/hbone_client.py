#!/usr/bin/env python3
"""A foreign HBONE client: HTTP/2 CONNECT over mutual TLS, written on python3-h2.

    hbone_client.py ADDRESS AUTHORITY ROOT.pem [CERT.pem KEY.pem]

Connects to ADDRESS port 15008, opens a CONNECT stream to AUTHORITY and sends one HTTP/1.1 request
through it. Prints `connect STATUS` and what the application answered, or `refused: WHY`; exit code
0 only when the application answered.
"""

import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events

DEADLINE_S = 10


def secured(address, root, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # identities are URIs
    context.load_verify_locations(root)
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(*certificate)
    plain = socket.create_connection((address, 15008), timeout=DEADLINE_S)
    return context.wrap_socket(plain)


def request_through(tls, authority):
    """Yields ('connect', status) and ('data', bytes)."""
    # CONNECT has neither :path nor :scheme (RFC 9113 8.5), which python3-h2's own check wants.
    http2 = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, validate_outbound_headers=False))
    http2.initiate_connection()
    stream = http2.get_next_available_stream_id()
    http2.send_headers(stream, [(":method", "CONNECT"), (":authority", authority)])
    tls.sendall(http2.data_to_send())
    while True:
        received = tls.recv(65536)
        if not received:
            return
        for event in http2.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                headers = {bytes(k).decode() if isinstance(k, bytes) else k:
                           bytes(v).decode() if isinstance(v, bytes) else v
                           for k, v in event.headers}
                yield "connect", headers[":status"]
                if headers[":status"] != "200":
                    return
                http2.send_data(stream, b"GET /foreign HTTP/1.1\r\nHost: echo\r\n"
                                        b"Connection: close\r\n\r\n")
            elif isinstance(event, h2.events.DataReceived):
                http2.acknowledge_received_data(event.flow_controlled_length, stream)
                yield "data", event.data
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset,
                                    h2.events.ConnectionTerminated)):
                return
        tls.sendall(http2.data_to_send())


def main():
    address, authority, root, *certificate = sys.argv[1:]
    answered = False
    try:
        tls = secured(address, root, certificate)
        for what, value in request_through(tls, authority):
            if what == "connect":
                print("connect", value)
            else:
                answered = True
                print(value.decode("latin-1"), end="")
    except (OSError, ssl.SSLError) as why:
        print(f"refused: {why}")
    sys.exit(0 if answered else 1)


if __name__ == "__main__":
    main()
