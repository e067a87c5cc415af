#include "daemon/telemetry/explain.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace orlop::telemetry {
namespace {

using std::chrono::milliseconds;

void fill(RequestRecord& record, const std::string& id) {
    record.reset();
    record.request_id = record.keep(id);
    record.started_wall = WallTime(std::chrono::seconds(1'772'368'496));
    record.duration = milliseconds(612);
    record.method = "GET";
    record.path = record.keep("/price?id=1");
    record.authority = "pricing";
    record.status = 200;
    record.details = "via_upstream";
    record.route_name = "default";
    record.cluster = "outbound|80||pricing.shop.svc.cluster.local";
    record.source_workload = "product";
    record.source_namespace = "shop";
    record.destination_workload = "pricing";
    record.destination_namespace = "shop";
    record.generation = 7;
    record.route_object = {"VirtualService", "shop", "pricing-with-retry", "vs.yaml", 9};
    record.timeout_object = {"VirtualService", "shop", "pricing", "old.yaml", 14};
    record.retry_object = record.route_object;
    record.route_timeout = milliseconds(2500);
    record.per_try_timeout = milliseconds(500);
    record.retries_allowed = 3;
    TryRecord* first = record.open_try();
    first->endpoint = {IpAddress::v4(0x0A000105), 9090};
    first->endpoint_name = "pricing-1";
    first->why = "least_request";
    first->path = PathTaken::hbone;
    first->timer = milliseconds(500);
    first->duration = milliseconds(500);
    first->outcome = "per-try timeout";
    first->retry_reason = "5xx";
    TryRecord* second = record.open_try();
    second->endpoint = {IpAddress::v4(0x0A000106), 9090};
    second->why = "least_request";
    second->path = PathTaken::same_node;
    second->skipped_unusable = 1;
    second->skipped_tried = 2;
    second->timer = milliseconds(500);
    second->duration = milliseconds(100);
    second->back_off = milliseconds(12);
    second->outcome = "200";
}

constexpr std::string_view expected =
    "request    id-1\n"
    "line       GET pricing /price?id=1\n"
    "seen       outbound, 612.000 ms after the start of 2026-03-01T12:34:56.000Z\n"
    "from       shop/product\n"
    "to         shop/pricing\n"
    "generation 7\n"
    "route      default by VirtualService shop/pricing-with-retry (vs.yaml:9)\n"
    "timeout    2500.000 ms by VirtualService shop/pricing (old.yaml:14)\n"
    "retries    up to 3, 500.000 ms per try by VirtualService shop/pricing-with-retry "
    "(vs.yaml:9)\n"
    "cluster    outbound|80||pricing.shop.svc.cluster.local, policy by the mesh default\n"
    "try 1      10.0.1.5:9090 (pricing-1), chosen by least_request, path hbone, timer 500.000 ms: "
    "per-try timeout in 500.000 ms; tried again on 5xx\n"
    "try 2      after a back-off of 12.000 ms: 10.0.1.6:9090, chosen by least_request, 1 out of "
    "rotation, 2 picks avoided as already tried, path same_node, timer 500.000 ms: 200 in "
    "100.000 ms\n"
    "result     200 flags - details via_upstream\n";

TEST(Explain, names_object_line_tries_and_timers) {
    RequestRecord record;
    fill(record, "id-1");
    EXPECT_EQ(explain_text(record), expected);
}

TEST(Explain, the_ring_gives_the_same_text_back) {
    RequestRecord record;
    ExplainRing ring;
    fill(record, "id-1");
    ring.add(record);
    record.reset();
    EXPECT_EQ(ring.find_text("id-1"), std::string(expected));
    EXPECT_EQ(ring.find_text("id-2"), std::nullopt);
}

TEST(Explain, the_newest_of_one_id_wins) {
    RequestRecord record;
    ExplainRing ring;
    fill(record, "same");
    ring.add(record);
    fill(record, "same");
    record.generation = 8;
    ring.add(record);
    EXPECT_NE(ring.find_text("same")->find("generation 8"), std::string::npos);
}

TEST(Explain, connections_without_an_id_are_not_kept) {
    RequestRecord record;
    ExplainRing ring;
    ring.add(record);
    EXPECT_EQ(ring.size(), 0u);
}

TEST(Explain, controls_of_a_request_do_not_reach_the_terminal) {
    RequestRecord record;
    record.path = "/\x1B[2J";
    EXPECT_NE(explain_text(record).find("/\\x1b[2J"), std::string::npos);
}

// Whatever sizes come, the last records are there and whole, and no more than the bounds allow.
TEST(Explain, the_ring_keeps_the_latest_within_its_bounds) {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        std::mt19937_64 random(seed);
        ExplainRing ring({.records_max = 50, .bytes_max = 20'000});
        RequestRecord record;
        for (int i = 0; i < 2000; ++i) {
            fill(record, "id-" + std::to_string(i));
            record.path = record.keep(std::string(random() % 1000, 'a' + i % 26), 1000);
            ring.add(record);
            ASSERT_LE(ring.size(), 50u);
            ASSERT_GE(ring.size(), i < 8 ? static_cast<std::size_t>(i + 1) : 8u) << "seed " << seed;
            for (std::size_t back = 0; back < ring.size(); ++back) {
                const std::string id = "id-" + std::to_string(i - static_cast<int>(back));
                const auto text = ring.find_text(id);
                ASSERT_TRUE(text) << id << " seed " << seed;
                ASSERT_TRUE(text->starts_with("request    " + id + "\n"));
                ASSERT_TRUE(text->ends_with("details via_upstream\n"));
                if (back == 3 && i % 10 != 0) {
                    break;  // the whole ring every tenth time
                }
            }
        }
    }
}

TEST(Explain, a_record_with_every_text_at_its_longest_is_kept) {
    RequestRecord record;
    fill(record, "long");
    const std::string long_name(4000, 'n');
    record.cluster = record.route_name = record.details = long_name;
    record.route_object = {long_name, long_name, long_name, long_name, 1};
    for (int i = 0; i < 20; ++i) {
        TryRecord* one = record.open_try();
        one->outcome = one->why = one->endpoint_name = one->retry_reason = long_name;
    }
    ExplainRing ring;
    ring.add(record);
    ASSERT_TRUE(ring.find_text("long"));
    EXPECT_NE(ring.find_text("long")->find("14 tries not listed"), std::string::npos);
}

TEST(Explain, a_ring_too_small_for_one_record_keeps_none) {
    RequestRecord record;
    fill(record, "id");
    ExplainRing ring({.records_max = 0, .bytes_max = 64});
    ring.add(record);
    EXPECT_EQ(ring.size(), 0u);
}

}  // namespace
}  // namespace orlop::telemetry
