// The part of a pool that speaks HTTP/2.
#include "daemon/proxy/upstream_http2.h"

#include "daemon/base/log.h"
#include "daemon/proxy/h2_message.h"
#include "daemon/proxy/upstream_pool.h"

#include <algorithm>

namespace orlop::proxy {

using decide::Admission;
using decide::HttpVersion;
using telemetry::ClusterCounter;

Http2Upstream::Http2Upstream(Pool& owner,
                             std::shared_ptr<Tunnel> connection,
                             decide::Wire over,
                             Instant opened,
                             std::string_view in_scheme)
    : pool(owner), tunnel(std::move(connection)), wire(over), born(opened), scheme(in_scheme),
      end(&Http2Upstream::on_end, this) {}

bool Http2Upstream::has_room(const model::ConnectionPoolLimits& limits) const {
    std::uint32_t most = tunnel->streams_max();
    most = std::min(most, limits.max_concurrent_streams.value_or(most));
    return !leaving && streams < std::max(most, 1U) && tunnel->can_open();
}

// GOAWAY waits for the last stream: before it, those that are about to be opened could not be.
void Http2Upstream::leave() {
    leaving = true;
    end.cancel();
    if (streams == 0) {
        tunnel->begin_goaway();
        await_end({});
    }
}

void Http2Upstream::await_end(const model::ConnectionPoolLimits& limits) {
    auto& loop = tunnel->loop();
    Instant when = Instant::max();
    end.cancel();
    if (leaving) {
        // With nothing in flight a peer that listens is gone in a moment.
        if (streams == 0) {
            loop.timers().set(end,
                              loop.now() + std::chrono::milliseconds(limits::tls_close_ms_max));
        }
        return;
    }
    Duration idle = idle_limit(limits);
    if (streams == 0 && idle > Duration::zero()) {
        when = loop.now() + idle;
    }
    if (limits.max_connection_duration) {
        when = std::min(when, born + *limits.max_connection_duration);
    }
    if (when != Instant::max()) {
        loop.timers().set(end, when);
    }
}

void Http2Upstream::on_end(void* self) {
    auto& connection = *static_cast<Http2Upstream*>(self);
    if (connection.leaving) {
        connection.tunnel->abort(Error{
            ErrorKind::timed_out, "the peer does not take our end", Side::upstream, ETIMEDOUT});
    } else {
        connection.leave();
    }
}

// --- Pool ---

Http2Upstream* Pool::ready_http2(decide::Wire wire) {
    for (const auto& connection : shared_) {
        if (connection->wire == wire && connection->has_room(usage_->limits())) {
            return connection.get();
        }
    }
    return nullptr;
}

std::unique_ptr<UpstreamConnection> Pool::take_stream(Http2Upstream& connection) {
    auto found = std::ranges::find(
        shared_, &connection, [](const auto& candidate) { return candidate.get(); });
    auto stream = std::make_unique<UpstreamConnection>(
        shared_from_this(),
        MessageStream::to_open(connection.tunnel, connection.scheme),
        connection.wire,
        connection.born);
    stream->shared = *found;
    stream->requests = connection.requests++;
    ++connection.streams;
    const auto& limits = usage_->limits();
    if (limits.max_requests_per_connection &&
        connection.requests >= *limits.max_requests_per_connection) {
        usage_->series().add(ClusterCounter::cx_max_requests);
        connection.leave();
    } else {
        connection.await_end(limits);
    }
    return stream;
}

// A stream has ended, used or not.
void Pool::release(Http2Upstream& connection) {
    --connection.streams;
    if (connection.leaving && connection.streams == 0) {
        connection.leave();
    } else {
        connection.await_end(usage_->limits());
    }
    give_streams();
    connect_if_needed();
}

// Waiting requests that speak HTTP/2, for as long as there is room for them.
void Pool::give_streams() {
    while (Waiter* waiter = first_waiter(HttpVersion::http2)) {
        Http2Upstream* connection = ready_http2(waiter->wish.wire);
        if (connection == nullptr) {
            return;
        }
        dequeue(*waiter);
        waiter->result.admission = decide::admit_waiting(usage_->limits(), usage_->load());
        waiter->served.set();
        if (waiter->result.admission == Admission::dispatch) {
            waiter->result.connection = take_stream(*connection);
            use(*waiter->result.connection);
        } else {
            usage_->series().add(ClusterCounter::rq_pending_overflow);
        }
    }
}

// HTTP/2 over a transport that has just been opened. Its end is the end of serve_http2().
Result<void> Pool::adopt_http2(std::unique_ptr<net::Stream> transport, const WireRequest& wish) {
    h2::SessionOptions options;
    // Callers share the connection: those who do not read must not stop the others.
    options.connection_window_bytes = options.streams_max * options.stream_window_bytes;
    auto tunnel = Tunnel::create(std::move(transport), h2::Role::client, nullptr, options);
    if (!tunnel) {
        return std::unexpected(tunnel.error());
    }
    bool tls = wish.destination != nullptr && wish.destination->tls != nullptr;
    auto connection = std::make_shared<Http2Upstream>(
        *this, *tunnel, wish.wire, core_.loop().now(), tls ? "https" : "http");
    (*tunnel)->on_change(&Pool::on_http2_change, this);
    shared_.push_back(connection);
    core_.scope().spawn(&Pool::serve_http2, shared_from_this(), connection);
    // Those who wait are served even by a pool that keeps nothing: nobody else would do it.
    give_streams();
    if (retired_ || core_.draining()) {
        connection->leave();
    } else {
        connection->await_end(usage_->limits());
    }
    connect_if_needed();
    return {};
}

// A stream of one of the connections has ended, or the peer's limits have changed.
void Pool::on_http2_change(void* self) {
    static_cast<Pool*>(self)->give_streams();
}

runtime::Task<void> Pool::serve_http2(std::shared_ptr<Pool> pool,
                                      std::shared_ptr<Http2Upstream> connection) {
    co_await Tunnel::serve(connection->tunnel);
    connection->leaving = true;
    connection->end.cancel();
    connection->tunnel->on_change(nullptr, nullptr);
    std::erase(pool->shared_, connection);
    --pool->connections_[1];
    pool->usage_->remove_connection();
    pool->connect_if_needed();
}

void Pool::leave_http2() {
    for (const auto& connection : shared_) {
        connection->leave();
    }
}

}  // namespace orlop::proxy
