#include "daemon/proxy/upstream_pool.h"

#include <algorithm>

namespace orlop::proxy {

using decide::Admission;
using decide::HttpVersion;
using telemetry::ClusterCounter;
using telemetry::CoreGauge;

namespace {

std::size_t slot(HttpVersion version) {
    return version == HttpVersion::http2 ? 1 : 0;
}

}  // namespace

// --- UpstreamConnection ---

UpstreamConnection::UpstreamConnection(std::shared_ptr<Pool> owner,
                                       std::unique_ptr<net::Stream> bytes,
                                       decide::Wire over,
                                       Instant opened)
    : pool(std::move(owner)), stream(std::move(bytes)), wire(over), born(opened),
      idle(&UpstreamConnection::on_end, this) {}

UpstreamConnection::~UpstreamConnection() {
    if (shared == nullptr) {
        pool->forget(*this);
        return;
    }
    if (in_use) {
        pool->usage_->remove_active();
    }
    pool->release(*shared);
}

// The peer closed an idle connection, or it was idle or open for too long.
void UpstreamConnection::on_end(void* self) {
    auto* connection = static_cast<UpstreamConnection*>(self);
    auto pool = connection->pool;  // keeps the pool until remove() is done
    pool->remove(connection);
}

// --- Pool: connections ---

Pool::Pool(ProxyCore& core, model::Endpoint endpoint, std::shared_ptr<PoolUsage> usage)
    : core_(core), endpoint_(std::move(endpoint)), usage_(std::move(usage)) {}

Pool::~Pool() = default;

bool Pool::worth_keeping(const UpstreamConnection& connection) const {
    return connection.stream->quiet() && !connection.stream->transport_ends();
}

// The warmest idle connection comes last; those that cannot be used any more go.
decide::Ready Pool::look_for_ready(const WireRequest& wish) {
    if (wish.version == HttpVersion::http2) {
        return ready_http2(wish.wire) != nullptr ? decide::Ready::yes : decide::Ready::no;
    }
    while (!idle_.empty()) {
        if (idle_.back()->wire == wish.wire && worth_keeping(*idle_.back())) {
            return decide::Ready::yes;
        }
        discard(take_idle());
    }
    return decide::Ready::no;
}

std::unique_ptr<UpstreamConnection> Pool::take_ready(const WireRequest& wish) {
    return wish.version == HttpVersion::http2 ? take_stream(*ready_http2(wish.wire)) : take_idle();
}

std::unique_ptr<UpstreamConnection> Pool::take_idle() {
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    connection->idle.cancel();
    connection->stream->watch_end(nullptr, nullptr);
    core_.metrics().add(CoreGauge::upstream_idle, -1);
    return connection;
}

void Pool::use(UpstreamConnection& connection) {
    connection.in_use = true;
    usage_->add_active();
}

void Pool::discard(std::unique_ptr<UpstreamConnection> connection) {
    core_.dispose(std::move(connection->stream), net::Closing::orderly);
}

void Pool::give_back(std::unique_ptr<UpstreamConnection> connection) {
    if (connection->in_use) {
        connection->in_use = false;
        usage_->remove_active();
    }
    if (connection->shared != nullptr) {
        discard(std::move(connection));  // the stream; its connection stays
        return;
    }
    const auto& limits = usage_->limits();
    if (limits.max_requests_per_connection &&
        connection->requests >= *limits.max_requests_per_connection) {
        usage_->series().add(ClusterCounter::cx_max_requests);
        discard(std::move(connection));
    } else if (limits.max_connection_duration &&
               core_.loop().now() >= connection->born + *limits.max_connection_duration) {
        discard(std::move(connection));
    } else {
        offer(std::move(connection));
    }
}

// A connection has become ready: the longest waiting request gets it.
void Pool::offer(std::unique_ptr<UpstreamConnection> connection) {
    Waiter* first = first_waiter(HttpVersion::http1);
    for (; first != nullptr && worth_keeping(*connection);
         first = first_waiter(HttpVersion::http1)) {
        Waiter& waiter = *first;
        if (waiter.wish.wire != connection->wire) {
            break;  // the way to the endpoint has changed meanwhile
        }
        dequeue(waiter);
        waiter.result.admission = decide::admit_waiting(usage_->limits(), usage_->load());
        waiter.served.set();
        if (waiter.result.admission == Admission::dispatch) {
            use(*connection);
            waiter.result.connection = std::move(connection);
            return;
        }
        usage_->series().add(ClusterCounter::rq_pending_overflow);
    }
    keep(std::move(connection));
}

void Pool::keep(std::unique_ptr<UpstreamConnection> connection) {
    bool unfit = first_waiter(HttpVersion::http1) != nullptr;  // for the one that waits
    if (retired_ || unfit || core_.draining() ||
        idle_.size() >= limits::upstream_idle_per_pool_max || !worth_keeping(*connection)) {
        discard(std::move(connection));
        return;
    }
    UpstreamConnection& kept = *connection;
    idle_.push_back(std::move(connection));
    core_.metrics().add(CoreGauge::upstream_idle, 1);
    const auto& policy = usage_->limits();
    const Duration idle = idle_limit(policy);
    Instant end = Instant::max();
    if (idle > Duration::zero()) {
        end = core_.loop().now() + idle;
    }
    if (policy.max_connection_duration) {
        end = std::min(end, kept.born + *policy.max_connection_duration);
    }
    if (end != Instant::max()) {
        core_.loop().timers().set(kept.idle, end);
    }
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
    core_.metrics().add(CoreGauge::upstream_idle, -1);
    discard(std::move(gone));
}

// A connection has ended, used or not.
void Pool::forget(UpstreamConnection& connection) {
    if (connection.in_use) {
        usage_->remove_active();
    }
    --connections_[0];
    usage_->remove_connection();
    connect_if_needed();
}

void Pool::close_idle() {
    while (!idle_.empty()) {
        remove(idle_.back().get());
    }
}

void Pool::retire() {
    retired_ = true;
    close_idle();
    leave_http2();
    cancel_unwanted_attempts();
}

// --- Pool: waiting requests ---

void Pool::enqueue(Waiter& waiter) {
    waiter.queued = true;
    waiter.previous = last_;
    (last_ != nullptr ? last_->next : first_) = &waiter;
    last_ = &waiter;
    ++waiting_;
    waiting_http2_ += waiter.wish.version == HttpVersion::http2 ? 1 : 0;
    usage_->add_pending();
    connect_if_needed();
}

void Pool::dequeue(Waiter& waiter) {
    waiter.queued = false;
    (waiter.previous != nullptr ? waiter.previous->next : first_) = waiter.next;
    (waiter.next != nullptr ? waiter.next->previous : last_) = waiter.previous;
    waiter.next = waiter.previous = nullptr;
    --waiting_;
    waiting_http2_ -= waiter.wish.version == HttpVersion::http2 ? 1 : 0;
    usage_->remove_pending();
}

Pool::Waiter* Pool::first_waiter(HttpVersion version) const {
    Waiter* waiter = waiting(version) == 0 ? nullptr : first_;
    while (waiter != nullptr && waiter->wish.version != version) {
        waiter = waiter->next;
    }
    return waiter;
}

std::uint32_t Pool::waiting(HttpVersion version) const {
    return version == HttpVersion::http2 ? waiting_http2_ : waiting_ - waiting_http2_;
}

void Pool::fail_waiters(const Error& error, HttpVersion version) {
    while (Waiter* waiter = first_waiter(version)) {
        dequeue(*waiter);
        waiter->result.error = error;
        waiter->served.set();
    }
}

// --- Pool: opening ---

// As many as have someone to serve; a new HTTP/2 connection has room for several.
bool Pool::needs_connection(HttpVersion version) const {
    std::uint32_t wanted = waiting(version);
    if (version == HttpVersion::http1) {
        return wanted > connecting_ - connecting_http2_;
    }
    const auto& policy = usage_->limits();
    std::uint32_t each = limits::h2_streams_max;
    each = std::min(each, policy.max_concurrent_streams.value_or(each));
    each = std::min(each, policy.max_requests_per_connection.value_or(each));
    return wanted > std::max(each, 1U) * connecting_http2_;
}

void Pool::connect_if_needed() {
    for (HttpVersion version : {HttpVersion::http1, HttpVersion::http2}) {
        while (needs_connection(version)) {
            if (!decide::may_connect(
                    usage_->limits(), usage_->load(), connections_[slot(version)])) {
                usage_->series().add(ClusterCounter::cx_overflow);
                break;
            }
            core_.scope().spawn(&Pool::open, shared_from_this(), first_waiter(version)->wish);
        }
    }
}

void Pool::begin(Attempt& attempt) {
    attempt.next = attempts_;
    if (attempts_ != nullptr) {
        attempts_->previous = &attempt;
    }
    attempts_ = &attempt;
    ++connecting_;
    connecting_http2_ += attempt.version == HttpVersion::http2 ? 1 : 0;
    ++connections_[slot(attempt.version)];
    usage_->add_connection();
}

void Pool::end(Attempt& attempt) {
    (attempt.previous != nullptr ? attempt.previous->next : attempts_) = attempt.next;
    if (attempt.next != nullptr) {
        attempt.next->previous = attempt.previous;
    }
    --connecting_;
    connecting_http2_ -= attempt.version == HttpVersion::http2 ? 1 : 0;
}

runtime::Task<void> Pool::open(std::shared_ptr<Pool> pool, WireRequest wish) {
    Attempt attempt;
    attempt.version = wish.version;
    pool->begin(attempt);
    wish.interrupt = &attempt.interrupt;
    wish.timeout = pool->usage_->limits().connect_timeout;
    wish.keepalive = keepalive_of(pool->usage_->limits());
    auto stream = co_await open_wire(wish);
    pool->end(attempt);
    if (stream && wish.version == HttpVersion::http2) {
        auto adopted = pool->adopt_http2(std::move(*stream), wish);
        if (adopted) {
            co_return;
        }
        stream = std::unexpected(adopted.error());
    }
    if (!stream) {
        auto& series = pool->usage_->series();
        if (stream.error().kind != ErrorKind::denied) {
            series.add(ClusterCounter::cx_connect_fail);
        }
        if (stream.error().kind == ErrorKind::timed_out) {
            series.add(ClusterCounter::cx_connect_timeout);
        }
        --pool->connections_[slot(wish.version)];
        pool->usage_->remove_connection();
        pool->fail_waiters(stream.error(), wish.version);
        co_return;
    }
    pool->offer(std::make_unique<UpstreamConnection>(
        pool, std::move(*stream), wish.wire, pool->core_.loop().now()));
}

// Of a pool that has nothing to serve any more.
void Pool::cancel_unwanted_attempts() {
    if (!retired_ || waiting_ != 0) {
        return;
    }
    for (Attempt* attempt = attempts_; attempt != nullptr; attempt = attempt->next) {
        attempt->interrupt.fire();
    }
}

Duration idle_limit(const model::ConnectionPoolLimits& limits) {
    return limits.http_idle_timeout.value_or(
        limits.tcp_idle_timeout.value_or(std::chrono::milliseconds(limits::upstream_http_idle_ms)));
}

runtime::Task<Acquired> acquire(std::shared_ptr<Pool> pool, const WireRequest& request) {
    Acquired result;
    PoolUsage& usage = *pool->usage_;
    const decide::Ready ready = pool->look_for_ready(request);
    result.admission = decide::admit(usage.limits(), usage.load(), ready);
    if (result.admission == Admission::dispatch) {
        result.connection = pool->take_ready(request);
        pool->use(*result.connection);
        co_return result;
    }
    if (result.admission != Admission::queue) {
        usage.series().add(ClusterCounter::rq_pending_overflow);
        co_return result;
    }
    Pool::Waiter waiter(pool->core_.loop(), request);
    pool->enqueue(waiter);
    if (request.interrupt != nullptr && !request.interrupt->fired()) {
        request.interrupt->hook(&Pool::Waiter::on_interrupt, &waiter);
    }
    if (request.interrupt == nullptr || !request.interrupt->fired()) {
        co_await waiter.served;
    }
    const bool cut = request.interrupt != nullptr && request.interrupt->fired();
    if (request.interrupt != nullptr) {
        request.interrupt->unhook();
    }
    if (waiter.queued) {
        pool->dequeue(waiter);
    }
    if (cut) {
        if (waiter.result.connection) {
            pool->give_back(std::move(waiter.result.connection));
        }
        waiter.result.error = Error{ErrorKind::cancelled, "", Side::internal, 0};
    }
    pool->cancel_unwanted_attempts();
    co_return std::move(waiter.result);
}

}  // namespace orlop::proxy
