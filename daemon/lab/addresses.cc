#include "daemon/lab/addresses.h"

#include "daemon/base/ip.h"

#include <fmt/core.h>

namespace orlop::lab {

std::string gateway4(int node) {
    return fmt::format("10.244.{}.1", node);
}
std::string gateway6(int node) {
    return fmt::format("fd00:10:244:{}::1", node);
}
std::string pod_range4(int node) {
    return fmt::format("10.244.{}.0/24", node);
}
std::string pod_range6(int node) {
    return fmt::format("fd00:10:244:{}::/64", node);
}
std::string pod_ip4(int node, int number) {
    return fmt::format("10.244.{}.{}", node, number);
}
std::string pod_ip6(int node, int number) {
    return fmt::format("fd00:10:244:{}::{:x}", node, number);
}
std::string wire4(int node) {
    return fmt::format("172.31.0.{}", node);
}
std::string wire6(int node) {
    return fmt::format("fd00:172:31::{}", node);
}
std::string service_ip4(int number) {
    return fmt::format("10.96.{}.{}", number >> 8, number & 0xff);
}
std::string service_ip6(int number) {
    return fmt::format("fd00:10:96::{:x}", number);
}

Result<int> NumberPool::take() {
    const int size = last_ - first_ + 1;
    for (int step = 0; step < size; ++step) {
        const int number = next_;
        next_ = next_ == last_ ? first_ : next_ + 1;
        if (held_.insert(number).second) {
            return number;
        }
    }
    return fail(ErrorKind::limit_exceeded,
                fmt::format("all {} addresses are taken: delete pods or services", size));
}

bool NumberPool::take_exactly(int number) {
    return number >= first_ && number <= last_ && held_.insert(number).second;
}

Result<int> service_number(std::string_view address) {
    const auto ip = IpAddress::parse(address);
    if (!ip) {
        return std::unexpected(ip.error());
    }
    const std::uint32_t base = (10U << 24) | (96U << 16);
    if (!ip->is_v4() || (ip->to_v4() & 0xffff'0000U) != base) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("spec.clusterIP {}: must be in {}", address, service_range4));
    }
    return static_cast<int>(ip->to_v4() & 0xffffU);
}

}  // namespace orlop::lab
