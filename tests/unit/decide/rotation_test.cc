#include "daemon/decide/rotation.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace orlop::decide {
namespace {

struct Dice {
    std::mt19937_64 engine{42};
    RandomSource source() {
        return {this, [](void* self) { return static_cast<Dice*>(self)->engine(); }};
    }
};

model::Workload at(const std::string& region, const std::string& zone, const std::string& sub) {
    model::Workload out;
    out.locality = {region, zone, sub};
    return out;
}

// A destination with endpoints at "region/zone/subzone" places.
model::Destination destination_at(const std::vector<std::string>& places) {
    model::Destination out;
    out.policy.outlier.emplace();
    out.verdicts = std::make_shared<model::DestinationHealth>();
    for (std::size_t i = 0; i < places.size(); ++i) {
        auto workload = std::make_shared<model::Workload>();
        std::string rest = places[i];
        for (std::string* part :
             {&workload->locality.region, &workload->locality.zone, &workload->locality.subzone}) {
            const std::size_t slash = rest.find('/');
            *part = rest.substr(0, slash);
            rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
        }
        workload->labels["version"] = i % 2 == 0 ? "v1" : "v2";
        const SocketAddress address{IpAddress::v4(static_cast<std::uint32_t>(0x0A000001 + i)), 80};
        out.endpoints.push_back({address, 1, workload, nullptr});
        out.health.push_back(std::make_shared<model::EndpointHealth>(address, ""));
    }
    return out;
}

void eject(model::Destination& destination, std::size_t index) {
    destination.health[index]->ejected_until = 1'000'000'000;
    destination.verdicts->ejected.fetch_add(1);
    destination.verdicts->epoch.fetch_add(1);
}

std::map<std::size_t, int>
shares(Rotation& rotation, const model::Destination& destination, int count) {
    Dice dice;
    Balancer balancer;
    std::map<std::size_t, int> seen;
    for (int i = 0; i < count; ++i) {
        const auto choice = rotation.choose(destination, dice.source());
        ++seen[balancer.pick(destination, {.usable = choice.usable, .random = dice.source()})
                   .index];
    }
    return seen;
}

TEST(Rotation, an_ejected_endpoint_is_out_until_it_returns) {
    model::Destination destination = destination_at({"", "", ""});
    destination.policy.load_balancing = model::LoadBalancing::round_robin;
    Rotation rotation;
    rotation.follow(destination, {});
    EXPECT_EQ(shares(rotation, destination, 300).size(), 3u);
    eject(destination, 1);
    const auto without = shares(rotation, destination, 300);
    EXPECT_EQ(without, (std::map<std::size_t, int>{{0, 150}, {2, 150}}));
    destination.health[1]->ejected_until = 0;
    destination.verdicts->epoch.fetch_add(1);
    EXPECT_EQ(shares(rotation, destination, 300).size(), 3u);
}

TEST(Rotation, nobody_is_left_unless_it_panics) {
    model::Destination destination = destination_at({"", ""});
    Rotation rotation;
    rotation.follow(destination, {});
    eject(destination, 0);
    eject(destination, 1);
    EXPECT_EQ(shares(rotation, destination, 1).begin()->first, no_endpoint);
    destination.policy.outlier->min_health_percent = 50;
    rotation.follow(destination, {});
    Dice dice;
    EXPECT_TRUE(rotation.choose(destination, dice.source()).panic);
    EXPECT_EQ(shares(rotation, destination, 200).size(), 2u);
}

TEST(Rotation, priorities_are_nearness) {
    const model::LocalityLb by_nearness;
    const model::Workload caller = at("eu", "a", "1");
    struct Row {
        model::Locality place;
        std::uint32_t priority;
    };
    for (const Row& row : {Row{{"eu", "a", "1"}, 0},
                           Row{{"eu", "a", "2"}, 1},
                           Row{{"eu", "b", "1"}, 2},
                           Row{{"us", "a", "1"}, 3}}) {
        model::Endpoint endpoint;
        endpoint.own_locality = std::make_shared<model::Locality>(row.place);
        EXPECT_EQ(locality_priority(by_nearness, caller, endpoint), row.priority)
            << row.place.region << row.place.zone << row.place.subzone;
    }
}

TEST(Rotation, failover_names_the_next_region) {
    model::LocalityLb rules;
    rules.failover = {{"eu", "us"}};
    const model::Workload caller = at("eu", "a", "");
    model::Endpoint endpoint;
    endpoint.own_locality = std::make_shared<model::Locality>(model::Locality{"us", "", ""});
    EXPECT_EQ(locality_priority(rules, caller, endpoint), 3u);
    endpoint.own_locality = std::make_shared<model::Locality>(model::Locality{"ap", "", ""});
    EXPECT_EQ(locality_priority(rules, caller, endpoint), 4u);
}

TEST(Rotation, failover_priority_counts_leading_labels) {
    model::LocalityLb rules;
    rules.failover_priority = {"topology.kubernetes.io/region", "version=v2"};
    const model::Workload caller = at("eu", "a", "");
    const model::Destination destination = destination_at({"eu/a", "eu/b", "us/a", "us/b"});
    const std::vector<std::uint32_t> wanted = {1, 0, 2, 2};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_EQ(locality_priority(rules, caller, destination.endpoints[i]), wanted[i]) << i;
    }
}

