#include "daemon/datapath/routing.h"

#include "bpf/abi.h"
#include "daemon/base/unique_fd.h"

#include <fmt/core.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <ifaddrs.h>
#include <span>
#include <unistd.h>

namespace orlop::datapath {
namespace {

constexpr int lo_index = 1;
// The app's accepted socket answers with the mark of the delivery, and so does the kernel itself
// when nobody listens: without the reflection its RST would leave by eth0 and the delivery hang.
constexpr std::array<const char*, 3> mark_sysctl_paths = {
    "/proc/sys/net/ipv4/tcp_fwmark_accept",
    "/proc/sys/net/ipv4/fwmark_reflect",
    "/proc/sys/net/ipv6/fwmark_reflect",
};
constexpr std::array<std::uint32_t, 2> marks{ORLOP_MARK_OUT, ORLOP_MARK_IN};

// One request: header, fixed part, attributes. Ours are far below the size.
class Message {
public:
    Message(std::uint16_t type, std::uint16_t flags) {
        header()->nlmsg_type = type;
        header()->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
        header()->nlmsg_seq = 1;
        header()->nlmsg_len = NLMSG_HDRLEN;
    }
    template <class Fixed> void fixed(const Fixed& part) { append(&part, sizeof(part)); }
    void attribute(std::uint16_t type, std::span<const std::uint8_t> value) {
        rtattr attr{static_cast<std::uint16_t>(RTA_LENGTH(value.size())), type};
        append(&attr, sizeof(attr));
        append(value.data(), value.size());
    }
    void attribute(std::uint16_t type, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes;
        std::memcpy(bytes.data(), &value, bytes.size());
        attribute(type, bytes);
    }
    nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }

private:
    void append(const void* data, std::size_t size) {
        std::size_t at = NLMSG_ALIGN(header()->nlmsg_len);
        std::memcpy(buffer_.data() + at, data, size);
        header()->nlmsg_len = static_cast<std::uint32_t>(at + size);
    }
    alignas(nlmsghdr) std::array<std::uint8_t, 256> buffer_{};
};

Result<UniqueFd> open_netlink() {
    UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket.valid()) {
        return fail_errno(errno, "open rtnetlink in a pod's namespace");
    }
    timeval patience{.tv_sec = 2, .tv_usec = 0};  // the kernel answers at once; never hang on it
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return socket;
}

// Sends a change and returns the kernel's errno (0 for success).
Result<int> change(int socket, Message& message) {
    message.header()->nlmsg_flags |= NLM_F_ACK;
    if (::send(socket, message.header(), message.header()->nlmsg_len, 0) < 0) {
        return fail_errno(errno, "send to rtnetlink");
    }
    alignas(nlmsghdr) std::array<char, 4096> answer;
    ssize_t size = ::recv(socket, answer.data(), answer.size(), 0);
    if (size < 0) {
        return fail_errno(errno, "receive from rtnetlink");
    }
    auto* header = reinterpret_cast<nlmsghdr*>(answer.data());
    if (!NLMSG_OK(header, static_cast<std::size_t>(size)) || header->nlmsg_type != NLMSG_ERROR) {
        return fail(ErrorKind::internal, "rtnetlink gave an answer that is no acknowledgement");
    }
    return -static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
}

Message rule_message(std::uint16_t type, std::uint16_t flags, int family, std::uint32_t mark) {
    Message message(type, flags);
    fib_rule_hdr rule{};
    rule.family = static_cast<std::uint8_t>(family);
    rule.action = FR_ACT_TO_TBL;
    rule.table = RT_TABLE_UNSPEC;
    message.fixed(rule);
    message.attribute(FRA_PRIORITY, ORLOP_RULE_PREFERENCE);
    message.attribute(FRA_FWMARK, mark);
    message.attribute(FRA_FWMASK, 0xffffffffu);
    message.attribute(FRA_TABLE, ORLOP_ROUTE_TABLE);
    return message;
}

