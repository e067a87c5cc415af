#include "daemon/datapath/pod_entry.h"

#include <gtest/gtest.h>

#include <cstring>

namespace orlop::datapath {
namespace {

orlop_address kernel(std::string_view text) {
    return to_kernel(IpAddress::parse(text).value());
}
bool same(const orlop_address& a, const orlop_address& b) {
    return std::memcmp(&a, &b, sizeof(a)) == 0;
}

}  // namespace

TEST(PodEntry, masks_ranges_of_both_families_in_one_form) {
    struct Case {
        const char* range;
        const char* base;
        const char* mask;
    };
    for (const Case& c : {
             Case{"10.0.0.0/8", "10.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ff00:0"},
             Case{"0.0.0.0/0", "0.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff::"},
             Case{"192.168.1.7/32", "192.168.1.7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
             Case{"fd00::/9", "fd00::", "ff80::"},
             Case{"::/0", "::", "::"},
         }) {
        orlop_cidr made = to_kernel(Cidr::parse(c.range).value());
        EXPECT_TRUE(same(made.base, kernel(c.base))) << c.range;
        EXPECT_TRUE(same(made.mask, kernel(c.mask))) << c.range;
    }
}

TEST(PodEntry, joins_the_pods_and_the_meshs_exclusions) {
    PodPolicy policy;
    policy.exclusions.outbound_ports = {{80, 81}};
    policy.exclusions.inbound_ports = {{9, 9}};
    Exclusions mesh{.outbound_ports = {{22, 22}},
                    .outbound_ranges = {Cidr::parse("10.0.0.0/8").value()},
                    .inbound_ports = {}};
    auto entry = make_pod_entry(5, {}, policy, mesh);
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->netns_cookie, 5u);
    EXPECT_EQ(entry->outbound_port_count, 2u);
    EXPECT_EQ(entry->outbound_ports[0].last, 81);
    EXPECT_EQ(entry->outbound_ports[1].first, 22);
    EXPECT_EQ(entry->inbound_port_count, 1u);
    EXPECT_EQ(entry->outbound_cidr_count, 1u);
}

TEST(PodEntry, turns_policy_into_flags) {
    struct Case {
        PodPolicy policy;
        std::uint32_t flags;
    };
    for (const Case& c : {
             Case{{}, ORLOP_POD_OUTBOUND_CLOSED | ORLOP_POD_INBOUND_CLOSED},
             Case{{.outbound_when_gone = WhenGone::open,
                   .inbound_when_gone = WhenGone::open,
                   .inbound = InboundCapture::bypassed,
                   .exclusions = {}},
                  ORLOP_POD_BYPASS_INBOUND},
         }) {
        EXPECT_EQ(make_pod_entry(1, {}, c.policy, {})->flags, c.flags);
    }
}

TEST(PodEntry, names_the_bound_it_hits) {
    PodPolicy policy;
    policy.exclusions.outbound_ports.assign(ORLOP_POD_PORT_RANGES_MAX, {1, 1});
    EXPECT_TRUE(make_pod_entry(1, {}, policy, {}).has_value());
    auto ports = make_pod_entry(
        1, {}, policy, {.outbound_ports = {{2, 2}}, .outbound_ranges = {}, .inbound_ports = {}});
    ASSERT_FALSE(ports.has_value());
    EXPECT_NE(ports.error().context.find("ORLOP_POD_PORT_RANGES_MAX"), std::string::npos);
    policy.exclusions = {};
    policy.exclusions.outbound_ranges.assign(ORLOP_POD_CIDRS_MAX + 1,
                                             Cidr::parse("10.0.0.0/8").value());
    auto ranges = make_pod_entry(1, {}, policy, {});
    ASSERT_FALSE(ranges.has_value());
    EXPECT_EQ(ranges.error().kind, ErrorKind::limit_exceeded);
    policy.exclusions = {.outbound_ports = {}, .outbound_ranges = {}, .inbound_ports = {{9, 8}}};
    EXPECT_EQ(make_pod_entry(1, {}, policy, {}).error().kind, ErrorKind::invalid_input);
}

}  // namespace orlop::datapath
