#include "daemon/datapath/sockets.h"

#include "bpf/abi.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <random>
#include <sched.h>
#include <unistd.h>

namespace orlop::datapath {
namespace {

constexpr int ipv6_transparent = 75;  // IPV6_TRANSPARENT, not in every libc header
// Above net.ipv4.ip_local_port_range of every kernel's default, which ends at 60999.
constexpr std::uint16_t delivery_port_first = 61000;
constexpr int delivery_port_attempts = 8;

// Each thread keeps a handle on the namespace it was born into; opened before its first visit.
Result<int> home_netns() {
    thread_local UniqueFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!home.valid()) {
        home.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }
    if (!home.valid()) {
        return fail_errno(errno, "open /proc/thread-self/ns/net (is /proc mounted?)");
    }
    return home.get();
}

Result<void> exempt_from_capture(int exemptions_fd, int socket) {
    std::uint32_t mark = 1;
    union bpf_attr request{};
    request.map_fd = static_cast<std::uint32_t>(exemptions_fd);
    request.key = reinterpret_cast<std::uint64_t>(&socket);
    request.value = reinterpret_cast<std::uint64_t>(&mark);
    request.flags = BPF_ANY;
    if (::syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &request, sizeof(request)) != 0) {
        return fail_errno(errno, "exempt orlopd's own socket from capture (CAP_BPF missing?)");
    }
    return {};
}

// A delivery's port must not be one of the caller's own: in the pod's namespace both connections
// would be one 4-tuple towards the app. The kernel does not see it, since it compares local ends.
// The SYN would meet the caller's connection to us: in TIME_WAIT it is dropped (the clocks of
// their timestamps differ behind a service's address) and sent again a second later; a live one
// is reset. So: a port above the range that callers' kernels choose from, else any.
Result<void> bind_to_caller(int socket, const IpAddress& caller) {
    static thread_local std::minstd_rand random{std::random_device{}()};
    std::uniform_int_distribution<unsigned> ports(delivery_port_first, 65535);
    sockaddr_storage address{};
    for (int attempt = 0; attempt < delivery_port_attempts; ++attempt) {
        auto port = static_cast<std::uint16_t>(ports(random));
        unsigned length = SocketAddress{caller, port}.to_sockaddr(address);
        if (::bind(socket, reinterpret_cast<sockaddr*>(&address), length) == 0) {
            return {};
        }
        if (errno != EADDRINUSE) {
            break;
        }
    }
    int one = 1;
    ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    unsigned length = SocketAddress{caller, 0}.to_sockaddr(address);
    if (::bind(socket, reinterpret_cast<sockaddr*>(&address), length) != 0) {
        return fail_errno(errno, "bind a delivery socket to " + caller.to_string());
    }
    return {};
}

// The recipe of a delivery that keeps the caller's address: marked, transparent, bound to lo so
// that the pod's local route over eth0 is skipped, bound to the caller's address.
Result<void> become_transparent(int socket, const IpAddress& caller) {
    int one = 1;
    int mark = static_cast<int>(ORLOP_MARK_IN);
    if (::setsockopt(socket, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) != 0) {
        return fail_errno(errno, "SO_MARK on a delivery socket (CAP_NET_ADMIN missing?)");
    }
    int failed = caller.is_v4()
                     ? ::setsockopt(socket, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one))
                     : ::setsockopt(socket, IPPROTO_IPV6, ipv6_transparent, &one, sizeof(one));
    if (failed != 0) {
        return fail_errno(errno, "IP_TRANSPARENT on a delivery socket (CAP_NET_ADMIN missing?)");
    }
    if (::setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0) {
        return fail_errno(errno, "SO_BINDTODEVICE lo on a delivery socket");
    }
    return bind_to_caller(socket, caller);
}

// Runs inside the pod's namespace.
Result<UniqueFd> make_socket(const PodNetwork& network, const UpstreamSocket& wanted) {
    int family = wanted.destination.is_v4() ? AF_INET : AF_INET6;
    UniqueFd made(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!made.valid()) {
        return fail_errno(errno, "socket in a pod's namespace (file descriptor limit?)");
    }
    int one = 1;
    ::setsockopt(made.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (network.exemptions_fd() >= 0) {
        if (auto done = exempt_from_capture(network.exemptions_fd(), made.get()); !done) {
            return std::unexpected(done.error());
        }
    }
    if (wanted.deliver_from) {
        if (auto done = become_transparent(made.get(), *wanted.deliver_from); !done) {
            return std::unexpected(done.error());
        }
    }
    return made;
}

}  // namespace

Result<NetnsVisit> NetnsVisit::enter(int netns_fd) {
    auto home = home_netns();
    if (!home) {
        return std::unexpected(home.error());
    }
    if (::setns(netns_fd, CLONE_NEWNET) != 0) {
        return fail_errno(errno, "setns into a pod's namespace (CAP_SYS_ADMIN missing?)");
    }
    return NetnsVisit(*home);
}

NetnsVisit::~NetnsVisit() {
    if (home_fd_ >= 0 && ::setns(home_fd_, CLONE_NEWNET) != 0) {
        std::perror("orlopd: cannot return from a pod's network namespace, every later socket "
                    "would be made in the wrong network; aborting: setns");
        std::abort();
    }
}

Result<UniqueFd> open_upstream_socket(const PodNetwork& network, const UpstreamSocket& wanted) {
    UniqueFd made;
    auto count = open_upstream_sockets(network, wanted, std::span(&made, 1));
    if (!count) {
        return std::unexpected(count.error());
    }
    return made;
}

Result<std::size_t> open_upstream_sockets(const PodNetwork& network,
                                          const UpstreamSocket& wanted,
                                          std::span<UniqueFd> sockets) {
    if (wanted.deliver_from && wanted.deliver_from->is_v4() != wanted.destination.is_v4()) {
        return fail(ErrorKind::invalid_input,
                    "delivery from " + wanted.deliver_from->to_string() + " to " +
                        wanted.destination.to_string() + ": address families differ");
    }
    auto visit = NetnsVisit::enter(network.netns_fd());
    if (!visit) {
        return std::unexpected(visit.error());
    }
    std::size_t made = 0;
    for (UniqueFd& slot : sockets) {
        auto socket = make_socket(network, wanted);
        if (!socket && made == 0) {
            return std::unexpected(socket.error());
        }
        if (!socket) {
            break;
        }
        slot = std::move(*socket);
        ++made;
    }
    return made;
}

}  // namespace orlop::datapath
