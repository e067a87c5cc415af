// Tables name only the fields they are about.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include "daemon/decide/balance.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace orlop::decide {
namespace {

struct Dice {
    std::mt19937_64 engine{42};
    RandomSource source() {
        return {this, [](void* self) { return static_cast<Dice*>(self)->engine(); }};
    }
};

model::Destination destination_of(model::LoadBalancing kind, std::vector<std::uint32_t> weights) {
    model::Destination out;
    out.policy.load_balancing = kind;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const auto host = static_cast<std::uint32_t>(0x0A000001 + i);
        out.endpoints.push_back({.address = {IpAddress::v4(host), 8080}, .weight = weights[i]});
    }
    return out;
}

std::map<std::size_t, int>
picks(const model::Destination& destination, BalanceRequest request, int count) {
    Balancer balancer;
    std::map<std::size_t, int> seen;
    for (int i = 0; i < count; ++i) {
        ++seen[balancer.pick(destination, request).index];
    }
    return seen;
}

using LB = model::LoadBalancing;

TEST(Balance, round_robin_is_exact) {
    Dice dice;
    const auto seen =
        picks(destination_of(LB::round_robin, {1, 1, 1}), {.random = dice.source()}, 300);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(Balance, round_robin_shares_an_ejected_ones_part_evenly) {
    Dice dice;
    const std::array<std::uint64_t, 1> usable = {0b1101};
    const auto seen = picks(destination_of(LB::round_robin, {1, 1, 1, 1}),
                            {.usable = usable, .random = dice.source()},
                            300);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{0, 100}, {2, 100}, {3, 100}}));
}

TEST(Balance, weighted_round_robin_is_exact_and_smooth) {
    Dice dice;
    const model::Destination destination = destination_of(LB::round_robin, {5, 1, 1});
    const auto seen = picks(destination, {.random = dice.source()}, 700);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{0, 500}, {1, 100}, {2, 100}}));
    Balancer balancer;
    std::string order;
    for (int i = 0; i < 7; ++i) {
        order +=
            static_cast<char>('a' + balancer.pick(destination, {.random = dice.source()}).index);
    }
    EXPECT_EQ(order, "aabacaa");
}

TEST(Balance, all_weights_zero_are_equal) {
    Dice dice;
    const auto seen = picks(destination_of(LB::round_robin, {0, 0}), {.random = dice.source()}, 10);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{0, 5}, {1, 5}}));
}

TEST(Balance, random_is_even) {
    Dice dice;
    const auto seen =
        picks(destination_of(LB::random, {1, 1, 1, 1}), {.random = dice.source()}, 40'000);
    for (const auto& [index, count] : seen) {
        EXPECT_NEAR(count, 10'000, 400) << index;
    }
}

TEST(Balance, least_request_prefers_the_idle_of_two_choices) {
    Dice dice;
    const std::array<std::uint32_t, 4> active = {10, 0, 10, 10};
    const auto seen = picks(destination_of(LB::least_request, {1, 1, 1, 1}),
                            {.active = ActiveCounts::from(active), .random = dice.source()},
                            16'000);
    // The idle one wins unless neither choice names it: 1 - (3/4)^2 = 7/16.
    EXPECT_NEAR(seen.at(1), 7000, 300);
    EXPECT_NEAR(seen.at(0), 3000, 300);
}

TEST(Balance, least_request_with_weights_divides_by_the_load) {
    Dice dice;
    const std::array<std::uint32_t, 2> active = {3, 0};  // 8/(3+1) against 1/(0+1)
    const auto seen = picks(destination_of(LB::least_request, {8, 1}),
                            {.active = ActiveCounts::from(active), .random = dice.source()},
                            300);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{0, 200}, {1, 100}}));
}

TEST(Balance, avoids_endpoints_already_tried) {
    Dice dice;
    for (const LB kind : {LB::round_robin, LB::random, LB::least_request}) {
        const model::Destination destination = destination_of(kind, {1, 1, 1});
        TriedEndpoints tried;
        tried.add(destination.endpoints[0].address);
        tried.add(destination.endpoints[2].address);
        Balancer balancer;
        int hits = 0;
        for (int i = 0; i < 1000; ++i) {
            const Pick pick =
                balancer.pick(destination, {.tried = &tried, .random = dice.source()});
            EXPECT_LE(pick.re_picks, 5u);
            hits += pick.index == 1 ? 1 : 0;
        }
        // Six picks all wrong: (2/3)^6 = 8.8 %; round robin always gets there.
        EXPECT_GE(hits, kind == LB::round_robin ? 1000 : 870);
    }
}

