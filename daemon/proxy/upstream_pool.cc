#include "daemon/proxy/upstream_pool.h"

#include <algorithm>

namespace orlop::proxy {

// --- UpstreamConnection ---

UpstreamConnection::UpstreamConnection(std::shared_ptr<Pool> owner,
                                       std::unique_ptr<net::Stream> bytes, decide::Wire over)
    : pool(std::move(owner)), stream(std::move(bytes)), wire(over),
      idle(&UpstreamConnection::on_end, this) {}

// The peer closed an idle connection, or it was idle for too long.
void UpstreamConnection::on_end(void* self) {
    auto* connection = static_cast<UpstreamConnection*>(self);
    auto pool = connection->pool;  // keeps the pool until remove() is done
    pool->remove(connection);
}

// --- Pool ---

Pool::Pool(ProxyCore& core, model::Endpoint endpoint)
    : core_(core), endpoint_(std::move(endpoint)) {}

Pool::~Pool() = default;

std::unique_ptr<UpstreamConnection> Pool::take_idle(decide::Wire wire) {
    while (!idle_.empty()) {
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        connection->idle.cancel();
        connection->stream->watch_end(nullptr, nullptr);
        if (connection->wire == wire && connection->stream->quiet()) {
            core_.metrics().add(telemetry::CoreGauge::upstream_idle, -1);
            return connection;
        }
        core_.metrics().add(telemetry::CoreGauge::upstream_idle, -1);
        core_.dispose(std::move(connection->stream), net::Closing::orderly);
    }
    return nullptr;
}

void Pool::give_back(std::unique_ptr<UpstreamConnection> connection) {
    if (retired_ || core_.draining() || idle_.size() >= limits::upstream_idle_per_pool_max ||
        !connection->stream->quiet()) {
        core_.dispose(std::move(connection->stream), net::Closing::orderly);
        return;
    }
    UpstreamConnection& kept = *connection;
    idle_.push_back(std::move(connection));
    core_.metrics().add(telemetry::CoreGauge::upstream_idle, 1);
    core_.loop().timers().set(kept.idle, core_.loop().now() +
                                             std::chrono::milliseconds(limits::upstream_idle_ms));
    kept.stream->watch_end(&UpstreamConnection::on_end, &kept);
    kept.stream->read_ahead();
}

void Pool::remove(UpstreamConnection* connection) {
    auto found = std::ranges::find_if(
        idle_, [&](const auto& candidate) { return candidate.get() == connection; });
    if (found == idle_.end()) {
        return;
    }
    auto gone = std::move(*found);
    idle_.erase(found);
    gone->idle.cancel();
    core_.metrics().add(telemetry::CoreGauge::upstream_idle, -1);
    core_.dispose(std::move(gone->stream), net::Closing::orderly);
}

void Pool::close_idle() {
    while (!idle_.empty()) {
        remove(idle_.back().get());
    }
}

void Pool::retire() {
    retired_ = true;
    close_idle();
}

// --- DestinationState ---

DestinationState::DestinationState(ProxyCore& core, std::uint64_t seed)
    : core_(core), balancer_(seed) {}

DestinationState::~DestinationState() = default;

void DestinationState::follow(const model::Destination& destination) {
    std::uint64_t generation = core_.pinned()->snapshot->generation();
    if (followed_ == &destination && followed_generation_ == generation) {
        return;
    }
    std::vector<std::shared_ptr<Pool>> next;
    next.reserve(destination.endpoints.size());
    for (const model::Endpoint& endpoint : destination.endpoints) {
        auto same = std::ranges::find_if(pools_, [&](const std::shared_ptr<Pool>& pool) {
            if (!pool || pool->endpoint().address != endpoint.address) {
                return false;
            }
            const auto& old = pool->endpoint().workload;
            return (old ? std::string_view(old->uid) : std::string_view()) ==
                   (endpoint.workload ? std::string_view(endpoint.workload->uid)
                                      : std::string_view());
        });
        if (same != pools_.end()) {
            (*same)->set_endpoint(endpoint);
            next.push_back(std::move(*same));
        } else {
            next.push_back(std::make_shared<Pool>(core_, endpoint));
        }
    }
    for (auto& pool : pools_) {
        if (pool) {
            pool->retire();
        }
    }
    pools_ = std::move(next);
    followed_ = &destination;
    followed_generation_ = generation;
    if (series == nullptr) {
        series = core_.metrics().cluster(destination.cluster_name);
    }
}

decide::Pick DestinationState::pick(const model::Destination& destination,
                                    const decide::TriedEndpoints* tried) {
    decide::BalanceRequest request;
    request.active = {this, [](const void* context, std::size_t index) {
                          return static_cast<const DestinationState*>(context)->pools_[index]->active;
                      }};
    request.tried = tried;
    request.random = {&core_.random(), &telemetry::FastRandom::next_of};
    return balancer_.pick(destination, request);
}

void DestinationState::end_all() {
    for (auto& pool : pools_) {
        pool->retire();
    }
}

std::shared_ptr<DestinationState> destination_state(ProxyCore& core, LocalPod& pod,
                                                    const model::Destination& destination) {
    auto& state = pod.destinations[destination.key];
    if (!state) {
        state = std::make_shared<DestinationState>(core, core.random().next());
    }
    state->follow(destination);
    return state;
}

runtime::Task<Result<std::unique_ptr<UpstreamConnection>>>
acquire(std::shared_ptr<Pool> pool, const WireRequest& request) {
    if (auto warm = pool->take_idle(request.wire)) {
        co_return std::move(warm);
    }
    auto stream = co_await open_wire(request);
    if (!stream) {
        co_return std::unexpected(stream.error());
    }
    co_return std::make_unique<UpstreamConnection>(pool, std::move(*stream), request.wire);
}

}  // namespace orlop::proxy
