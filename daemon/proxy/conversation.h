// Conversation: one captured connection of a pod, or one that a gateway accepted, and what is known
// about its ends.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/decide/http_version.h"
#include "daemon/net/stream.h"
#include "daemon/proxy/core.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::proxy {

class InboundHttp;

// Where a connection from outside entered (proxy/gateway.h).
struct Ingress {
    SocketAddress listener;   // as the Snapshot names it
    std::string server_name;  // SNI; empty without TLS
    std::string_view scheme = "http";
    std::optional<SpiffeId> client;  // by its certificate, where the TLS is ISTIO_MUTUAL
    const model::Destination* destination = nullptr;  // of bytes; kept alive by serve_gateway()
};

using decide::HttpVersion;

struct Conversation {
    ProxyCore* core = nullptr;
    LocalPodPtr pod;
    std::unique_ptr<net::Stream> stream;
    SocketAddress original;                         // where the caller wanted to go
    SocketAddress peer;                             // who called
    std::optional<Ingress> ingress = std::nullopt;  // at a gateway
    std::shared_ptr<InboundHttp> arriving{};        // at the callee's end, its requests read there
    HttpVersion version = HttpVersion::http1;       // what the caller speaks
};

// The three kinds of captured connection (DESIGN §6); each owns the conversation to its end.
runtime::Task<void> serve_outbound(Conversation conversation);
runtime::Task<void> serve_inbound(Conversation conversation);
inline constexpr std::uint16_t hbone_port = 15008;
runtime::Task<void> serve_hbone(Conversation conversation);

// HTTP/1.1 requests of an outbound connection, until it ends. Returns when the stream may be
// closed; `service_port` is the port by which virtual hosts are looked up.
runtime::Task<net::Closing> serve_http(Conversation& conversation);

// Requests of a connection that began with HTTP/2's preface (prior knowledge, or ALPN h2), until it
// ends. Takes conversation.stream and has closed it on return.
runtime::Task<void> serve_http2(Conversation& conversation);

// Bytes to one endpoint of `target`, or to the original destination.
runtime::Task<net::Closing> serve_bytes(Conversation& conversation);

}  // namespace orlop::proxy
