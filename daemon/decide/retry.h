// Retry: whether a failed try is repeated, and after how long (istio-semantics §4).
//
// Pure: the caller counts, keeps time and sleeps. Rules that stop every retry come first: the
// response has begun, the body cannot be sent again, an overflow, the route's own timeout.
//
//     TryOutcome outcome{.failure = FailureKind::connect_failure};
//     RetryDecision next = decide_retry(route.retries, outcome, context);
//     if (next.verdict == RetryVerdict::retry) { wait next.back_off; try again }
//     else { flag next.flag; answer failure_reply(outcome.failure, ...) or pass the response on }
#pragma once

#include "daemon/base/clock.h"
#include "daemon/decide/match_route.h"
#include "daemon/model/route.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::decide {

enum class FailureKind : unsigned char {
    none,             // a response head arrived; see `status`
    connect_failure,  // refused, unreachable, or TLS/HBONE could not be set up
    connect_timeout,
    reset_before_request,  // the connection ended before a byte of the request was written
    reset,                 // the upstream reset the stream without a response
    terminated,            // the upstream closed the connection without a response
    local_reset,           // we gave the stream up
    refused_stream,        // HTTP/2 REFUSED_STREAM: not processed by the upstream
    per_try_timeout,
    route_timeout,   // the route's whole time is over
    overflow,        // a pool limit
    protocol_error,  // the upstream's bytes are not HTTP
    denied,          // AuthorizationPolicy at the callee: never repeated
};
std::string_view failure_name(FailureKind kind);

enum class ResponseProgress : unsigned char { not_started, started };  // sent to the caller
enum class BodyReplay : unsigned char { possible, abandoned };         // over the buffer limit

struct TryOutcome {
    FailureKind failure = FailureKind::none;
    std::uint16_t status = 0;                    // with FailureKind::none
    std::optional<std::uint32_t> grpc_status{};  // from the response *headers*
    bool rate_limited = false;                   // response carries x-envoy-ratelimited
    bool retriable_header = false;  // response carries a header named by the trusted caller
};

// grpc-status as sent; nullopt when it is not a number of at most 3 digits.
std::optional<std::uint32_t> parse_grpc_status(std::string_view value);

// Live counts of the destination on the side that enforces the limit.
struct BudgetSnapshot {
    std::uint32_t active = 0;   // requests at an endpoint
    std::uint32_t pending = 0;  // requests waiting for a connection
    std::uint32_t retries = 0;  // retries in flight (waiting or at an endpoint)
};

struct RetryContext {
    std::uint32_t tries = 1;  // tries made, the failed one included; at least 1
    ResponseProgress response = ResponseProgress::not_started;
    BodyReplay body = BodyReplay::possible;
    BudgetSnapshot budget{};
    const model::TrafficPolicy* traffic = nullptr;  // null: default budget, no maxRetries
    std::uint64_t random64 = 0;                     // for the jitter
};

enum class RetryVerdict : unsigned char { retry, give_up };
enum class GiveUp : unsigned char {
    none,
    not_retriable,  // the policy does not ask for it (includes success)
    disabled,       // attempts: 0
    response_started,
    body_abandoned,  // the body outgrew limits::retry_body_bytes_max
    overflow,        // never repeated
    timed_out,       // route timeout
    rate_limited,    // x-envoy-ratelimited without that condition
    exhausted,       // flag URX
    budget,          // flag UO: too many retries in flight
    denied,          // policy would say the same again
};
std::string_view give_up_name(GiveUp why);

struct RetryDecision {
    RetryVerdict verdict = RetryVerdict::give_up;
    GiveUp why = GiveUp::none;
    std::string_view flag{};       // "URX", "UO" or ""
    std::string_view condition{};  // the retryOn word that fired, "" when none
    Duration back_off{};
};
RetryDecision decide_retry(const model::RetryPolicy& policy,
                           const TryOutcome& outcome,
                           const RetryContext& context);

// The retryOn word that `outcome` satisfies ("5xx", "connect-failure", ...), or "".
std::string_view retry_condition(const model::RetryPolicy& policy, const TryOutcome& outcome);

// Wait before retry `retry` (1-based): uniform in [0, min(base * 2^(retry-1), 10 * base)).
Duration back_off(Duration base, std::uint32_t retry, std::uint64_t random64);

// Concurrent retries allowed: maxRetries when set, else max(percent of live requests, minimum).
std::uint32_t retry_limit(const model::TrafficPolicy* traffic, const BudgetSnapshot& budget);

// What the caller of the mesh reads when the last try ended without a response.
struct FailureReply {
    std::uint16_t status = 503;
    std::string_view flag{};     // "UF", "UT", ...
    std::string_view details{};  // %RESPONSE_CODE_DETAILS%
    std::string_view body{};
    bool overloaded = false;  // add x-envoy-overloaded: true
};
enum class Retried : unsigned char { no, yes };
FailureReply failure_reply(FailureKind kind, Retried retried);

// Timers of one exchange (istio-semantics §3).
struct Timeouts {
    std::optional<Duration> route;    // whole exchange; nullopt: none
    std::optional<Duration> per_try;  // nullopt: none, also when it is not below `route`
};
// `grpc_timeout`: value of the request's grpc-timeout header, "" when absent.
Timeouts effective_timeouts(const model::HttpRoute& route, std::string_view grpc_timeout);
// gRPC over HTTP/2, "Timeout": 1 to 8 digits and one of H M S m u n. nullopt when malformed.
std::optional<Duration> parse_grpc_timeout(std::string_view value);

}  // namespace orlop::decide