TEST(Balance, a_single_endpoint_is_tried_again) {
    Dice dice;
    const model::Destination destination = destination_of(LB::least_request, {1});
    TriedEndpoints tried;
    tried.add(destination.endpoints[0].address);
    Balancer balancer;
    EXPECT_EQ(balancer.pick(destination, {.tried = &tried, .random = dice.source()}).index, 0u);
}

TEST(Balance, nothing_usable_is_no_endpoint) {
    Dice dice;
    Balancer balancer;
    const std::array<std::uint64_t, 1> none = {~std::uint64_t{0} << 2};  // beyond the endpoints
    const model::Destination destination = destination_of(LB::round_robin, {1, 1});
    const Pick pick = balancer.pick(destination, {.usable = none, .random = dice.source()});
    EXPECT_EQ(pick.index, no_endpoint);
    EXPECT_EQ(pick.unusable, 2u);
    EXPECT_EQ(balancer.pick(destination_of(LB::random, {}), {.random = dice.source()}).index,
              no_endpoint);
}

TEST(Balance, masks_reach_past_the_first_word) {
    Dice dice;
    const std::vector<std::uint32_t> weights(130, 1);
    const std::array<std::uint64_t, 3> usable = {0, std::uint64_t{1} << 63, 0b10};
    const auto seen = picks(
        destination_of(LB::round_robin, weights), {.usable = usable, .random = dice.source()}, 10);
    EXPECT_EQ(seen, (std::map<std::size_t, int>{{127, 5}, {129, 5}}));
}

TEST(Balance, a_hash_keeps_its_endpoint_when_another_leaves) {
    Dice dice;
    model::Destination destination = destination_of(LB::consistent_hash, {1, 1, 1, 1, 1});
    destination.hash_table = model::HashTable::build(
        {.table = model::ConsistentHash::Table::maglev, .table_size = 65'537},
        destination.endpoints);
    const std::array<std::uint64_t, 1> without_two = {0b11011};
    Balancer balancer;
    std::map<std::size_t, int> seen;
    for (int i = 0; i < 5000; ++i) {
        const std::uint64_t hash = hash_key("user-" + std::to_string(i));
        const Pick all = balancer.pick(destination, {.random = dice.source(), .hash = hash});
        const Pick fewer = balancer.pick(
            destination, {.usable = without_two, .random = dice.source(), .hash = hash});
        if (all.index != 2) {
            EXPECT_EQ(all.index, fewer.index);
        }
        ++seen[all.index];
    }
    for (const auto& [index, count] : seen) {
        EXPECT_NEAR(count, 1000, 150) << index;
    }
}

TEST(Balance, passthrough_takes_the_original_address_only) {
    Dice dice;
    const model::Destination destination = destination_of(LB::passthrough, {1, 1});
    Balancer balancer;
    const SocketAddress there = destination.endpoints[1].address;
    const SocketAddress elsewhere{IpAddress::v4(1), 1};
    EXPECT_EQ(balancer.pick(destination, {.random = dice.source(), .original = &there}).index, 1u);
    EXPECT_EQ(balancer.pick(destination, {.random = dice.source(), .original = &elsewhere}).index,
              no_endpoint);
}

TEST(TriedEndpoints, forgets_the_oldest_when_full) {
    TriedEndpoints tried;
    for (std::uint32_t i = 0; i <= TriedEndpoints::endpoints_max; ++i) {
        tried.add({IpAddress::v4(i + 1), 80});
    }
    EXPECT_FALSE(tried.contains({IpAddress::v4(1), 80}));
    EXPECT_TRUE(tried.contains({IpAddress::v4(2), 80}));
    EXPECT_TRUE(tried.contains({IpAddress::v4(TriedEndpoints::endpoints_max + 1), 80}));
    EXPECT_FALSE(tried.contains({IpAddress::v4(2), 81}));
}

}  // namespace
}  // namespace orlop::decide
