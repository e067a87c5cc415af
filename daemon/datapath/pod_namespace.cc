#include "daemon/datapath/pod_namespace.h"

#include "daemon/datapath/routing.h"

#include <fmt/core.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <filesystem>
#include <sched.h>
#include <unistd.h>

namespace orlop::datapath {
namespace {

namespace fs = std::filesystem;

constexpr int so_netns_cookie = 71;              // SO_NETNS_COOKIE, Linux 5.14
constexpr int ipv6_transparent = 75;             // IPV6_TRANSPARENT
constexpr std::uint64_t first_netns_cookie = 1;  // the kernel counts from 1, init_net comes first
constexpr int listen_backlog = 4096;             // clamped by net.core.somaxconn of the pod

bool same_namespace(int fd, const char* path) {
    struct stat a{};
    struct stat b{};
    return ::fstat(fd, &a) == 0 && ::stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

Result<UniqueFd> open_netns(const std::string& path) {
    UniqueFd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return fail_errno(errno, "open network namespace " + path + " (has the pod gone?)");
    }
    if (::ioctl(netns.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
        return fail(ErrorKind::invalid_input, path + " is no network namespace");
    }
    return netns;
}

// Runs inside the pod's namespace. Bound to an ephemeral port: sk_lookup assigns the listener
// whatever it is bound to, it takes no port the app might want, and a successor never meets
// EADDRINUSE. The address must be the wildcard: binding to ::1 makes a socket IPv6-only for good.
Result<UniqueFd> make_listener(int family) {
    UniqueFd made(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!made.valid()) {
        return fail_errno(errno, "socket for a pod's listener");
    }
    int one = 1;
    int zero = 0;
    ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_storage storage{};
    unsigned length = 0;
    int failed = 0;
    if (family == AF_INET6) {
        ::setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
        failed = ::setsockopt(made.get(), IPPROTO_IPV6, ipv6_transparent, &one, sizeof(one));
        length = SocketAddress{}.to_sockaddr(storage);
    } else {
        failed = ::setsockopt(made.get(), IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one));
        length = SocketAddress{IpAddress::v4(INADDR_LOOPBACK), 0}.to_sockaddr(storage);
    }
    if (failed != 0) {
        return fail_errno(errno, "IP_TRANSPARENT on a pod's listener (CAP_NET_ADMIN missing?)");
    }
    if (::bind(made.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
        return fail_errno(errno,
                          "bind a pod's listener (no ephemeral port left, or lo down in the pod?)");
    }
    if (::listen(made.get(), listen_backlog) != 0) {
        return fail_errno(errno, "listen in a pod's namespace");
    }
    return made;
}

Result<UniqueFd> make_dual_stack_listener() {
    auto dual = make_listener(AF_INET6);
    // No IPv6 in this kernel or switched off in this pod: then no IPv6 connection can arrive.
    return dual ? std::move(dual) : make_listener(AF_INET);
}

void add_once(std::vector<IpAddress>& list, const IpAddress& address) {
    bool useless = address.is_loopback() || address.is_unspecified();
    if (!useless && std::ranges::find(list, address) == list.end()) {
        list.push_back(address);
    }
}

bool is_link_local_v6(const IpAddress& address) {
    return !address.is_v4() && address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
}

}  // namespace

Result<UniqueFd> open_pod_netns(const std::string& path) {
    auto netns = open_netns(path);
    if (!netns) {
        return netns;
    }
    // Process 1 may be unreadable or another container's; the cookie of the first namespace is not.
    auto cookie = netns_cookie_of(netns->get());
    if (same_namespace(netns->get(), "/proc/thread-self/ns/net") ||
        same_namespace(netns->get(), "/proc/1/ns/net") ||
        (cookie && *cookie == first_netns_cookie)) {
        return fail(ErrorKind::denied,
                    path + " is the network namespace of the host or of orlopd itself; pods with "
                           "hostNetwork are never captured");
    }
    return netns;
}

Result<std::uint64_t> netns_cookie_of(int netns_fd) {
    auto visit = NetnsVisit::enter(netns_fd);
    if (!visit) {
        return std::unexpected(visit.error());
    }
    UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    if (!socket.valid() ||
        ::getsockopt(socket.get(), SOL_SOCKET, so_netns_cookie, &cookie, &size) != 0) {
        return fail_errno(errno, "SO_NETNS_COOKIE (kernel 5.14 or newer needed)");
    }
    return cookie;
}

Result<Surroundings> look_around(int netns_fd, const std::vector<IpAddress>& given) {
    auto visit = NetnsVisit::enter(netns_fd);
    if (!visit) {
        return std::unexpected(visit.error());
    }
    Surroundings seen;
    for (const IpAddress& address : given) {
        add_once(seen.addresses, address);
    }
    for (const IpAddress& address : list_interface_addresses(4 * ORLOP_POD_ADDRESSES_MAX)) {
        add_once(seen.addresses, address);
    }
    if (seen.addresses.empty()) {
        return fail(ErrorKind::invalid_input,
                    "the pod has no address yet; try again once its "
                    "network is set up");
    }
    if (seen.addresses.size() > ORLOP_POD_ADDRESSES_MAX) {
        return fail(ErrorKind::limit_exceeded,
                    fmt::format("the pod has {} addresses, ORLOP_POD_ADDRESSES_MAX is {}",
                                seen.addresses.size(),
                                ORLOP_POD_ADDRESSES_MAX));
    }
    if (auto accept = read_mark_sysctls()) {
        seen.mark_sysctls = *accept;
    }
    return seen;
}

Result<void>
add_routing(int netns_fd, const std::vector<IpAddress>& addresses, SourceAddress source) {
    auto visit = NetnsVisit::enter(netns_fd);
    if (!visit) {
        return std::unexpected(visit.error());
    }
    Delivery delivery = source == SourceAddress::caller ? Delivery::transparent : Delivery::plain;
    auto four = std::ranges::find_if(addresses, &IpAddress::is_v4);
    auto six = std::ranges::find_if(addresses, [](const IpAddress& address) {
        return !address.is_v4() && !is_link_local_v6(address);
    });
    for (auto found : {four, six}) {
        if (found == addresses.end()) {
            continue;
        }
        if (auto done = add_loop_routing(*found, delivery); !done) {
            return done;
        }
    }
    return source == SourceAddress::caller ? write_mark_sysctls(all_mark_sysctls) : Result<void>{};
}

Result<void> remove_routing(int netns_fd, std::optional<int> mark_sysctls) {
    auto visit = NetnsVisit::enter(netns_fd);
    if (!visit) {
        return std::unexpected(visit.error());
    }
    auto removed = remove_loop_routing();
    if (mark_sysctls) {
        if (auto restored = write_mark_sysctls(*mark_sysctls); !restored) {
            return restored;
        }
    }
    return removed;
}

Result<Listeners> make_listeners(int netns_fd) {
    auto visit = NetnsVisit::enter(netns_fd);
    if (!visit) {
        return std::unexpected(visit.error());
    }
    Listeners made;
    for (UniqueFd* listener : {&made.outbound, &made.inbound, &made.local}) {
        auto opened = make_dual_stack_listener();
        if (!opened) {
            return std::unexpected(opened.error());
        }
        *listener = std::move(*opened);
    }
    return made;
}

Result<UniqueFd> find_netns(const std::string& path, std::uint64_t cookie) {
    std::vector<std::string> candidates{path};
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/run/netns", ignored)) {
        candidates.push_back(entry.path());
    }
    for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
        std::string name = entry.path().filename();
        if (!name.empty() && name[0] >= '0' && name[0] <= '9') {
            candidates.push_back(entry.path().string() + "/ns/net");
        }
    }
    std::vector<ino_t> seen;
    for (const std::string& candidate : candidates) {
        struct stat info{};
        if (candidate.empty() || ::stat(candidate.c_str(), &info) != 0 ||
            std::ranges::find(seen, info.st_ino) != seen.end()) {
            continue;
        }
        seen.push_back(info.st_ino);
        auto netns = open_pod_netns(candidate);
        auto found = netns ? netns_cookie_of(netns->get()) : Result<std::uint64_t>(0);
        if (netns && found && *found == cookie) {
            return netns;
        }
    }
    return fail(ErrorKind::not_found, "the pod's network namespace is gone");
}

}  // namespace orlop::datapath
