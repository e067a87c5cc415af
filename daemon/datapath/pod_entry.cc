#include "daemon/datapath/pod_entry.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace orlop::datapath {
namespace {

Result<std::uint32_t> join_ports(std::span<const PortRange> pod,
                                 std::span<const PortRange> mesh,
                                 orlop_port_range* out,
                                 std::string_view name) {
    if (pod.size() + mesh.size() > ORLOP_POD_PORT_RANGES_MAX) {
        return fail(
            ErrorKind::limit_exceeded,
            fmt::format("{} has {} entries with the mesh's own, "
                        "ORLOP_POD_PORT_RANGES_MAX is {}; join neighbouring ports to ranges",
                        name,
                        pod.size() + mesh.size(),
                        ORLOP_POD_PORT_RANGES_MAX));
    }
    std::uint32_t count = 0;
    for (auto list : {pod, mesh}) {
        for (const PortRange& range : list) {
            if (range.first > range.last) {
                return fail(
                    ErrorKind::invalid_input,
                    fmt::format("{}: {}-{} is no port range", name, range.first, range.last));
            }
            out[count++] = {.first = range.first, .last = range.last};
        }
    }
    return count;
}

}  // namespace

bool Exclusions::operator==(const Exclusions& other) const {
    auto same = [](const Cidr& a, const Cidr& b) {
        return a.base() == b.base() && a.prefix_length() == b.prefix_length();
    };
    return outbound_ports == other.outbound_ports && inbound_ports == other.inbound_ports &&
           std::ranges::equal(outbound_ranges, other.outbound_ranges, same);
}

orlop_address to_kernel(const IpAddress& address) {
    orlop_address out{};
    std::memcpy(&out, address.bytes().data(), sizeof(out));
    return out;
}

orlop_cidr to_kernel(const Cidr& range) {
    // Within the 16-byte form an IPv4 prefix is 96 bits longer.
    int length = range.prefix_length() + (range.base().is_v4() ? 96 : 0);
    std::array<std::uint8_t, 16> mask{};
    std::array<std::uint8_t, 16> base = range.base().bytes();
    for (int bit = 0; bit < 128; ++bit) {
        if (bit < length) {
            mask[bit / 8] |= static_cast<std::uint8_t>(0x80 >> (bit % 8));
        }
    }
    for (std::size_t i = 0; i < mask.size(); ++i) {
        base[i] &= mask[i];
    }
    orlop_cidr out{};
    std::memcpy(&out.base, base.data(), base.size());
    std::memcpy(&out.mask, mask.data(), mask.size());
    return out;
}

Result<orlop_pod> make_pod_entry(std::uint64_t netns_cookie,
                                 std::span<const IpAddress> addresses,
                                 const PodPolicy& policy,
                                 const Exclusions& mesh) {
    orlop_pod entry{};
    entry.abi = ORLOP_ABI_VERSION;
    entry.netns_cookie = netns_cookie;
    entry.flags |= policy.outbound_when_gone == WhenGone::closed ? ORLOP_POD_OUTBOUND_CLOSED : 0;
    entry.flags |= policy.inbound_when_gone == WhenGone::closed ? ORLOP_POD_INBOUND_CLOSED : 0;
    entry.flags |= policy.inbound == InboundCapture::bypassed ? ORLOP_POD_BYPASS_INBOUND : 0;
    if (addresses.size() > ORLOP_POD_ADDRESSES_MAX) {
        return fail(ErrorKind::limit_exceeded,
                    "a pod has more than ORLOP_POD_ADDRESSES_MAX addresses");
    }
    for (const IpAddress& address : addresses) {
        entry.addresses[entry.address_count++] = to_kernel(address);
    }
    const Exclusions& own = policy.exclusions;
    auto outbound = join_ports(
        own.outbound_ports, mesh.outbound_ports, entry.outbound_ports, "excludeOutboundPorts");
    auto inbound = join_ports(
        own.inbound_ports, mesh.inbound_ports, entry.inbound_ports, "excludeInboundPorts");
    if (!outbound || !inbound) {
        return std::unexpected(!outbound ? outbound.error() : inbound.error());
    }
    entry.outbound_port_count = *outbound;
    entry.inbound_port_count = *inbound;
    if (own.outbound_ranges.size() + mesh.outbound_ranges.size() > ORLOP_POD_CIDRS_MAX) {
        return fail(ErrorKind::limit_exceeded,
                    fmt::format("excludeOutboundIPRanges has {} entries with the mesh's own, "
                                "ORLOP_POD_CIDRS_MAX is {}",
                                own.outbound_ranges.size() + mesh.outbound_ranges.size(),
                                ORLOP_POD_CIDRS_MAX));
    }
    for (const auto* list : {&own.outbound_ranges, &mesh.outbound_ranges}) {
        for (const Cidr& range : *list) {
            entry.outbound_cidrs[entry.outbound_cidr_count++] = to_kernel(range);
        }
    }
    return entry;
}

}  // namespace orlop::datapath
