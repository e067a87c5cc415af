// Tables name only the fields they are about.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include "daemon/decide/retry.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace orlop::decide {
namespace {

using std::chrono::milliseconds;
using Policy = model::RetryPolicy;
using Failure = FailureKind;

const std::vector<Failure> all_failures = {Failure::connect_failure,
                                           Failure::connect_timeout,
                                           Failure::reset_before_request,
                                           Failure::reset,
                                           Failure::terminated,
                                           Failure::local_reset,
                                           Failure::refused_stream,
                                           Failure::per_try_timeout,
                                           Failure::route_timeout,
                                           Failure::overflow,
                                           Failure::protocol_error};

struct Row {
    Policy::On on;
    std::set<Failure> failures;
    std::set<int> statuses;  // of those below
    std::set<int> grpc;
};

const std::vector<int> all_statuses = {
    200, 404, 408, 409, 429, 499, 500, 501, 502, 503, 504, 505, 599, 600};

std::set<Failure> any_reset() {
    std::set<Failure> out(all_failures.begin(), all_failures.end());
    out.erase(Failure::route_timeout);
    out.erase(Failure::overflow);
    return out;
}

// istio-semantics §4, "fires on".
std::vector<Row> rows() {
    return {
        {Policy::on_5xx, any_reset(), {500, 501, 502, 503, 504, 505, 599}, {}},
        {Policy::on_gateway_error, any_reset(), {502, 503, 504}, {}},
        {Policy::on_reset, any_reset(), {}, {}},
        {Policy::on_reset_before_request,
         {Failure::connect_failure, Failure::connect_timeout, Failure::reset_before_request},
         {},
         {}},
        {Policy::on_connect_failure, {Failure::connect_failure, Failure::connect_timeout}, {}, {}},
        {Policy::on_refused_stream, {Failure::refused_stream}, {}, {}},
        {Policy::on_retriable_4xx, {}, {409}, {}},
        {Policy::on_retriable_status_codes, {}, {408, 505}, {}},  // those listed
        {Policy::on_grpc_cancelled, {}, {}, {1}},
        {Policy::on_grpc_deadline_exceeded, {}, {}, {4}},
        {Policy::on_grpc_resource_exhausted, {}, {}, {8}},
        {Policy::on_grpc_internal, {}, {}, {13}},
        {Policy::on_grpc_unavailable, {}, {}, {14}},
    };
}

TEST(Retry, every_condition_against_every_outcome) {
    for (const Row& row : rows()) {
        const Policy policy{.attempts = 3, .on = row.on, .status_codes = {408, 505}};
        const auto retried = [&](const TryOutcome& outcome) {
            return decide_retry(policy, outcome, {}).verdict == RetryVerdict::retry;
        };
        for (const Failure failure : all_failures) {
            EXPECT_EQ(retried({.failure = failure}), row.failures.contains(failure))
                << row.on << " " << failure_name(failure);
        }
        for (const int status : all_statuses) {
            EXPECT_EQ(retried({.status = static_cast<std::uint16_t>(status)}),
                      row.statuses.contains(status))
                << row.on << " status " << status;
        }
        for (int grpc = 0; grpc <= 16; ++grpc) {
            EXPECT_EQ(retried({.status = 200, .grpc_status = grpc}), row.grpc.contains(grpc))
                << row.on << " grpc-status " << grpc;
        }
    }
}

TEST(Retry, the_default_policy_leaves_application_errors_alone) {
    const Policy policy;
    for (const std::uint16_t status : {500, 503, 504}) {
        EXPECT_EQ(decide_retry(policy, {.status = status}, {}).why, GiveUp::not_retriable);
    }
    const RetryDecision refused = decide_retry(policy, {.failure = Failure::connect_failure}, {});
    EXPECT_EQ(refused.verdict, RetryVerdict::retry);
    EXPECT_EQ(refused.condition, "connect-failure");
    EXPECT_EQ(decide_retry(policy, {.failure = Failure::per_try_timeout}, {}).verdict,
              RetryVerdict::give_up);
    EXPECT_EQ(decide_retry(policy, {.failure = Failure::reset}, {}).verdict, RetryVerdict::give_up);
}

struct Stop {
    const char* name;
    Policy policy;
    TryOutcome outcome;
    RetryContext context;
    GiveUp why;
    std::string_view flag;
};

TEST(Retry, hard_stops) {
    const std::uint32_t all = ~0u;
    const Policy policy{.attempts = 3, .on = all};
    const TryOutcome failed{.status = 503};
    const std::vector<Stop> stops = {
        {"success", policy, {.status = 200}, {}, GiveUp::not_retriable, ""},
        {"attempts 0", {.attempts = 0, .on = all}, failed, {}, GiveUp::disabled, ""},
        {"response started",
         policy,
         failed,
         {.response = ResponseProgress::started},
         GiveUp::response_started,
         ""},
        {"body abandoned",
         policy,
         failed,
         {.body = BodyReplay::abandoned},
         GiveUp::body_abandoned,
         ""},
        {"overflow", policy, {.failure = Failure::overflow}, {}, GiveUp::overflow, ""},
        {"route timeout", policy, {.failure = Failure::route_timeout}, {}, GiveUp::timed_out, ""},
        {"fourth try failed", policy, failed, {.tries = 4}, GiveUp::exhausted, "URX"},
        {"success on the last try",
         policy,
         {.status = 200},
         {.tries = 4},
         GiveUp::not_retriable,
         ""},
        {"rate limited",
         {.attempts = 3, .on = Policy::on_5xx},
         {.status = 503, .rate_limited = true},
         {},
         GiveUp::rate_limited,
         ""},
        {"budget of three",
         policy,
         failed,
         {.budget = {.active = 5, .retries = 3}},
         GiveUp::budget,
         "UO"},
    };
    for (const Stop& stop : stops) {
        const RetryDecision decision = decide_retry(stop.policy, stop.outcome, stop.context);
        EXPECT_EQ(decision.verdict, RetryVerdict::give_up) << stop.name;
        EXPECT_EQ(decision.why, stop.why) << stop.name << ": " << give_up_name(decision.why);
        EXPECT_EQ(decision.flag, stop.flag) << stop.name;
    }
    EXPECT_EQ(decide_retry(policy, failed, {.tries = 3}).verdict, RetryVerdict::retry);
    EXPECT_EQ(decide_retry(policy, {.status = 429, .rate_limited = true}, {}).condition,
              "envoy-ratelimited");
    EXPECT_EQ(decide_retry(policy, {.status = 200, .retriable_header = true}, {}).condition,
              "retriable-headers");
}

TEST(Retry, attempts_are_bounded_whatever_the_object_says) {
    const Policy policy{.attempts = 4'000'000'000u, .on = Policy::on_5xx};
    EXPECT_EQ(decide_retry(policy, {.status = 500}, {.tries = 101}).why, GiveUp::exhausted);
}

TEST(Retry, budget_is_a_share_of_live_requests) {
    EXPECT_EQ(retry_limit(nullptr, {.active = 0}), 3u);
    EXPECT_EQ(retry_limit(nullptr, {.active = 80, .pending = 20}), 20u);
    model::TrafficPolicy traffic;
    traffic.retry_budget = {.percent = 50, .min_concurrency = 0};
    EXPECT_EQ(retry_limit(&traffic, {.active = 1}), 0u);
    EXPECT_EQ(retry_limit(&traffic, {.active = 10}), 5u);
    traffic.pool.max_retries = 1;
    EXPECT_EQ(retry_limit(&traffic, {.active = 1000}), 1u);
    traffic.pool.max_retries.reset();
    traffic.retry_budget.percent = 1e300;
    EXPECT_EQ(retry_limit(&traffic, {.active = 4'294'967'295u, .pending = 4'294'967'295u}),
              4'294'967'295u);
}

TEST(BackOff, stays_below_its_ceiling_and_uses_the_range) {
    std::mt19937_64 random(1);
    const std::vector<std::pair<std::uint32_t, int>> ceilings = {
        {1, 25}, {2, 50}, {3, 100}, {4, 200}, {5, 250}, {6, 250}, {100, 250}};
    for (const auto& [retry, ceiling] : ceilings) {
        Duration most{};
        Duration sum{};
        for (int i = 0; i < 2000; ++i) {
            const Duration wait = back_off(milliseconds(25), retry, random());
            EXPECT_GE(wait.count(), 0);
            EXPECT_LT(wait, milliseconds(ceiling));
            most = std::max(most, wait);
            sum += wait;
        }
        EXPECT_GT(most, milliseconds(ceiling) * 95 / 100) << retry;
        EXPECT_NEAR(
            static_cast<double>(sum.count()) / 2000, ceiling * 1e6 / 2, ceiling * 1e6 * 0.05);
    }
    EXPECT_EQ(back_off(Duration(0), 1, 5).count(), 0);
    EXPECT_EQ(back_off(Duration(-5), 1, 5).count(), 0);
    EXPECT_GE(back_off(Duration::max(), 50, ~0ull).count(), 0);
}

TEST(Timeouts, per_try_at_or_above_the_routes_is_ignored) {
    struct Case {
        std::optional<Duration> route;
        std::optional<Duration> per_try;
        const char* grpc;
        std::optional<Duration> expect_route;
        std::optional<Duration> expect_per_try;
    };
    const auto ms = [](int n) { return std::optional<Duration>(milliseconds(n)); };
    const std::vector<Case> cases = {
        {{}, {}, "", {}, {}},
        {ms(2500), ms(500), "", ms(2500), ms(500)},
        {ms(500), ms(500), "", ms(500), {}},
        {ms(400), ms(500), "", ms(400), {}},
        {{}, ms(5), "", {}, ms(5)},
        {ms(0), ms(5), "", {}, ms(5)},
        {ms(1000), {}, "200m", ms(200), {}},
        {ms(1000), {}, "5S", ms(1000), {}},
        {{}, ms(300), "200m", ms(200), {}},
        {ms(1000), {}, "0S", ms(1000), {}},
        {ms(1000), {}, "junk", ms(1000), {}},
    };
    for (const Case& one : cases) {
        model::HttpRoute route;
        route.timeout = one.route;
        route.retries.per_try_timeout = one.per_try;
        const Timeouts got = effective_timeouts(route, one.grpc);
        EXPECT_EQ(got.route, one.expect_route);
        EXPECT_EQ(got.per_try, one.expect_per_try);
    }
}

TEST(GrpcTimeout, grammar) {
    EXPECT_EQ(parse_grpc_timeout("1H"), Duration(std::chrono::hours(1)));
    EXPECT_EQ(parse_grpc_timeout("2M"), Duration(std::chrono::minutes(2)));
    EXPECT_EQ(parse_grpc_timeout("7u"), Duration(7000));
    EXPECT_EQ(parse_grpc_timeout("7n"), Duration(7));
    EXPECT_EQ(parse_grpc_timeout("99999999H"), Duration(std::chrono::hours(8760)));
    for (const char* bad : {"", "1", "m", "-1S", "+1S", "1 S", "123456789S", "1s", "1.5S", "1Sx"}) {
        EXPECT_EQ(parse_grpc_timeout(bad), std::nullopt) << bad;
    }
}

TEST(GrpcStatus, grammar) {
    EXPECT_EQ(parse_grpc_status("14"), 14u);
    for (const char* bad : {"", "-1", "1a", " 1", "9999", "4294967296"}) {
        EXPECT_EQ(parse_grpc_status(bad), std::nullopt) << bad;
    }
}

TEST(FailureReply, says_what_envoy_says) {
    const FailureReply overflow = failure_reply(Failure::overflow, Retried::no);
    EXPECT_EQ(overflow.status, 503);
    EXPECT_EQ(overflow.flag, "UO");
    EXPECT_EQ(overflow.details, "upstream_reset_before_response_started{overflow}");
    EXPECT_EQ(overflow.body,
              "upstream connect error or disconnect/reset before headers. reset reason: overflow");
    EXPECT_TRUE(overflow.overloaded);
    const FailureReply reset = failure_reply(Failure::terminated, Retried::yes);
    EXPECT_EQ(reset.flag, "UC");
    EXPECT_EQ(reset.body,
              "upstream connect error or disconnect/reset before headers. retried and "
              "the latest reset reason: connection termination");
    const FailureReply late = failure_reply(Failure::route_timeout, Retried::no);
    EXPECT_EQ(late.status, 504);
    EXPECT_EQ(late.details, "response_timeout");
    EXPECT_EQ(late.body, "upstream request timeout");
    EXPECT_EQ(failure_reply(Failure::per_try_timeout, Retried::no).details,
              "upstream_per_try_timeout");
    EXPECT_EQ(failure_reply(Failure::protocol_error, Retried::no).status, 502);
    for (const Failure failure : all_failures) {
        EXPECT_FALSE(failure_reply(failure, Retried::no).flag.empty());
    }
}

}  // namespace
}  // namespace orlop::decide
