#include "daemon/proxy/destination_state.h"

#include "daemon/proxy/outlier_watch.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::proxy {
namespace {

using telemetry::ClusterCounter;
using telemetry::ClusterGauge;

bool same_endpoint(const model::Endpoint& one, const model::Endpoint& other) {
    auto uid = [](const model::Endpoint& endpoint) {
        return endpoint.workload ? std::string_view(endpoint.workload->uid) : std::string_view();
    };
    return one.address == other.address && uid(one) == uid(other);
}

// When the endpoint was first seen by any core; `now` when that is the first time.
Instant first_seen(model::EndpointHealth& cell, Instant now) {
    std::int64_t seen = 0;
    if (cell.first_seen.compare_exchange_strong(seen, now.time_since_epoch().count())) {
        return now;
    }
    return Instant(Duration(seen));
}

}  // namespace

DestinationState::DestinationState(ProxyCore& core, std::uint64_t seed)
    : core_(core), balancer_(seed) {}

DestinationState::~DestinationState() = default;

void DestinationState::follow(const model::Destination& destination,
                              const model::WorkloadPtr& caller) {
    std::uint64_t generation = core_.pinned()->snapshot->generation();
    if (followed_ == &destination && followed_generation_ == generation) {
        return;
    }
    if (series == nullptr) {
        series = core_.metrics().cluster(destination.cluster_name);
    }
    usage->follow(destination.policy.pool, series);
    adopt_pools(destination);
    static const model::Workload unknown;
    rotation_.follow(destination, caller ? *caller : unknown);
    caller_ = caller && !caller->addresses.empty() ? caller->addresses.front() : IpAddress();
    see_endpoints(destination);
    followed_ = &destination;
    followed_generation_ = generation;
}

void DestinationState::adopt_pools(const model::Destination& destination) {
    std::vector<std::shared_ptr<Pool>> next;
    next.reserve(destination.endpoints.size());
    for (const model::Endpoint& endpoint : destination.endpoints) {
        auto same = std::ranges::find_if(pools_, [&](const std::shared_ptr<Pool>& pool) {
            return pool && same_endpoint(pool->endpoint(), endpoint);
        });
        if (same != pools_.end()) {
            (*same)->set_endpoint(endpoint);
            next.push_back(std::move(*same));
        } else {
            next.push_back(std::make_shared<Pool>(core_, endpoint, usage));
        }
    }
    for (auto& pool : pools_) {
        if (pool) {
            pool->retire();
        }
    }
    pools_ = std::move(next);
}

// Endpoints that a running daemon finds new are warmed up; those of its first look are all alike.
void DestinationState::see_endpoints(const model::Destination& destination) {
    warm_at_ = Instant::min();
    std::uint32_t ejected = 0;
    for (const auto& cell : destination.health) {
        const Instant seen = first_seen(*cell, core_.loop().now());
        if (destination.policy.warmup) {
            warm_at_ = std::max(warm_at_, seen + destination.policy.warmup->window);
        }
        ejected += cell->ejected() ? 1 : 0;
    }
    const auto total = static_cast<std::int64_t>(destination.endpoints.size());
    series->set(ClusterGauge::membership_total, total);
    series->set(ClusterGauge::membership_healthy, total - ejected);
}

bool DestinationState::follows(const model::Destination& destination) const {
    return followed_ == &destination && pools_.size() == destination.endpoints.size();
}

Pool* DestinationState::find_pool(const model::Endpoint& endpoint) const {
    auto found = std::ranges::find_if(pools_, [&](const std::shared_ptr<Pool>& pool) {
        return pool && same_endpoint(pool->endpoint(), endpoint);
    });
    return found == pools_.end() ? nullptr : found->get();
}

// A request that began under an older snapshot may name an endpoint that is gone by now: its
// connection is then of no use to others.
std::shared_ptr<Pool> DestinationState::pool_of(const model::Destination& destination,
                                                std::size_t index) {
    if (follows(destination)) {
        return pools_[index];
    }
    const model::Endpoint& endpoint = destination.endpoints[index];
    if (Pool* pool = find_pool(endpoint)) {
        return pool->shared_from_this();
    }
    auto pool = std::make_shared<Pool>(core_, endpoint, usage);
    pool->retire();
    return pool;
}

