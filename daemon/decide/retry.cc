#include "daemon/decide/retry.h"

#include "daemon/base/limits.h"
#include "daemon/decide/authorize.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace orlop::decide {

namespace {

using Policy = model::RetryPolicy;

bool is_connect(FailureKind kind) {
    return kind == FailureKind::connect_failure || kind == FailureKind::connect_timeout;
}

bool before_request(FailureKind kind) {
    return is_connect(kind) || kind == FailureKind::reset_before_request;
}

std::string_view condition_of_failure(std::uint32_t on, FailureKind kind) {
    if ((on & Policy::on_connect_failure) != 0 && is_connect(kind)) {
        return "connect-failure";
    }
    if ((on & Policy::on_refused_stream) != 0 && kind == FailureKind::refused_stream) {
        return "refused-stream";
    }
    if ((on & Policy::on_reset_before_request) != 0 && before_request(kind)) {
        return "reset-before-request";
    }
    // What is left asks for any end without a response, the per-try timeout included.
    if ((on & Policy::on_5xx) != 0) {
        return "5xx";
    }
    if ((on & Policy::on_gateway_error) != 0) {
        return "gateway-error";
    }
    return (on & Policy::on_reset) != 0 ? "reset" : "";
}

std::string_view condition_of_grpc(std::uint32_t on, std::optional<std::uint32_t> status) {
    struct Row {
        std::uint32_t status;
        Policy::On on;
        std::string_view word;
    };
    static constexpr std::array<Row, 5> rows = {{
        {1, Policy::on_grpc_cancelled, "cancelled"},
        {4, Policy::on_grpc_deadline_exceeded, "deadline-exceeded"},
        {8, Policy::on_grpc_resource_exhausted, "resource-exhausted"},
        {13, Policy::on_grpc_internal, "internal"},
        {14, Policy::on_grpc_unavailable, "unavailable"},
    }};
    for (const Row& row : rows) {
        if (status && *status == row.status && (on & row.on) != 0) {
            return row.word;
        }
    }
    return "";
}

std::string_view condition_of_response(const Policy& policy, const TryOutcome& outcome) {
    const std::uint32_t on = policy.on;
    const std::uint16_t status = outcome.status;
    if (outcome.rate_limited) {
        return (on & Policy::on_envoy_ratelimited) != 0 ? "envoy-ratelimited" : "";
    }
    if ((on & Policy::on_5xx) != 0 && status >= 500 && status <= 599) {
        return "5xx";
    }
    if ((on & Policy::on_gateway_error) != 0 && status >= 502 && status <= 504) {
        return "gateway-error";
    }
    if ((on & Policy::on_retriable_4xx) != 0 && status == 409) {
        return "retriable-4xx";
    }
    if ((on & Policy::on_retriable_status_codes) != 0 &&
        std::ranges::find(policy.status_codes, status) != policy.status_codes.end()) {
        return "retriable-status-codes";
    }
    if ((on & Policy::on_retriable_headers) != 0 && outcome.retriable_header) {
        return "retriable-headers";
    }
    return condition_of_grpc(on, outcome.grpc_status);
}

// Stops that hold whatever the policy says, in the order they are reported.
GiveUp hard_stop(const Policy& policy, const TryOutcome& outcome, const RetryContext& context) {
    if (context.response == ResponseProgress::started) {
        return GiveUp::response_started;
    }
    if (outcome.failure == FailureKind::route_timeout) {
        return GiveUp::timed_out;
    }
    if (outcome.failure == FailureKind::overflow) {
        return GiveUp::overflow;
    }
    if (outcome.failure == FailureKind::denied) {
        return GiveUp::denied;
    }
    return policy.attempts == 0 ? GiveUp::disabled : GiveUp::none;
}

}  // namespace

std::string_view failure_name(FailureKind kind) {
    switch (kind) {
    case FailureKind::none:
        return "response";
    case FailureKind::connect_failure:
        return "connect failure";
    case FailureKind::connect_timeout:
        return "connect timeout";
    case FailureKind::reset_before_request:
        return "reset before request";
    case FailureKind::reset:
        return "remote reset";
    case FailureKind::terminated:
        return "connection termination";
    case FailureKind::local_reset:
        return "local reset";
    case FailureKind::refused_stream:
        return "refused stream";
    case FailureKind::per_try_timeout:
        return "per-try timeout";
    case FailureKind::route_timeout:
        return "route timeout";
    case FailureKind::overflow:
        return "overflow";
    case FailureKind::protocol_error:
        return "protocol error";
    case FailureKind::denied:
        return "denied by the callee's policy";
    }
    return "";
}

