// DestinationState: what one source pod remembers about one destination on one core: the balancer's
// cursor, who is in rotation, the pools of connections, and the counters of its requests.
//
// It survives generations: follow() adopts a new compiled Destination, keeps the pools of endpoints
// that are still there and ends those of the others. A pool is keyed by address and workload uid.
#pragma once

#include "daemon/decide/balance.h"
#include "daemon/decide/outlier.h"
#include "daemon/decide/retry.h"
#include "daemon/decide/rotation.h"
#include "daemon/proxy/upstream_pool.h"
#include "daemon/telemetry/metrics.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace orlop::proxy {

struct PickWish {
    const decide::TriedEndpoints* tried = nullptr;  // avoid these
    const decide::TriedEndpoints* leave = nullptr;  // avoid the localities of these
    std::optional<std::uint64_t> hash{};            // of the consistentHash key
    const SocketAddress* original = nullptr;        // where the caller wanted to go
};

class DestinationState {
public:
    DestinationState(ProxyCore& core, std::uint64_t seed);
    ~DestinationState();

    void follow(const model::Destination& destination, const model::WorkloadPtr& caller);
    decide::Pick pick(const model::Destination& destination, const PickWish& wish);
    // The pool of an endpoint of `destination`, which may be of an older snapshot than followed.
    std::shared_ptr<Pool> pool_of(const model::Destination& destination, std::size_t index);
    // PASSTHROUGH: a pool to where the caller wanted to go, when that is none of the endpoints.
    std::shared_ptr<Pool> pool_to(const SocketAddress& original);
    // What a try has shown about an endpoint; may eject it.
    void observe(const model::Destination& destination,
                 std::size_t index,
                 const decide::TryOutcome& outcome);
    void end_all();

    decide::BudgetSnapshot budget;  // live requests of this source to this destination
    std::shared_ptr<PoolUsage> usage = std::make_shared<PoolUsage>();
    telemetry::Held<telemetry::ClusterSeries> series;
    // Answered without any endpoint; HTTP and gRPC.
    std::array<telemetry::Held<telemetry::TrafficSeries>, 2> local_replies{};

private:
    bool follows(const model::Destination& destination) const;
    Pool* find_pool(const model::Endpoint& endpoint) const;
    void see_endpoints(const model::Destination& destination);
    void adopt_pools(const model::Destination& destination);

    ProxyCore& core_;
    decide::Balancer balancer_;
    decide::Rotation rotation_;
    const model::Destination* followed_ = nullptr;
    std::uint64_t followed_generation_ = 0;
    IpAddress caller_;
    Instant warm_at_ = Instant::min();  // from here on every endpoint is warm
    std::shared_ptr<Pool> passthrough_;
    std::vector<std::shared_ptr<Pool>> pools_;  // parallel to the followed destination's endpoints
};

// One retry, waiting or at an endpoint, counted for as long as this lives. The state and the policy
// are the exchange's that retries.
class RetryInFlight {
public:
    RetryInFlight(DestinationState& state, const model::TrafficPolicy& policy)
        : state_(state), policy_(policy) {
        ++state_.budget.retries;
        show();
    }
    RetryInFlight(const RetryInFlight&) = delete;
    RetryInFlight& operator=(const RetryInFlight&) = delete;
    ~RetryInFlight() {
        --state_.budget.retries;
        show();
    }

private:
    void show() {
        std::uint32_t limit = decide::retry_limit(&policy_, state_.budget);
        state_.usage->show_retries(state_.budget.retries, limit);
    }

    DestinationState& state_;
    const model::TrafficPolicy& policy_;
};

// "10.0.0.1:9090 (pod-1) after 503, 503, back in 27.1 s": the ejected endpoints, a few of them.
std::string ejected_text(const model::Destination& destination, Instant now);

// The state of `destination` for `pod`, following the pinned snapshot.
std::shared_ptr<DestinationState>
destination_state(ProxyCore& core, LocalPod& pod, const model::Destination& destination);

}  // namespace orlop::proxy
