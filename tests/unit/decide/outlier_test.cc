// Outlier detection by hand-driven time: istio-semantics §6, line by line.
#include "daemon/base/limits.h"
#include "daemon/decide/outlier.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace orlop::decide {
namespace {

using std::chrono::seconds;

constexpr Instant start = Instant(std::chrono::hours(1));

struct Service {
    explicit Service(std::size_t endpoints, model::OutlierDetection rules = {})
        : policy(std::move(rules)) {
        for (std::size_t i = 0; i < endpoints; ++i) {
            const auto host = static_cast<std::uint32_t>(0x0A000001 + i);
            cells.push_back(std::make_unique<model::EndpointHealth>(
                SocketAddress{IpAddress::v4(host), 80}, "uid"));
        }
    }
    OutlierVerdict see(const TryOutcome& outcome, std::size_t index = 0, Instant now = start) {
        return record_try({policy, *cells[index], verdicts, cells.size()}, outcome, now);
    }
    // Answers with `statuses`, by one letter each: 2 = 200, 4 = 404, 5 = 500, g = 503,
    // t = per-try timeout, c = connect failure, r = reset. The number of ejections.
    int play(std::string_view letters) {
        int ejections = 0;
        for (const char letter : letters) {
            TryOutcome outcome;
            outcome.status = letter == '2' ? 200 : letter == '4' ? 404 : letter == '5' ? 500 : 503;
            outcome.failure = letter == 't'   ? FailureKind::per_try_timeout
                              : letter == 'c' ? FailureKind::connect_failure
                              : letter == 'r' ? FailureKind::reset
                                              : FailureKind::none;
            ejections += see(outcome).ejected ? 1 : 0;
        }
        return ejections;
    }
    model::OutlierDetection policy;
    std::vector<std::unique_ptr<model::EndpointHealth>> cells;
    model::DestinationHealth verdicts;
};

struct Row {
    const char* what;
    model::OutlierDetection policy;
    const char* answers;
    int ejections;
};

model::OutlierDetection
rules(std::uint32_t any, std::uint32_t gateway, bool split = false, std::uint32_t local = 5) {
    model::OutlierDetection out;
    out.consecutive_5xx = any;
    out.consecutive_gateway = gateway;
    out.split_local_origin = split;
    out.consecutive_local_origin = local;
    return out;
}

TEST(Outlier, counts_consecutive_errors) {
    model::OutlierDetection codes = rules(2, 0);
    codes.error_codes = {404};
    const std::vector<Row> table = {
        {"five 5xx eject by default", {}, "55555", 1},
        {"four do not", {}, "5555", 0},
        {"a success in between begins anew", {}, "5555255552555", 0},
        {"4xx are successes", {}, "555545555", 0},
        {"0 turns the detector off", rules(0, 0), "5555555555", 0},
        {"timeouts, connect failures and resets count", rules(3, 0), "tcr", 1},
        {"gateway errors by themselves", rules(0, 2), "gg", 1},
        {"another 5xx interrupts gateway errors", rules(0, 2), "g5g5g5", 0},
        {"gateway errors are 5xx as well", rules(3, 0), "g5g", 1},
        {"a connect failure is a gateway error", rules(0, 1), "c", 1},
        {"once out, once counted", rules(1, 0), "5555", 1},
        {"local failures apart do not make 5xx", rules(2, 0, true), "cccc", 0},
        {"local failures apart have their own threshold", rules(9, 0, true, 3), "ccc", 1},
        {"an answer ends a row of local failures", rules(9, 0, true, 3), "cc5cc", 0},
        {"error codes replace the set", codes, "5555", 0},
        {"error codes count", codes, "44", 1},
    };
    for (const Row& row : table) {
        Service service(10, row.policy);
        EXPECT_EQ(service.play(row.answers), row.ejections) << row.what;
        EXPECT_EQ(service.cells[0]->ejected(), row.ejections == 1) << row.what;
    }
}

TEST(Outlier, overflow_and_our_own_resets_say_nothing) {
    Service service(2, rules(1, 1));
    for (const auto kind : {FailureKind::overflow, FailureKind::local_reset}) {
        TryOutcome outcome;
        outcome.failure = kind;
        EXPECT_EQ(service.see(outcome).trigger, OutlierTrigger::none);
    }
    EXPECT_EQ(service.cells[0]->last_errors.load(), 0u);
}

TEST(Outlier, grpc_statuses_are_read_as_http) {
    struct Grpc {
        std::uint32_t status;
        bool fails;
    };
    for (const Grpc& row : {Grpc{0, false},
                            Grpc{5, false},
                            Grpc{16, false},
                            Grpc{13, true},
                            Grpc{14, true},
                            Grpc{4, true},
                            Grpc{2, true}}) {
        Service service(2, rules(1, 0));
        TryOutcome outcome;
        outcome.status = 200;
        outcome.grpc_status = row.status;
        EXPECT_EQ(service.see(outcome).ejected, row.fails) << row.status;
    }
}

TEST(Outlier, at_most_the_percentage_but_one_always) {
    struct Cap {
        std::uint32_t ejected;
        std::size_t endpoints;
        std::uint32_t percent;
        bool may;
    };
    for (const Cap& row : {Cap{0, 1, 10, true},
                           Cap{0, 3, 10, true},
                           Cap{1, 3, 10, false},
                           Cap{1, 4, 50, true},
                           Cap{2, 4, 50, false},
                           Cap{1, 20, 10, true},
                           Cap{2, 20, 10, false},
                           Cap{1, 2, 100, true}}) {
        EXPECT_EQ(may_eject(row.ejected, row.endpoints, row.percent), row.may)
            << row.ejected << " of " << row.endpoints << " at " << row.percent << " %";
    }
}

TEST(Outlier, beyond_the_percentage_an_endpoint_stays) {
    model::OutlierDetection policy = rules(1, 0);
    policy.max_ejection_percent = 50;
    Service service(4, policy);
    TryOutcome bad;
    bad.status = 500;
    EXPECT_TRUE(service.see(bad, 0).ejected);
    EXPECT_TRUE(service.see(bad, 1).ejected);
    const OutlierVerdict third = service.see(bad, 2);
    EXPECT_FALSE(third.ejected);
    EXPECT_TRUE(third.overflow);
    EXPECT_EQ(third.trigger, OutlierTrigger::consecutive_5xx);
    EXPECT_EQ(service.verdicts.ejected.load(), 2u);
}

TEST(Outlier, ejections_grow_and_are_capped) {
    struct Time {
        int base;
        std::uint32_t multiplier;
        int wanted;
    };
    for (const Time& row : {Time{30, 1, 30},
                            Time{30, 2, 60},
                            Time{30, 10, 300},
                            Time{30, 11, 300},
                            Time{900, 1, 900},
                            Time{900, 2, 900},
                            Time{0, 7, 0}}) {
        EXPECT_EQ(ejection_time(seconds(row.base), row.multiplier), seconds(row.wanted));
    }
    EXPECT_EQ(ejection_time(seconds(30), 4'000'000'000u), seconds(300));
}

// Ejection, return at a sweep, a longer one, and calm again.
TEST(Outlier, a_sweep_ends_an_ejection_and_forgets_slowly) {
    Service service(2, rules(1, 0));
    model::EndpointHealth& cell = *service.cells[0];
    const auto bad_at = [&](Instant now) {
        TryOutcome bad;
        bad.status = 500;
        return service.see(bad, 0, now).duration;
    };
    const auto sweep_at = [&](Instant now) { return sweep(cell, service.verdicts, now); };
    EXPECT_EQ(bad_at(start), seconds(30));
    const auto epoch = service.verdicts.epoch.load();
    EXPECT_EQ(sweep_at(start + seconds(10)), Swept::waiting);
    EXPECT_EQ(sweep_at(start + seconds(29)), Swept::waiting);
    EXPECT_TRUE(cell.ejected());
    EXPECT_EQ(sweep_at(start + seconds(30)), Swept::returned);
    EXPECT_FALSE(cell.ejected());
    EXPECT_GT(service.verdicts.epoch.load(), epoch);
    EXPECT_EQ(service.verdicts.ejected.load(), 0u);
    EXPECT_EQ(cell.consecutive_5xx.load(), 0u);
    EXPECT_EQ(bad_at(start + seconds(35)), seconds(60));
    EXPECT_EQ(sweep_at(start + seconds(95)), Swept::returned);
    EXPECT_EQ(sweep_at(start + seconds(105)), Swept::calmer);
    EXPECT_EQ(sweep_at(start + seconds(115)), Swept::done);
    EXPECT_EQ(bad_at(start + seconds(120)), seconds(30));
}

TEST(Outlier, an_endpoint_that_left_is_never_ejected) {
    Service service(2, rules(1, 0));
    service.cells[0]->ejected_until = model::EndpointHealth::gone;
    EXPECT_EQ(service.play("5"), 0);
    EXPECT_EQ(service.verdicts.ejected.load(), 0u);
    EXPECT_EQ(sweep(*service.cells[0], service.verdicts, start), Swept::done);
}

TEST(Outlier, success_without_evidence_writes_nothing) {
    Service service(2);
    service.play("2");
    const auto epoch = service.verdicts.epoch.load();
    service.play("222222");
    EXPECT_EQ(service.verdicts.epoch.load(), epoch);
    EXPECT_EQ(service.cells[0]->last_errors.load(), 0u);
}

TEST(Outlier, tells_the_last_errors_newest_first) {
    Service service(2);
    service.play("52gct");
    EXPECT_EQ(last_errors_text(*service.cells[0]), "per-try timeout, connect failure, 503, 500");
}

TEST(Outlier, panic_is_a_share_of_all_endpoints) {
    EXPECT_FALSE(panics(0, 0, 4));
    EXPECT_TRUE(panics(50, 1, 4));
    EXPECT_FALSE(panics(50, 2, 4));
    EXPECT_FALSE(panics(50, 0, 0));
}

// Cores that see errors of different endpoints at the same moment never take more than the share.
TEST(Outlier, many_cores_never_eject_more_than_allowed) {
    constexpr int rounds = 200;
    for (int round = 0; round < rounds; ++round) {
        model::OutlierDetection policy = rules(1, 0);
        policy.max_ejection_percent = 50;
        Service service(4, policy);
        std::atomic<int> ejected = 0;
        std::vector<std::thread> cores;
        for (std::size_t core = 0; core < 4; ++core) {
            cores.emplace_back([&service, &ejected, core] {
                TryOutcome bad;
                bad.status = 500;
                ejected += service.see(bad, core).ejected ? 1 : 0;
                ejected += service.see(bad, (core + 1) % 4).ejected ? 1 : 0;
            });
        }
        for (std::thread& core : cores) {
            core.join();
        }
        ASSERT_EQ(ejected.load(), 2);
        ASSERT_EQ(service.verdicts.ejected.load(), 2u);
    }
}

}  // namespace
}  // namespace orlop::decide