Message route_message(std::uint16_t type, std::uint16_t flags, int family) {
    Message message(type, flags);
    rtmsg route{};
    route.rtm_family = static_cast<std::uint8_t>(family);
    route.rtm_table = RT_TABLE_UNSPEC;
    route.rtm_type = RTN_LOCAL;
    route.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    route.rtm_protocol = RTPROT_STATIC;
    message.fixed(route);
    message.attribute(RTA_TABLE, ORLOP_ROUTE_TABLE);
    message.attribute(RTA_OIF, static_cast<std::uint32_t>(lo_index));
    return message;
}

// Removes until the kernel says there is none left; a family the kernel lacks has none.
Result<void> remove_all(int socket, const std::function<Message()>& make, std::string_view what) {
    constexpr int copies_max = 16;
    for (int i = 0; i < copies_max; ++i) {
        Message message = make();
        auto outcome = change(socket, message);
        if (!outcome) {
            return std::unexpected(outcome.error());
        }
        if (*outcome == ENOENT || *outcome == ESRCH || *outcome == EAFNOSUPPORT ||
            *outcome == EOPNOTSUPP) {
            return {};
        }
        if (*outcome != 0) {
            return fail_errno(*outcome, what);
        }
    }
    return {};
}

std::uint32_t attribute_u32(const rtattr* attr) {
    std::uint32_t value = 0;
    if (RTA_PAYLOAD(attr) >= sizeof(value)) {
        std::memcpy(&value, RTA_DATA(attr), sizeof(value));
    }
    return value;
}

// The attributes we print of one dumped rule or route.
struct Dumped {
    std::uint32_t table = 0;
    std::uint32_t mark = 0;
};

template <class Fixed>
Dumped read_dumped(nlmsghdr* header, std::uint16_t table_attr, std::uint16_t mark_attr) {
    Dumped dumped;
    auto* fixed = static_cast<Fixed*>(NLMSG_DATA(header));
    auto* attr =
        reinterpret_cast<rtattr*>(reinterpret_cast<char*>(fixed) + NLMSG_ALIGN(sizeof(Fixed)));
    int left = static_cast<int>(header->nlmsg_len) - static_cast<int>(NLMSG_LENGTH(sizeof(Fixed)));
    for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
        if (attr->rta_type == table_attr) {
            dumped.table = attribute_u32(attr);
        } else if (attr->rta_type == mark_attr) {
            dumped.mark = attribute_u32(attr);
        }
    }
    return dumped;
}

void dump(int socket, Message& message, const std::function<void(nlmsghdr*)>& visit) {
    if (::send(socket, message.header(), message.header()->nlmsg_len, 0) < 0) {
        return;
    }
    constexpr int datagrams_max = 1024;
    alignas(nlmsghdr) std::array<char, 32768> answer;
    for (int i = 0; i < datagrams_max; ++i) {
        ssize_t received = ::recv(socket, answer.data(), answer.size(), 0);
        if (received <= 0) {
            return;
        }
        auto left = static_cast<unsigned>(received);
        auto* header = reinterpret_cast<nlmsghdr*>(answer.data());
        for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
            if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
                return;
            }
            visit(header);
        }
    }
}

}  // namespace

Result<void> add_loop_routing(const IpAddress& source, Delivery delivery) {
    auto socket = open_netlink();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    int family = source.is_v4() ? AF_INET : AF_INET6;
    Message route = route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, family);
    auto bytes = std::span<const std::uint8_t>(source.bytes());
    route.attribute(RTA_PREFSRC, source.is_v4() ? bytes.last(4) : bytes);
    auto outcome = change(socket->get(), route);
    if (!outcome) {
        return std::unexpected(outcome.error());
    }
    if (*outcome != 0) {
        return fail_errno(*outcome,
                          fmt::format("add local default route, source {} (is the address "
                                      "on an interface of the pod, and lo up?)",
                                      source.to_string()));
    }
    for (std::uint32_t mark : marks) {
        if (mark == ORLOP_MARK_IN && delivery == Delivery::plain) {
            continue;
        }
        Message rule = rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, mark);
        outcome = change(socket->get(), rule);
        if (!outcome) {
            return std::unexpected(outcome.error());
        }
        if (*outcome != 0 && *outcome != EEXIST) {
            return fail_errno(*outcome, "add policy rule (CONFIG_IP_MULTIPLE_TABLES missing?)");
        }
    }
    return {};
}

