#include "daemon/decide/http_version.h"

#include <algorithm>

namespace orlop::decide {

HttpVersion
upstream_version(const model::Destination& destination, HttpVersion caller, Upgrade upgrade) {
    if (destination.tls) {
        bool offered =
            std::ranges::find(destination.tls->alpn, "h2") != destination.tls->alpn.end();
        return offered ? HttpVersion::http2 : HttpVersion::http1;
    }
    if (upgrade == Upgrade::asked) {
        return HttpVersion::http1;
    }
    const model::ConnectionPoolLimits& pool = destination.policy.pool;
    if (pool.use_client_protocol) {
        return caller;
    }
    if (pool.h2_upgrade) {
        return HttpVersion::http2;
    }
    switch (destination.port.protocol) {
    case model::Protocol::http2:
    case model::Protocol::grpc:
        return HttpVersion::http2;
    case model::Protocol::http1:
        return HttpVersion::http1;
    default:
        return caller;
    }
}

}  // namespace orlop::decide
