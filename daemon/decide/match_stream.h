// match_stream: which tls or tcp route of a VirtualHost a connection takes (istio-semantics §16).
// Pure, allocation-free, any thread. Routes are tried top-down, matches inside one are OR.
//
//     const model::StreamRoute* route = match_stream(host.tls, view);
//     std::size_t choice = pick_weighted(route->choice, random64());
#pragma once

#include "daemon/base/ip.h"
#include "daemon/model/route.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace orlop::decide {

struct StreamView {
    std::string_view server_name;  // SNI, lower-case; empty: none, or no TLS
    SocketAddress destination;     // where the caller wanted to go
    std::uint16_t port = 0;        // of the service
    const model::Labels* source_labels = nullptr;
    std::string_view source_namespace;
};

// The first that matches, or null.
const model::StreamRoute* match_stream(const std::vector<model::StreamRoute>& routes,
                                       const StreamView& view);

}  // namespace orlop::decide
