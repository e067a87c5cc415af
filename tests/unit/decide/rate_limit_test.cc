#include "daemon/decide/quota.h"
#include "daemon/decide/rate_limit.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace orlop::decide {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Instant at(Duration since) {
    return Instant(std::chrono::hours(1) + since);
}

model::RateLimit a_limit(std::uint32_t requests, Duration interval, std::uint32_t burst) {
    model::RateLimit limit;
    limit.name = "default/one";
    limit.requests = requests;
    limit.interval = interval;
    limit.burst = burst;
    return limit;
}

// --- one bucket ---

TEST(RateLimit, starts_full_and_refills_one_by_one) {
    const BucketTerms terms = terms_of(a_limit(2, seconds(1), 3));
    std::int64_t bucket = 0;
    struct Row {
        milliseconds when;
        bool admitted;
        std::uint32_t remaining;
    };
    const Row rows[] = {
        {milliseconds(0), true, 2},
        {milliseconds(0), true, 1},
        {milliseconds(0), true, 0},
        {milliseconds(0), false, 0},
        {milliseconds(499), false, 0},
        {milliseconds(500), true, 0},
        {milliseconds(500), false, 0},
        {milliseconds(1500), true, 1},
        {milliseconds(60'000), true, 2},
    };
    for (const Row& row : rows) {
        RateDecision decision = take_token(bucket, terms, at(row.when));
        EXPECT_EQ(decision.admitted, row.admitted) << row.when.count();
        EXPECT_EQ(decision.remaining, row.remaining) << row.when.count();
    }
}

TEST(RateLimit, says_how_long_to_wait) {
    const BucketTerms terms = terms_of(a_limit(1, seconds(1), 1));
    std::int64_t bucket = 0;
    EXPECT_EQ(take_token(bucket, terms, at(seconds(0))).full_after, seconds(1));
    RateDecision refused = take_token(bucket, terms, at(milliseconds(300)));
    EXPECT_FALSE(refused.admitted);
    EXPECT_EQ(refused.retry_after, milliseconds(700));
}

TEST(RateLimit, survives_a_change_to_stricter_terms) {
    std::int64_t bucket = 0;
    const BucketTerms wide = terms_of(a_limit(1, seconds(10), 100));
    for (int i = 0; i < 100; ++i) {
        take_token(bucket, wide, at(seconds(0)));
    }
    // 1000 s ahead under the old terms: under the new ones just empty.
    const BucketTerms narrow = terms_of(a_limit(1, seconds(1), 2));
    EXPECT_FALSE(take_token(bucket, narrow, at(seconds(0))).admitted);
    RateDecision refused = take_token(bucket, narrow, at(seconds(0)));
    EXPECT_EQ(refused.retry_after, seconds(1));
}

// --- the table ---

TEST(RateLimit, keeps_a_bucket_for_each_combination) {
    RateLimitTable table(7);
    const model::RateLimit limit = a_limit(1, seconds(1), 1);
    const BucketTerms terms = terms_of(limit);
    auto take = [&](std::vector<std::string_view> values) {
        return table.take(
            table.key_of(limit.name, values), table.key_of(limit.name, {}), terms, at(seconds(0)));
    };
    EXPECT_TRUE(take({"a", "bc"}).admitted);
    EXPECT_TRUE(take({"ab", "c"}).admitted);  // not the same text in another cut
    EXPECT_FALSE(take({"a", "bc"}).admitted);
    EXPECT_FALSE(take({"ab", "c"}).admitted);
}

TEST(RateLimit, is_strict_when_there_is_no_room_for_more_combinations) {
    RateLimitTable table(7, 16);
    const model::RateLimit limit = a_limit(1, seconds(100), 1);
    const BucketTerms terms = terms_of(limit);
    std::size_t admitted = 0;
    std::size_t shared = 0;
    for (int i = 0; i < 1000; ++i) {
        std::string value = std::to_string(i);
        std::string_view view = value;
        auto decision = table.take(table.key_of(limit.name, {&view, 1}),
                                   table.key_of(limit.name, {}),
                                   terms,
                                   at(seconds(0)));
        admitted += decision.admitted ? 1 : 0;
        shared += decision.shared_bucket ? 1 : 0;
    }
    EXPECT_LE(admitted, 16u);
    EXPECT_EQ(shared, 1000u - 16u);
    // Buckets that are full again make room.
    std::string_view late = "late";
    EXPECT_FALSE(table
                     .take(table.key_of(limit.name, {&late, 1}),
                           table.key_of(limit.name, {}),
                           terms,
                           at(seconds(1000)))
                     .shared_bucket);
}

TEST(RateLimit, admits_exactly_the_burst_to_many_cores_at_once) {
    RateLimitTable table(7);
    const BucketTerms terms = terms_of(a_limit(1, std::chrono::hours(1), 1000));
    std::atomic<std::uint32_t> admitted{0};
    std::vector<std::thread> cores;
    for (int core = 0; core < 4; ++core) {
        cores.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                auto decision = table.take(5, 6, terms, at(seconds(0)));
                admitted += decision.admitted ? 1 : 0;
            }
        });
    }
    for (std::thread& core : cores) {
        core.join();
    }
    EXPECT_EQ(admitted, 1000u);
}

