// The policy rules and the route table of a pod, by rtnetlink, in the caller's current namespace.
//
// Two rules per family send marked packets to table ORLOP_ROUTE_TABLE, whose only route delivers
// everything to lo. Adding what exists and removing what is absent both succeed. Control thread,
// inside a NetnsVisit.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/ip.h"

#include <string>
#include <vector>

namespace orlop::datapath {

enum class Delivery : unsigned char { transparent, plain };  // with or without the rule of MARK_IN

// `source` is an address of the pod: source of connections that did not bind, and the family.
Result<void> add_loop_routing(const IpAddress& source, Delivery delivery);
Result<void> remove_loop_routing();            // both families
std::vector<std::string> list_loop_routing();  // one line per rule and route, for people

// Addresses of every interface but lo, at most `count_max`.
std::vector<IpAddress> list_interface_addresses(std::size_t count_max);

// Bits of the current namespace: 1 net.ipv4.tcp_fwmark_accept (serves IPv6 as well),
// 2 net.ipv4.fwmark_reflect, 4 net.ipv6.fwmark_reflect.
inline constexpr int all_mark_sysctls = 7;
Result<int> read_mark_sysctls();
Result<void> write_mark_sysctls(int value);

}  // namespace orlop::datapath
