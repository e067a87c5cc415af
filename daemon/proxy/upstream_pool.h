// DestinationState: what one source pod remembers about one destination on one core: the balancer's
// cursor, the pools of warm connections, and the counters of its requests.
//
// It survives generations: follow() adopts a new compiled Destination, keeps the pools of endpoints
// that are still there and ends those of the others. A pool is keyed by address and workload uid.
// Connections are HTTP/1.1 and carry one request at a time; idle ones have a receive armed, so that
// a close by the peer is noticed before the next use.
#pragma once

#include "daemon/decide/balance.h"
#include "daemon/decide/retry.h"
#include "daemon/proxy/wire.h"
#include "daemon/telemetry/metrics.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace orlop::proxy {

class Pool;

struct UpstreamConnection {
    UpstreamConnection(std::shared_ptr<Pool> owner,
                       std::unique_ptr<net::Stream> bytes,
                       decide::Wire over);
    std::shared_ptr<Pool> pool;
    std::unique_ptr<net::Stream> stream;
    decide::Wire wire;
    std::uint32_t requests = 0;
    runtime::Timer idle;
    static void on_end(void* self);
};

class Pool : public std::enable_shared_from_this<Pool> {
public:
    Pool(ProxyCore& core, model::Endpoint endpoint);
    ~Pool();

    // The warmest idle connection over `wire`, or null.
    std::unique_ptr<UpstreamConnection> take_idle(decide::Wire wire);
    void give_back(std::unique_ptr<UpstreamConnection> connection);
    void close_idle();
    void retire();  // no connection is kept from now on

    const model::Endpoint& endpoint() const { return endpoint_; }
    void set_endpoint(const model::Endpoint& endpoint) {
        endpoint_ = endpoint;
        traffic = destination_traffic = nullptr;  // labels may have changed
    }
    std::uint32_t active = 0;                                 // requests at this endpoint
    telemetry::TrafficSeries* traffic = nullptr;              // reporter=source, cached
    telemetry::TrafficSeries* destination_traffic = nullptr;  // same node: the other end's view
    decide::Wire traffic_wire = decide::Wire::refused;

private:
    friend struct UpstreamConnection;
    void remove(UpstreamConnection* connection);

    ProxyCore& core_;
    model::Endpoint endpoint_;
    std::vector<std::unique_ptr<UpstreamConnection>> idle_;
    bool retired_ = false;
};

class DestinationState {
public:
    DestinationState(ProxyCore& core, std::uint64_t seed);
    ~DestinationState();

    void follow(const model::Destination& destination);
    decide::Pick pick(const model::Destination& destination, const decide::TriedEndpoints* tried);
    // The pool of an endpoint of `destination`, which may be of an older snapshot than followed.
    std::shared_ptr<Pool> pool_of(const model::Destination& destination, std::size_t index);
    void end_all();

    decide::BudgetSnapshot budget;  // live requests of this source to this destination
    telemetry::ClusterSeries* series = nullptr;
    telemetry::TrafficSeries* local_replies = nullptr;  // answered without any endpoint

private:
    bool follows(const model::Destination& destination) const;
    Pool* find_pool(const model::Endpoint& endpoint) const;

    ProxyCore& core_;
    decide::Balancer balancer_;
    const model::Destination* followed_ = nullptr;
    std::uint64_t followed_generation_ = 0;
    std::vector<std::shared_ptr<Pool>> pools_;  // parallel to the followed destination's endpoints
};

// The state of `destination` for `pod`, following the pinned snapshot.
std::shared_ptr<DestinationState>
destination_state(ProxyCore& core, LocalPod& pod, const model::Destination& destination);

// A connection to `pool`'s endpoint: warm or new. `timeout` bounds the connecting.
runtime::Task<Result<std::unique_ptr<UpstreamConnection>>> acquire(std::shared_ptr<Pool> pool,
                                                                   const WireRequest& request);

}  // namespace orlop::proxy
