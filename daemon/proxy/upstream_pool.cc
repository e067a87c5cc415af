#include "daemon/proxy/upstream_pool.h"

#include <algorithm>

namespace orlop::proxy {

// --- UpstreamConnection ---

UpstreamConnection::UpstreamConnection(std::shared_ptr<Pool> owner,
                                       std::unique_ptr<net::Stream> bytes,
                                       decide::Wire over)
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
        if (connection->wire == wire && connection->stream->quiet() &&
            !connection->stream->transport_ends()) {
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
        !connection->stream->quiet() || connection->stream->transport_ends()) {
        core_.dispose(std::move(connection->stream), net::Closing::orderly);
        return;
    }
    UpstreamConnection& kept = *connection;
    idle_.push_back(std::move(connection));
    core_.metrics().add(telemetry::CoreGauge::upstream_idle, 1);
    core_.loop().timers().set(
        kept.idle, core_.loop().now() + std::chrono::milliseconds(limits::upstream_idle_ms));
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
    gone->stream->watch_end(nullptr, nullptr);  // the watcher dies here, the stream a turn later
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

namespace {

bool same_endpoint(const model::Endpoint& one, const model::Endpoint& other) {
    auto uid = [](const model::Endpoint& endpoint) {
        return endpoint.workload ? std::string_view(endpoint.workload->uid) : std::string_view();
    };
    return one.address == other.address && uid(one) == uid(other);
}

}  // namespace

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
            return pool && same_endpoint(pool->endpoint(), endpoint);
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
    auto pool = std::make_shared<Pool>(core_, endpoint);
    pool->retire();
    return pool;
}

decide::Pick DestinationState::pick(const model::Destination& destination,
                                    const decide::TriedEndpoints* tried) {
    struct Looked {
        const DestinationState* state;
        const model::Destination* destination;
    } looked{this, &destination};
    decide::BalanceRequest request;
    request.active = {&looked, [](const void* context, std::size_t index) -> std::uint32_t {
                          const auto& at = *static_cast<const Looked*>(context);
                          if (at.state->follows(*at.destination)) {
                              return at.state->pools_[index]->active;
                          }
                          const Pool* pool = at.state->find_pool(at.destination->endpoints[index]);
                          return pool == nullptr ? 0 : pool->active;
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

std::shared_ptr<DestinationState>
destination_state(ProxyCore& core, LocalPod& pod, const model::Destination& destination) {
    auto& state = pod.destinations[destination.key];
    if (!state) {
        state = std::make_shared<DestinationState>(core, core.random().next());
    }
    state->follow(destination);
    return state;
}

runtime::Task<Result<std::unique_ptr<UpstreamConnection>>> acquire(std::shared_ptr<Pool> pool,
                                                                   const WireRequest& request) {
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
