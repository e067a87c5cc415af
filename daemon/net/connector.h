// connect(): one outgoing TCP connection with a deadline.
//
// Sockets come from a SocketSource, because the namespace a socket is made in decides whose network
// it uses; the wiring answers for real pods, tests for fake ones.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/runtime/task.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace orlop::net {

// Names the network a socket is made in; the source knows what it really is. Shared by pods' users.
class Network {
public:
    virtual ~Network() = default;
};
using NetworkPtr = std::shared_ptr<const Network>;

struct KeepAlive {  // of TCP; zero: the kernel's default
    std::uint32_t probes = 0;
    Duration time{};
    Duration interval{};
};

struct SocketWish {
    IpAddress destination;                  // decides the family
    std::optional<IpAddress> deliver_from;  // deliver to the app with this source address
    std::optional<KeepAlive> keepalive{};
};

class SocketSource {
public:
    virtual ~SocketSource() = default;
    // A non-blocking TCP socket in `network`, not connected. Any core may call.
    virtual Result<int> open_socket(const Network& network, const SocketWish& wish) = 0;
};

// Lets somebody end a wait early. fire() is remembered until reset(); whoever waits hooks in and
// unhooks before its frame ends. One waiter, one core.
class Interrupt {
public:
    using Hook = void (*)(void* context);
    void fire() {
        fired_ = true;
        if (hook_ != nullptr) {
            hook_(context_);
        }
    }
    bool fired() const { return fired_; }
    void reset() { fired_ = false; }
    void hook(Hook hook, void* context) {
        hook_ = hook;
        context_ = context;
    }
    void unhook() { hook_ = nullptr; }

private:
    Hook hook_ = nullptr;
    void* context_ = nullptr;
    bool fired_ = false;
};

// co_await wait_for(loop, duration, interrupt): a sleep that `interrupt` ends early.
runtime::Task<void> wait_for(runtime::Loop& loop, Duration duration, Interrupt& interrupt);

struct ConnectRequest {
    const Network* network = nullptr;
    SocketAddress address;
    std::optional<IpAddress> deliver_from;
    Duration timeout = std::chrono::seconds(10);  // zero or less: none
    Interrupt* interrupt = nullptr;               // ends the attempt as cancelled
    std::optional<KeepAlive> keepalive{};
};

// Errors: refused, timed_out ("connect timeout"), cancelled, system.
runtime::Task<Result<std::unique_ptr<TcpStream>>>
connect(runtime::Loop& loop, SocketSource& source, const ConnectRequest& request);

}  // namespace orlop::net
