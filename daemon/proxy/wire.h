// Wire: how bytes get from a pod to an endpoint: plaintext from the pod's own network, the
// kernel-attested shortcut into the callee's namespace, or a stream of an HBONE tunnel; inside each
// of them TLS of the caller's own, where a DestinationRule says SIMPLE or MUTUAL.
#pragma once

#include "daemon/decide/authenticate.h"
#include "daemon/decide/http_version.h"
#include "daemon/model/destination.h"
#include "daemon/net/stream.h"
#include "daemon/proxy/core.h"

#include <memory>
#include <optional>

namespace orlop::proxy {

struct WireRequest {
    ProxyCore* core = nullptr;
    LocalPodPtr source;
    model::Endpoint endpoint;  // a copy: connecting outlives the snapshot it came from
    decide::Wire wire = decide::Wire::plaintext;
    bool transparent_source = true;
    IpAddress caller;                     // the address the app shall see on the same-node wire
    Duration timeout{};                   // of the whole opening; zero or less: none
    net::Interrupt* interrupt = nullptr;  // ends the opening as cancelled
    const model::Destination* destination = nullptr;  // whose TLS is spoken inside; null: none
    PinnedPtr pinned{};                               // keeps `destination`
    std::optional<net::KeepAlive> keepalive{};
    decide::HttpVersion version = decide::HttpVersion::http1;  // what will be spoken to the app
};

// Errors: refused, timed_out, unauthenticated, limit_exceeded ("... reached"), reset, cancelled.
runtime::Task<Result<std::unique_ptr<net::Stream>>> open_wire(const WireRequest& request);

// connectionPool.tcp.tcpKeepalive as the sockets take it.
std::optional<net::KeepAlive> keepalive_of(const model::ConnectionPoolLimits& limits);

telemetry::PathTaken path_of(decide::Wire wire, const model::Destination* destination = nullptr);

}  // namespace orlop::proxy