TEST(Rotation, the_nearest_serve_until_they_fail) {
    model::Destination destination = destination_at({"eu/a", "eu/a", "us/a", "us/a"});
    Rotation rotation;
    rotation.follow(destination, at("eu", "a", ""));
    EXPECT_EQ(rotation.groups(), 2u);
    const auto near = shares(rotation, destination, 400);
    EXPECT_EQ(near.count(2) + near.count(3), 0u);
    eject(destination, 0);
    // Half of the near ones at 140 % carry 70 %: of 10,000 draws 3000 +- 4.5 sigma (46) leave.
    const auto half = shares(rotation, destination, 10'000);
    EXPECT_NEAR(half.at(1), 7000, 207);
    EXPECT_EQ(half.count(0), 0u);
    eject(destination, 1);
    const auto far = shares(rotation, destination, 400);
    EXPECT_EQ(far.count(0) + far.count(1), 0u);
    EXPECT_EQ(far.size(), 2u);
}

TEST(Rotation, without_outlier_detection_nearness_says_nothing) {
    model::Destination destination = destination_at({"eu/a", "us/a"});
    destination.policy.outlier.reset();
    Rotation rotation;
    rotation.follow(destination, at("eu", "a", ""));
    EXPECT_EQ(rotation.groups(), 1u);
}

TEST(Rotation, locality_balancing_can_be_switched_off) {
    model::Destination destination = destination_at({"eu/a", "us/a"});
    destination.policy.locality_lb.emplace().enabled = false;
    Rotation rotation;
    rotation.follow(destination, at("eu", "a", ""));
    EXPECT_EQ(rotation.groups(), 1u);
}

TEST(Rotation, distribute_splits_by_weight) {
    model::Destination destination = destination_at({"eu/a", "eu/b", "eu/b", "us/a"});
    destination.policy.outlier.reset();
    auto& rules = destination.policy.locality_lb.emplace();
    rules.distribute = {{"eu/a/*", {{"eu/a/*", 80}, {"eu/b/*", 20}}}};
    Rotation rotation;
    rotation.follow(destination, at("eu", "a", ""));
    // 20,000 draws at 0.8: sigma 57, bound 4.5 sigma.
    const auto seen = shares(rotation, destination, 20'000);
    EXPECT_NEAR(seen.at(0), 16'000, 255);
    EXPECT_EQ(seen.count(3), 0u) << "a place that no target names gets nothing";
}

TEST(Rotation, a_retry_may_leave_the_locality_of_earlier_tries) {
    model::Destination destination = destination_at({"eu/a", "us/a"});
    Rotation rotation;
    rotation.follow(destination, at("eu", "a", ""));
    Dice dice;
    TriedEndpoints tried;
    tried.add(destination.endpoints[0].address);
    const auto choice = rotation.choose(destination, dice.source(), &tried);
    ASSERT_EQ(choice.usable.size(), 1u);
    EXPECT_EQ(choice.usable[0], 0b10u);
}

TEST(Rotation, patterns_match_from_the_left) {
    const model::Locality place{"eu", "a", "1"};
    for (const char* pattern : {"eu", "eu/*", "eu/a", "eu/a/*", "eu/a/1", "*"}) {
        EXPECT_TRUE(locality_matches(pattern, place)) << pattern;
    }
    for (const char* pattern : {"us", "eu/b", "eu/a/2", "e"}) {
        EXPECT_FALSE(locality_matches(pattern, place)) << pattern;
    }
}

}  // namespace
}  // namespace orlop::decide
