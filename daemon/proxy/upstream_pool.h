// Pool: the connections of one source pod to one endpoint, and the requests that wait for one.
//
// HTTP/1.1 connections carry one request at a time; idle ones have a receive armed, so that a close
// by the peer is noticed before the next use. HTTP/2 connections carry many, each a stream that
// looks like a connection of its own (upstream_http2.h). Who may use, open or wait for one is
// Envoy's algorithm (decide/admission, istio-semantics §5): a request takes a ready connection,
// else it waits in a queue, first come first served, and a connection is opened when more wait than
// are being opened. Connections open on their own: a request that is cut leaves the queue only, and
// a failed attempt fails every waiting request. A waiting request is part of its own frame, so that
// nothing is allocated. One core.
//
//     Acquired got = co_await acquire(pool, request);
//     if (got.connection) { ...; pool->give_back(std::move(got.connection)); }
#pragma once

#include "daemon/proxy/pool_usage.h"
#include "daemon/proxy/upstream_http2.h"
#include "daemon/proxy/wire.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace orlop::proxy {

class Pool;

struct UpstreamConnection {
    UpstreamConnection(std::shared_ptr<Pool> owner,
                       std::unique_ptr<net::Stream> bytes,
                       decide::Wire over,
                       Instant opened);
    ~UpstreamConnection();
    UpstreamConnection(const UpstreamConnection&) = delete;
    UpstreamConnection& operator=(const UpstreamConnection&) = delete;

    std::shared_ptr<Pool> pool;
    std::unique_ptr<net::Stream> stream;
    decide::Wire wire;
    Instant born;
    std::uint32_t requests = 0;
    bool in_use = false;
    std::shared_ptr<Http2Upstream> shared{};  // of HTTP/2: whose stream this is
    runtime::Timer idle;
    static void on_end(void* self);
};

struct Acquired {
    std::unique_ptr<UpstreamConnection> connection;             // null: refused, or `error`
    decide::Admission admission = decide::Admission::dispatch;  // else the limit that was reached
    std::optional<Error> error;                                 // of connecting; or cancelled
};

class Pool : public std::enable_shared_from_this<Pool> {
public:
    Pool(ProxyCore& core, model::Endpoint endpoint, std::shared_ptr<PoolUsage> usage);
    ~Pool();

    // After a response that leaves the connection usable.
    void give_back(std::unique_ptr<UpstreamConnection> connection);
    void close_idle();
    void retire();  // no connection is kept from now on

    const model::Endpoint& endpoint() const { return endpoint_; }
    void set_endpoint(const model::Endpoint& endpoint) {
        endpoint_ = endpoint;
        traffic = {};  // labels may have changed
    }
    std::uint32_t active = 0;  // requests at this endpoint
    struct Traffic {           // cached
        telemetry::Held<telemetry::TrafficSeries> source;
        telemetry::Held<telemetry::TrafficSeries> destination;  // same node: the other end's view
    };
    std::array<Traffic, 2> traffic{};  // HTTP and gRPC
    decide::Wire traffic_wire = decide::Wire::refused;

private:
    friend struct UpstreamConnection;
    friend struct Http2Upstream;
    friend runtime::Task<Acquired> acquire(std::shared_ptr<Pool> pool, const WireRequest& request);

    struct Waiter {
        Waiter(runtime::Loop& loop, const WireRequest& request) : wish(request), served(loop) {}
        static void on_interrupt(void* self) { static_cast<Waiter*>(self)->served.set(); }
        const WireRequest& wish;
        runtime::Event served;
        Acquired result;
        bool queued = false;
        Waiter* next = nullptr;
        Waiter* previous = nullptr;
    };
    struct Attempt {  // a connection being opened
        net::Interrupt interrupt;
        decide::HttpVersion version = decide::HttpVersion::http1;
        Attempt* next = nullptr;
        Attempt* previous = nullptr;
    };

    decide::Ready look_for_ready(const WireRequest& wish);
    std::unique_ptr<UpstreamConnection> take_ready(const WireRequest& wish);
    std::unique_ptr<UpstreamConnection> take_idle();
    void use(UpstreamConnection& connection);
    void offer(std::unique_ptr<UpstreamConnection> connection);
    void keep(std::unique_ptr<UpstreamConnection> connection);
    void discard(std::unique_ptr<UpstreamConnection> connection);
    bool worth_keeping(const UpstreamConnection& connection) const;
    void remove(UpstreamConnection* connection);
    void forget(UpstreamConnection& connection);

    void enqueue(Waiter& waiter);
    void dequeue(Waiter& waiter);
    Waiter* first_waiter(decide::HttpVersion version) const;
    std::uint32_t waiting(decide::HttpVersion version) const;
    bool needs_connection(decide::HttpVersion version) const;
    void fail_waiters(const Error& error, decide::HttpVersion version);
    void connect_if_needed();
    void cancel_unwanted_attempts();
    static runtime::Task<void> open(std::shared_ptr<Pool> pool, WireRequest wish);

    // upstream_http2.cc
    Http2Upstream* ready_http2(decide::Wire wire);
    std::unique_ptr<UpstreamConnection> take_stream(Http2Upstream& connection);
    void release(Http2Upstream& connection);
    void give_streams();
    Result<void> adopt_http2(std::unique_ptr<net::Stream> transport, const WireRequest& wish);
    static void on_http2_change(void* self);
    static runtime::Task<void> serve_http2(std::shared_ptr<Pool> pool,
                                           std::shared_ptr<Http2Upstream> connection);
    void leave_http2();

    void begin(Attempt& attempt);
    void end(Attempt& attempt);

    ProxyCore& core_;
    model::Endpoint endpoint_;
    std::shared_ptr<PoolUsage> usage_;
    std::vector<std::unique_ptr<UpstreamConnection>> idle_;
    std::vector<std::shared_ptr<Http2Upstream>> shared_;
    Waiter* first_ = nullptr;  // the longest waiting
    Waiter* last_ = nullptr;
    Attempt* attempts_ = nullptr;
    std::uint32_t waiting_ = 0;
    std::uint32_t waiting_http2_ = 0;  // of these
    std::uint32_t connecting_ = 0;
    std::uint32_t connecting_http2_ = 0;  // of these
    // Of this endpoint, HTTP/1.1 and HTTP/2: being opened, busy or idle. Apart, because either may
    // have one beyond maxConnections, as Envoy's pools of the two have.
    std::array<std::uint32_t, 2> connections_{};
    bool retired_ = false;
};

// How long a connection may stay without a request; zero or less: for ever.
Duration idle_limit(const model::ConnectionPoolLimits& limits);

// A connection to `pool`'s endpoint, as admission allows. Errors: those of open_wire().
runtime::Task<Acquired> acquire(std::shared_ptr<Pool> pool, const WireRequest& request);

}  // namespace orlop::proxy
