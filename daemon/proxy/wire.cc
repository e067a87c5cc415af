#include "daemon/proxy/wire.h"

#include "daemon/net/connector.h"
#include "daemon/net/tls_identity.h"
#include "daemon/proxy/tunnel_clients.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

runtime::Task<Result<std::unique_ptr<net::Stream>>> open_tcp(ProxyCore& core,
                                                             const net::ConnectRequest& wish) {
    auto stream = co_await net::connect(core.loop(), core.sockets(), wish);
    if (!stream) {
        co_return std::unexpected(stream.error());
    }
    co_return std::unique_ptr<net::Stream>(std::move(*stream));
}

// The caller's address as the app shall see it. A service's address of one family may lead to an
// endpoint of the other: then the caller's own address of that family, or the callee's.
std::optional<IpAddress> address_to_show(const WireRequest& request) {
    if (!request.transparent_source) {
        return std::nullopt;
    }
    auto same_family = [&request](const IpAddress& address) {
        return address.is_v4() == request.endpoint.address.ip.is_v4();
    };
    if (same_family(request.caller)) {
        return request.caller;
    }
    const auto& own = request.source->workload->addresses;
    auto found = std::ranges::find_if(own, same_family);
    return found == own.end() ? std::nullopt : std::optional<IpAddress>(*found);
}

runtime::Task<Result<std::unique_ptr<net::Stream>>> open_way(const WireRequest& request) {
    ProxyCore& core = *request.core;
    switch (request.wire) {
    case decide::Wire::hbone:
        co_return co_await request.source->tunnels->open(request);
    case decide::Wire::delivery:  // both lead into the namespace of the endpoint's pod
    case decide::Wire::same_node: {
        LocalPodPtr callee = core.find_pod(request.endpoint.workload->uid);
        if (!callee || !callee->network) {
            co_return fail(
                ErrorKind::refused, "the callee's pod has left this node", Side::upstream);
        }
        net::ConnectRequest wish{callee->network.get(),
                                 request.endpoint.address,
                                 address_to_show(request),
                                 request.timeout,
                                 request.interrupt,
                                 request.keepalive};
        co_return co_await open_tcp(core, wish);
    }
    case decide::Wire::plaintext: {
        net::ConnectRequest wish{request.source->network.get(),
                                 request.endpoint.address,
                                 std::nullopt,
                                 request.timeout,
                                 request.interrupt,
                                 request.keepalive};
        co_return co_await open_tcp(core, wish);
    }
    case decide::Wire::refused:
        break;
    }
    co_return fail(ErrorKind::denied, "policy allows no wire to this endpoint", Side::internal);
}

// The rest of the time that the opening may take; at least a moment, since zero means no bound.
Duration time_left(const WireRequest& request, Instant begun) {
    if (request.timeout <= Duration::zero()) {
        return request.timeout;
    }
    Duration left = request.timeout - (request.core->loop().now() - begun);
    return std::max<Duration>(left, std::chrono::milliseconds(1));
}

}  // namespace

runtime::Task<Result<std::unique_ptr<net::Stream>>> open_wire(const WireRequest& request) {
    ProxyCore& core = *request.core;
    if (request.destination == nullptr ||
        (request.destination->tls == nullptr && request.destination->broken.empty())) {
        co_return co_await open_way(request);
    }
    if (!request.destination->broken.empty()) {
        co_return fail(ErrorKind::unauthenticated, request.destination->broken, Side::internal);
    }
    auto context = core.tls(request.destination->tls->key);  // before the snapshot may change
    if (context == nullptr) {
        co_return fail(ErrorKind::internal, "the TLS context is not there yet", Side::internal);
    }
    Instant begun = core.loop().now();
    auto way = co_await open_way(request);
    if (!way) {
        co_return std::unexpected(way.error());
    }
    auto tls = co_await net::tls_originate(
        std::move(*way), std::move(context), {time_left(request, begun), request.interrupt});
    if (!tls) {
        Error error = tls.error();
        error.context = "TLS_error: " + error.context;
        co_return std::unexpected(std::move(error));
    }
    if (request.version == decide::HttpVersion::http2 && net::alpn_of(**tls) != "h2") {
        co_await (*tls)->close(net::Closing::orderly);
        co_return fail(ErrorKind::refused,
                       "TLS_error: the server does not speak HTTP/2 (ALPN h2 not chosen)",
                       Side::upstream);
    }
    co_return std::unique_ptr<net::Stream>(std::move(*tls));
}

std::optional<net::KeepAlive> keepalive_of(const model::ConnectionPoolLimits& limits) {
    if (!limits.tcp_keepalive) {
        return std::nullopt;
    }
    const auto& wanted = *limits.tcp_keepalive;
    return net::KeepAlive{wanted.probes, wanted.time, wanted.interval};
}

telemetry::PathTaken path_of(decide::Wire wire, const model::Destination* destination) {
    switch (wire) {
    case decide::Wire::plaintext:
        return destination != nullptr && destination->tls ? telemetry::PathTaken::tls
                                                          : telemetry::PathTaken::plaintext;
    case decide::Wire::hbone:
        return telemetry::PathTaken::hbone;
    case decide::Wire::same_node:
        return telemetry::PathTaken::same_node;
    case decide::Wire::delivery:
    case decide::Wire::refused:
        break;
    }
    return telemetry::PathTaken::none;
}

}  // namespace orlop::proxy