// --- quotas ---

TEST(Quota, rolls_its_window_in_slots_of_a_tenth_second) {
    QuotaWindow window(slots_of(seconds(1)));
    struct Row {
        milliseconds when;
        bool admitted;
    };
    const Row rows[] = {
        {milliseconds(0), true},
        {milliseconds(450), true},
        {milliseconds(450), false},
        {milliseconds(999), false},
        {milliseconds(1000), true},  // the first has left the window
        {milliseconds(1000), false},
        {milliseconds(1399), false},
        {milliseconds(1400), true},  // its slot has, the 450 ms are in 400 to 499
        {milliseconds(60'000), true},
        {milliseconds(60'000), true},
        {milliseconds(60'000), false},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(window.take(2, at(row.when)), row.admitted) << row.when.count();
    }
    EXPECT_EQ(window.used(at(milliseconds(60'000))), 2u);
    EXPECT_EQ(window.used(at(milliseconds(61'000))), 0u);
}

TEST(Quota, never_gives_back_an_allocation_without_duration) {
    QuotaWindow window(slots_of(Duration::zero()));
    EXPECT_TRUE(window.take(1, at(seconds(0))));
    EXPECT_FALSE(window.take(1, at(std::chrono::hours(100))));
}

TEST(Quota, rounds_its_duration_up_to_seconds) {
    EXPECT_EQ(slots_of(milliseconds(1)), 10u);
    EXPECT_EQ(slots_of(milliseconds(1001)), 20u);
    EXPECT_EQ(slots_of(std::chrono::hours(1000)), limits::quota_slots_max);
}

TEST(Quota, takes_the_first_override_whose_dimensions_all_fit) {
    model::Quota quota;
    quota.dimensions = {{"destination", {}}, {"source", {}}};
    quota.max_amount = 5000;
    quota.valid_duration = seconds(1);
    quota.overrides = {
        {{{"destination", "ratings"}, {"source", "reviews"}}, 1, seconds(1)},
        {{{"destination", "ratings"}}, 100, seconds(2)},
        {{{"nothing", "x"}}, 7, seconds(7)},
    };
    const std::pair<std::vector<std::string_view>, std::uint64_t> rows[] = {
        {{"ratings", "reviews"}, 1},
        {{"ratings", "productpage"}, 100},
        {{"details", "reviews"}, 5000},
    };
    for (const auto& [values, amount] : rows) {
        EXPECT_EQ(quota_terms(quota, values).max_amount, amount) << values[0];
    }
}

TEST(Quota, admits_exactly_the_amount_to_many_cores_at_once) {
    QuotaTable table;
    const QuotaTerms terms{500, seconds(10), nullptr};
    std::atomic<std::uint32_t> admitted{0};
    std::vector<std::thread> cores;
    for (int core = 0; core < 4; ++core) {
        cores.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                admitted += table.take(5, 6, terms, at(seconds(0))) ? 1 : 0;
            }
        });
    }
    for (std::thread& core : cores) {
        core.join();
    }
    // Raising first and giving back may refuse while others are giving back, but never admits
    // more; alone again, the rest is there.
    EXPECT_LE(admitted, 500u);
    while (table.take(5, 6, terms, at(seconds(0)))) {
        ++admitted;
    }
    EXPECT_EQ(admitted, 500u);
}

}  // namespace
}  // namespace orlop::decide
