// connect(): one outgoing TCP connection with a deadline.
//
// Sockets come from a SocketSource, because the namespace a socket is made in decides whose network
// it uses; the wiring answers for real pods, tests for fake ones.
#pragma once

#include <memory>
#include <optional>

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/runtime/task.h"

namespace orlop::net {

// Names the network a socket is made in; the source knows what it really is. Shared by pods' users.
class Network {
public:
    virtual ~Network() = default;
};
using NetworkPtr = std::shared_ptr<const Network>;

struct SocketWish {
    IpAddress destination;                  // decides the family
    std::optional<IpAddress> deliver_from;  // deliver to the app with this source address
};

class SocketSource {
public:
    virtual ~SocketSource() = default;
    // A non-blocking TCP socket in `network`, not connected. Any core may call.
    virtual Result<int> open_socket(const Network& network, const SocketWish& wish) = 0;
};

struct ConnectRequest {
    const Network* network = nullptr;
    SocketAddress address;
    std::optional<IpAddress> deliver_from;
    Duration timeout = std::chrono::seconds(10);  // zero or less: none
};

// Errors: refused, timed_out ("connect timeout"), cancelled, system.
runtime::Task<Result<std::unique_ptr<TcpStream>>> connect(runtime::Loop& loop, SocketSource& source,
                                                          const ConnectRequest& request);

}  // namespace orlop::net
