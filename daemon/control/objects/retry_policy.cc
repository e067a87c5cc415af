// VirtualService http[].retries and MeshConfig defaultRetry (istio-semantics §4).
#include "daemon/base/limits.h"
#include "daemon/control/objects/decoders.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace orlop::control {
namespace {

using Policy = model::RetryPolicy;

constexpr std::pair<std::string_view, Policy::On> conditions[] = {
    {"5xx", Policy::on_5xx},
    {"gateway-error", Policy::on_gateway_error},
    {"reset", Policy::on_reset},
    {"reset-before-request", Policy::on_reset_before_request},
    {"connect-failure", Policy::on_connect_failure},
    {"refused-stream", Policy::on_refused_stream},
    {"retriable-4xx", Policy::on_retriable_4xx},
    {"retriable-status-codes", Policy::on_retriable_status_codes},
    {"retriable-headers", Policy::on_retriable_headers},
    {"envoy-ratelimited", Policy::on_envoy_ratelimited},
    {"cancelled", Policy::on_grpc_cancelled},
    {"deadline-exceeded", Policy::on_grpc_deadline_exceeded},
    {"resource-exhausted", Policy::on_grpc_resource_exhausted},
    {"internal", Policy::on_grpc_internal},
    {"unavailable", Policy::on_grpc_unavailable},
};

constexpr std::uint16_t known_status_codes[] = {
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301,
    302, 303, 304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409,
    410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428,
    429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511};

std::uint16_t status_code_of(std::string_view item) {
    if (item.size() != 3 ||
        !std::ranges::all_of(item, [](char c) { return c >= '0' && c <= '9'; })) {
        return 0;
    }
    auto code =
        static_cast<std::uint16_t>((item[0] - '0') * 100 + (item[1] - '0') * 10 + (item[2] - '0'));
    return std::ranges::find(known_status_codes, code) == std::end(known_status_codes) ? 0 : code;
}

// Items are not trimmed: "503, reset" names the condition " reset", which nobody knows.
void read_retry_on(FieldReader& retries, const std::string& text, Policy& policy) {
    policy.on = 0;
    std::string_view rest = text;
    while (true) {
        std::size_t comma = rest.find(',');
        std::string_view item = rest.substr(0, comma);
        auto condition =
            std::ranges::find(conditions, item, &std::pair<std::string_view, Policy::On>::first);
        if (condition != std::end(conditions)) {
            policy.on |= condition->second;
        } else if (std::uint16_t code = status_code_of(item)) {
            policy.on |= Policy::on_retriable_status_codes;
            policy.status_codes.push_back(code);
        } else if (item == "http3-post-connect-failure") {
            retries.report().warn("ORL009",
                                  retries.line_of("retryOn"),
                                  retries.path_of("retryOn"),
                                  "http3-post-connect-failure never happens: HTTP/3 is not spoken");
        } else {
            retries.error("retryOn",
                          fmt::format("\"{:.60}\" is not a valid retryOn policy", item),
                          item.find(' ') == std::string_view::npos
                              ? "see the list of conditions in Istio's HTTPRetry"
                              : "write no spaces between the conditions");
        }
        if (comma == std::string_view::npos) {
            return;
        }
        rest.remove_prefix(comma + 1);
    }
}

}  // namespace

std::optional<model::RetryPolicy>
decode_retry_policy(const DecodeContext& context, const Node* node, const std::string& path) {
    FieldReader retries(context.report, node, path);
    if (!retries.present()) {
        return std::nullopt;
    }
    Policy policy;
    policy.source = context.ref_at(retries.line());
    auto attempts = retries.integer("attempts", 0, limits::retry_attempts_max);
    policy.attempts = static_cast<std::uint32_t>(attempts.value_or(0));
    policy.per_try_timeout = retries.duration("perTryTimeout");
    auto retry_on = retries.text("retryOn");
    if (retry_on && !retry_on->empty()) {
        read_retry_on(retries, *retry_on, policy);
    }
    auto remote = retries.boolean("retryRemoteLocalities");
    policy.remote_localities = remote.value_or(false);
    policy.ignore_previous_hosts = retries.boolean("retryIgnorePreviousHosts").value_or(true);
    if (auto backoff = retries.duration("backoff")) {
        policy.backoff_base = *backoff;
    }
    if (policy.attempts == 0 && (policy.per_try_timeout || retry_on || remote)) {
        retries.error_here("http retry policy configured when attempts are set to 0 (disabled)",
                           "write attempts, or remove the other fields");
    }
    return policy;
}

}  // namespace orlop::control