decide::Pick DestinationState::pick(const model::Destination& destination, const PickWish& wish) {
    struct Looked {
        const DestinationState* state;
        const model::Destination* destination;
        Instant now;
    } looked{this, &destination, core_.loop().now()};
    decide::BalanceRequest request;
    request.active = {&looked, [](const void* context, std::size_t index) -> std::uint32_t {
                          const auto& at = *static_cast<const Looked*>(context);
                          if (at.state->follows(*at.destination)) {
                              return at.state->pools_[index]->active;
                          }
                          const Pool* pool = at.state->find_pool(at.destination->endpoints[index]);
                          return pool == nullptr ? 0 : pool->active;
                      }};
    request.tried = wish.tried;
    request.hash = wish.hash;
    request.original = wish.original;
    request.random = {&core_.random(), &telemetry::FastRandom::next_of};
    if (looked.now < warm_at_ && destination.policy.warmup && !destination.health.empty()) {
        request.scale = {
            &looked, [](const void* context, std::size_t index) {
                const auto& at = *static_cast<const Looked*>(context);
                const Instant seen{Duration(at.destination->health[index]->first_seen.load())};
                return decide::warm_up_factor(*at.destination->policy.warmup, at.now - seen);
            }};
    }
    decide::Rotation::Choice choice;
    if (follows(destination)) {
        choice = rotation_.choose(destination, request.random, wish.leave);
        request.usable = choice.usable;
    }
    if (choice.panic) {
        series->add(ClusterCounter::lb_healthy_panic);
    }
    decide::Pick pick = balancer_.pick(destination, request);
    pick.unusable = choice.ejected;
    pick.panic = choice.panic;
    pick.group = choice.group;
    return pick;
}

void DestinationState::observe(const model::Destination& destination,
                               std::size_t index,
                               const decide::TryOutcome& outcome) {
    if (!destination.policy.outlier || index >= destination.health.size()) {
        return;
    }
    decide::WatchedEndpoint endpoint{*destination.policy.outlier,
                                     *destination.health[index],
                                     *destination.verdicts,
                                     destination.endpoints.size()};
    auto verdict = decide::record_try(endpoint, outcome, core_.loop().now());
    if (verdict.trigger != decide::OutlierTrigger::none) {
        core_.outliers().note({destination, index, caller_}, verdict, *series);
    }
}

std::shared_ptr<Pool> DestinationState::pool_to(const SocketAddress& original) {
    if (!passthrough_ || passthrough_->endpoint().address != original) {
        if (passthrough_) {
            passthrough_->retire();
        }
        passthrough_ = std::make_shared<Pool>(core_, model::Endpoint{.address = original}, usage);
    }
    return passthrough_;
}

void DestinationState::end_all() {
    if (passthrough_) {
        passthrough_->retire();
    }
    for (auto& pool : pools_) {
        pool->retire();
    }
}

std::shared_ptr<DestinationState>
destination_state(ProxyCore& core, LocalPod& pod, const model::Destination& destination) {
    auto& state = pod.destinations[destination.key];
    if (!state) {
        state = std::make_shared<DestinationState>(core, core.random().next());
    }
    state->follow(destination, pod.workload);
    return state;
}

std::string ejected_text(const model::Destination& destination, Instant now) {
    constexpr std::size_t listed_max = 3;
    std::string text;
    std::size_t listed = 0;
    for (std::size_t i = 0; i < destination.health.size() && listed < listed_max; ++i) {
        const model::EndpointHealth& cell = *destination.health[i];
        const std::int64_t until = cell.ejected_until.load();
        if (until <= 0) {
            continue;
        }
        const model::Endpoint& endpoint = destination.endpoints[i];
        const auto left = static_cast<double>(until - now.time_since_epoch().count()) / 1e9;
        text += fmt::format("{}{}{}{}{} after {}, back in {:.1f} s",
                            listed == 0 ? "" : "; ",
                            endpoint.address.to_string(),
                            endpoint.workload ? " (" : "",
                            endpoint.workload ? endpoint.workload->name : "",
                            endpoint.workload ? ")" : "",
                            decide::last_errors_text(cell),
                            std::max(left, 0.0));
        ++listed;
    }
    return text;
}

}  // namespace orlop::proxy
