// The first flight of a TLS client, looked at but not consumed: which server it asks for (SNI) and
// which protocols it offers (ALPN). RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1.
//
// Sans-IO and pure: give it all bytes that have arrived, again with more while it answers
// `need_more`. Everything else about the hello is left to whoever ends the TLS.
//
//     auto hello = look_at_client_hello(stream.input());
//     if (hello.state == HelloState::complete) { route_by(hello.server_name); }
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orlop::tls {

enum class HelloState : unsigned char {
    need_more,
    complete,
    not_tls,  // the bytes are no TLS handshake
    refused,  // a hello against its own framing, or beyond limits::tls_hello_bytes_max
};

struct ClientHello {
    HelloState state = HelloState::need_more;
    std::string server_name;        // lower-case, without a last dot; empty: none, or no DNS name
    std::vector<std::string> alpn;  // as offered
};

ClientHello look_at_client_hello(std::string_view input);

}  // namespace orlop::tls