Result<void> remove_loop_routing() {
    auto socket = open_netlink();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    for (int family : {AF_INET, AF_INET6}) {
        for (std::uint32_t mark : marks) {
            auto make = [=] { return rule_message(RTM_DELRULE, 0, family, mark); };
            if (auto done = remove_all(socket->get(), make, "remove policy rule"); !done) {
                return done;
            }
        }
        auto make = [=] { return route_message(RTM_DELROUTE, 0, family); };
        if (auto done = remove_all(socket->get(), make, "remove local default route"); !done) {
            return done;
        }
    }
    return {};
}

std::vector<std::string> list_loop_routing() {
    std::vector<std::string> lines;
    auto socket = open_netlink();
    if (!socket) {
        return lines;
    }
    for (int family : {AF_INET, AF_INET6}) {
        const char* version = family == AF_INET ? "ipv4" : "ipv6";
        Message rules(RTM_GETRULE, NLM_F_DUMP);
        fib_rule_hdr any_rule{};
        any_rule.family = static_cast<std::uint8_t>(family);
        rules.fixed(any_rule);
        dump(socket->get(), rules, [&](nlmsghdr* header) {
            auto rule = read_dumped<fib_rule_hdr>(header, FRA_TABLE, FRA_FWMARK);
            if (rule.table == ORLOP_ROUTE_TABLE) {
                lines.push_back(
                    fmt::format("rule {} fwmark {:#x} lookup {}", version, rule.mark, rule.table));
            }
        });
        Message routes(RTM_GETROUTE, NLM_F_DUMP);
        rtmsg any_route{};
        any_route.rtm_family = static_cast<std::uint8_t>(family);
        routes.fixed(any_route);
        dump(socket->get(), routes, [&](nlmsghdr* header) {
            auto route = read_dumped<rtmsg>(header, RTA_TABLE, RTA_MARK);
            if (route.table == ORLOP_ROUTE_TABLE) {
                lines.push_back(
                    fmt::format("route {} local default dev lo table {}", version, route.table));
            }
        });
    }
    return lines;
}

std::vector<IpAddress> list_interface_addresses(std::size_t count_max) {
    std::vector<IpAddress> found;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return found;
    }
    for (ifaddrs* entry = list; entry != nullptr && found.size() < count_max;
         entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0 ||
            (entry->ifa_addr->sa_family != AF_INET && entry->ifa_addr->sa_family != AF_INET6)) {
            continue;
        }
        found.push_back(SocketAddress::from_sockaddr(entry->ifa_addr).ip);
    }
    ::freeifaddrs(list);
    return found;
}

Result<int> read_mark_sysctls() {
    int bits = 0;
    for (std::size_t i = 0; i < mark_sysctl_paths.size(); ++i) {
        UniqueFd file(::open(mark_sysctl_paths[i], O_RDONLY | O_CLOEXEC));
        char digit = '0';
        if (!file.valid()) {
            continue;  // IPv6 is absent
        }
        if (::read(file.get(), &digit, 1) != 1) {
            return fail_errno(errno, std::string("read ") + mark_sysctl_paths[i]);
        }
        bits |= digit == '0' ? 0 : 1 << i;
    }
    return bits;
}

Result<void> write_mark_sysctls(int bits) {
    for (std::size_t i = 0; i < mark_sysctl_paths.size(); ++i) {
        UniqueFd file(::open(mark_sysctl_paths[i], O_WRONLY | O_CLOEXEC));
        if (!file.valid() && errno == ENOENT) {
            continue;
        }
        const char* digit = (bits >> i & 1) == 0 ? "0" : "1";
        if (!file.valid() || ::write(file.get(), digit, 1) != 1) {
            return fail_errno(errno,
                              std::string("write ") + mark_sysctl_paths[i] +
                                  " (is /proc/sys read-only? mount it writable for orlopd, or "
                                  "let apps see the pod's address)");
        }
    }
    return {};
}

}  // namespace orlop::datapath
