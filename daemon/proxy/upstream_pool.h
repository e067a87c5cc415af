// Pool: the connections of one source pod to one endpoint, and the requests that wait for one.
//
// Connections are HTTP/1.1 and carry one request at a time; idle ones have a receive armed, so that
// a close by the peer is noticed before the next use. Who may use, open or wait for one is Envoy's
// algorithm (decide/admission, istio-semantics §5): a request takes a ready connection, else it
// waits in a queue, first come first served, and a connection is opened when more wait than are
// being opened. Connections open on their own: a request that is cut leaves the queue only, and a
// failed attempt fails every waiting request. A waiting request is part of its own frame, so
// that nothing is allocated. One core.
//
//     Acquired got = co_await acquire(pool, request);
//     if (got.connection) { ...; pool->give_back(std::move(got.connection)); }
#pragma once

#include "daemon/proxy/pool_usage.h"
#include "daemon/proxy/wire.h"

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
        traffic = destination_traffic = nullptr;  // labels may have changed
    }
    std::uint32_t active = 0;                                 // requests at this endpoint
    telemetry::TrafficSeries* traffic = nullptr;              // reporter=source, cached
    telemetry::TrafficSeries* destination_traffic = nullptr;  // same node: the other end's view
    decide::Wire traffic_wire = decide::Wire::refused;

private:
    friend struct UpstreamConnection;
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
        Attempt* next = nullptr;
        Attempt* previous = nullptr;
    };

    decide::Ready look_for_ready(decide::Wire wire);
    std::unique_ptr<UpstreamConnection> take_ready();
    void use(UpstreamConnection& connection);
    void offer(std::unique_ptr<UpstreamConnection> connection);
    void keep(std::unique_ptr<UpstreamConnection> connection);
    void discard(std::unique_ptr<UpstreamConnection> connection);
    bool worth_keeping(const UpstreamConnection& connection) const;
    void remove(UpstreamConnection* connection);
    void forget(UpstreamConnection& connection);

    void enqueue(Waiter& waiter);
    void dequeue(Waiter& waiter);
    void fail_waiters(const Error& error);
    void connect_if_needed();
    void cancel_unwanted_attempts();
    static runtime::Task<void> open(std::shared_ptr<Pool> pool, WireRequest wish);
    void begin(Attempt& attempt);
    void end(Attempt& attempt);

    ProxyCore& core_;
    model::Endpoint endpoint_;
    std::shared_ptr<PoolUsage> usage_;
    std::vector<std::unique_ptr<UpstreamConnection>> idle_;
    Waiter* first_ = nullptr;  // the longest waiting
    Waiter* last_ = nullptr;
    Attempt* attempts_ = nullptr;
    std::uint32_t waiting_ = 0;
    std::uint32_t connecting_ = 0;
    std::uint32_t connections_ = 0;  // of this endpoint: being opened, busy or idle
    bool retired_ = false;
};

// A connection to `pool`'s endpoint, as admission allows. Errors: those of open_wire().
runtime::Task<Acquired> acquire(std::shared_ptr<Pool> pool, const WireRequest& request);

}  // namespace orlop::proxy