std::string_view give_up_name(GiveUp why) {
    switch (why) {
    case GiveUp::none:
        return "";
    case GiveUp::not_retriable:
        return "not retriable under this policy";
    case GiveUp::disabled:
        return "retries are disabled (attempts: 0)";
    case GiveUp::response_started:
        return "the response had begun";
    case GiveUp::body_abandoned:
        return "the request body outgrew the retry buffer";
    case GiveUp::overflow:
        return "an overflow is never retried";
    case GiveUp::timed_out:
        return "the route's timeout was over";
    case GiveUp::rate_limited:
        return "rate limited by the upstream";
    case GiveUp::exhausted:
        return "all attempts were used";
    case GiveUp::budget:
        return "too many retries in flight";
    case GiveUp::denied:
        return "a denial is never retried";
    }
    return "";
}

std::optional<std::uint32_t> parse_grpc_status(std::string_view value) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (value.empty() || value.size() > 3 || error != std::errc() ||
        end != value.data() + value.size()) {
        return std::nullopt;
    }
    return number;
}

std::string_view retry_condition(const model::RetryPolicy& policy, const TryOutcome& outcome) {
    switch (outcome.failure) {
    case FailureKind::none:
        return condition_of_response(policy, outcome);
    case FailureKind::overflow:
    case FailureKind::route_timeout:
    case FailureKind::denied:
        return "";
    default:
        return condition_of_failure(policy.on, outcome.failure);
    }
}

Duration back_off(Duration base, std::uint32_t retry, std::uint64_t random64) {
    const std::int64_t unit = std::max<std::int64_t>(base.count(), 0);
    constexpr std::int64_t unit_max = std::chrono::nanoseconds(std::chrono::hours(24)).count();
    constexpr std::int64_t cap = 10;
    // 2^4 already exceeds the cap of ten; a larger shift could only overflow.
    const std::uint32_t doublings = std::min<std::uint32_t>(retry > 0 ? retry - 1 : 0, 4);
    const std::int64_t factor = std::min<std::int64_t>(std::int64_t{1} << doublings, cap);
    const std::int64_t ceiling = std::min(unit, unit_max) * factor;
    if (ceiling == 0) {
        return Duration(0);
    }
    return Duration(static_cast<std::int64_t>(random64 % static_cast<std::uint64_t>(ceiling)));
}

std::uint32_t retry_limit(const model::TrafficPolicy* traffic, const BudgetSnapshot& budget) {
    if (traffic != nullptr && traffic->pool.max_retries) {
        return *traffic->pool.max_retries;
    }
    const model::RetryBudget rule =
        traffic == nullptr
            ? model::RetryBudget{limits::retry_budget_percent, limits::retry_budget_min}
            : traffic->retry_budget;
    const double live = static_cast<double>(budget.active) + budget.pending;
    const double share = std::clamp(rule.percent, 0.0, 100.0) / 100.0 * live;
    constexpr double most = 4294967295.0;
    return std::max(rule.min_concurrency, static_cast<std::uint32_t>(std::min(share, most)));
}

RetryDecision decide_retry(const model::RetryPolicy& policy,
                           const TryOutcome& outcome,
                           const RetryContext& context) {
    RetryDecision decision;
    decision.condition = retry_condition(policy, outcome);
    decision.why = hard_stop(policy, outcome, context);
    if (decision.why != GiveUp::none) {
        return decision;
    }
    if (decision.condition.empty()) {
        decision.why = outcome.failure == FailureKind::none && outcome.rate_limited
                           ? GiveUp::rate_limited
                           : GiveUp::not_retriable;
        return decision;
    }
    if (context.body == BodyReplay::abandoned) {
        decision.why = GiveUp::body_abandoned;
        return decision;
    }
    const std::uint32_t retries_done = context.tries > 0 ? context.tries - 1 : 0;
    if (retries_done >= std::min(policy.attempts, limits::retry_attempts_max)) {
        decision.why = GiveUp::exhausted;
        decision.flag = "URX";
        return decision;
    }
    if (context.budget.retries >= retry_limit(context.traffic, context.budget)) {
        decision.why = GiveUp::budget;
        decision.flag = "UO";
        return decision;
    }
    decision.verdict = RetryVerdict::retry;
    decision.back_off = back_off(policy.backoff_base, retries_done + 1, context.random64);
    return decision;
}

