#include "daemon/proxy/wire.h"

#include "daemon/net/connector.h"
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

}  // namespace

runtime::Task<Result<std::unique_ptr<net::Stream>>> open_wire(const WireRequest& request) {
    ProxyCore& core = *request.core;
    switch (request.wire) {
    case decide::Wire::hbone:
        co_return co_await request.source->tunnels->open(request);
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
                                 request.interrupt};
        co_return co_await open_tcp(core, wish);
    }
    case decide::Wire::plaintext: {
        net::ConnectRequest wish{request.source->network.get(),
                                 request.endpoint.address,
                                 std::nullopt,
                                 request.timeout,
                                 request.interrupt};
        co_return co_await open_tcp(core, wish);
    }
    case decide::Wire::refused:
        break;
    }
    co_return fail(ErrorKind::denied, "policy allows no wire to this endpoint", Side::internal);
}

telemetry::PathTaken path_of(decide::Wire wire) {
    switch (wire) {
    case decide::Wire::plaintext:
        return telemetry::PathTaken::plaintext;
    case decide::Wire::hbone:
        return telemetry::PathTaken::hbone;
    case decide::Wire::same_node:
        return telemetry::PathTaken::same_node;
    case decide::Wire::refused:
        break;
    }
    return telemetry::PathTaken::none;
}

}  // namespace orlop::proxy