#define ORLOP_RESET_BODY "upstream connect error or disconnect/reset before headers. "
#define ORLOP_RETRIED "retried and the latest "
#define ORLOP_RESET_ROW(STATUS, FLAG, DETAIL, REASON)                                              \
    FailureReply {                                                                                 \
        STATUS, FLAG, "upstream_reset_before_response_started{" DETAIL "}",                        \
            retried == Retried::yes ? ORLOP_RESET_BODY ORLOP_RETRIED "reset reason: " REASON       \
                                    : ORLOP_RESET_BODY "reset reason: " REASON,                    \
            false                                                                                  \
    }

FailureReply failure_reply(FailureKind kind, Retried retried) {
    constexpr std::string_view timeout_body = "upstream request timeout";
    switch (kind) {
    case FailureKind::none:
    case FailureKind::connect_failure:
        return ORLOP_RESET_ROW(503, "UF", "remote_connection_failure", "remote connection failure");
    case FailureKind::connect_timeout:
        return ORLOP_RESET_ROW(503, "UF", "connection_timeout", "connection timeout");
    case FailureKind::reset_before_request:
    case FailureKind::terminated:
        return ORLOP_RESET_ROW(503, "UC", "connection_termination", "connection termination");
    case FailureKind::reset:
        return ORLOP_RESET_ROW(503, "UR", "remote_reset", "remote reset");
    case FailureKind::local_reset:
        return ORLOP_RESET_ROW(503, "LR", "local_reset", "local reset");
    case FailureKind::refused_stream:
        return ORLOP_RESET_ROW(
            503, "UR", "remote_refused_stream_reset", "remote refused stream reset");
    case FailureKind::protocol_error:
        return ORLOP_RESET_ROW(502, "UPE", "protocol_error", "protocol error");
    case FailureKind::overflow: {
        FailureReply reply = ORLOP_RESET_ROW(503, "UO", "overflow", "overflow");
        reply.overloaded = true;
        return reply;
    }
    case FailureKind::per_try_timeout:
        return FailureReply{504, "UT", "upstream_per_try_timeout", timeout_body, false};
    case FailureKind::route_timeout:
        return FailureReply{504, "UT", "response_timeout", timeout_body, false};
    case FailureKind::denied:
        return FailureReply{403, "", unknown_denial_details, access_denied_body, false};
    }
    return FailureReply{};
}

#undef ORLOP_RESET_ROW
#undef ORLOP_RETRIED
#undef ORLOP_RESET_BODY

std::optional<Duration> parse_grpc_timeout(std::string_view value) {
    constexpr std::size_t digits_max = 8;
    if (value.size() < 2 || value.size() > digits_max + 1) {
        return std::nullopt;
    }
    const char unit = value.back();
    value.remove_suffix(1);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < 0 ||
        value.front() == '-') {
        return std::nullopt;
    }
    // 99999999 hours exceed 2^63 ns; a timeout beyond a year is as good as none.
    constexpr std::int64_t year_ns = std::chrono::nanoseconds(std::chrono::hours(8760)).count();
    std::int64_t scale = 0;
    switch (unit) {
    case 'H':
        scale = 3'600'000'000'000;
        break;
    case 'M':
        scale = 60'000'000'000;
        break;
    case 'S':
        scale = 1'000'000'000;
        break;
    case 'm':
        scale = 1'000'000;
        break;
    case 'u':
        scale = 1000;
        break;
    case 'n':
        scale = 1;
        break;
    default:
        return std::nullopt;
    }
    return Duration(number > year_ns / scale ? year_ns : number * scale);
}

Timeouts effective_timeouts(const model::HttpRoute& route, std::string_view grpc_timeout) {
    Timeouts out;
    if (route.timeout && route.timeout->count() > 0) {
        out.route = route.timeout;
    }
    // Zero means "none" there as well, so it never shortens the route's own.
    const std::optional<Duration> asked = parse_grpc_timeout(grpc_timeout);
    if (asked && asked->count() > 0) {
        out.route = out.route ? std::min(*out.route, *asked) : *asked;
    }
    const std::optional<Duration>& per_try = route.retries.per_try_timeout;
    if (per_try && per_try->count() > 0 && (!out.route || *per_try < *out.route)) {
        out.per_try = per_try;
    }
    return out;
}

}  // namespace orlop::decide
