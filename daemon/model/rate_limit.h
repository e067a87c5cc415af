// Limits on the rate of requests (istio-semantics §13): orlop's RateLimit objects and the quotas of
// Mixer's memquota, compiled.
//
// Both choose a counter by attributes of the request: a RateLimit has a token bucket for every
// combination of its key's values, a Quota has a rolling window for every combination of its
// dimensions. Values are immutable and belong to one Snapshot; the counters live in
// decide/rate_limit and decide/quota, found again by the names here.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/model/object_ref.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace orlop::model {

// One property of a request, as text. What a request does not have counts as absent.
struct LimitAttribute {
    enum class Kind : unsigned char {
        literal,  // `name` itself
        source_workload,
        source_namespace,
        source_label,  // `name`: the label
        source_principal,
        source_address,
        destination_service,    // the service's full host
        destination_name,       // its short name
        destination_namespace,  // of the service
        destination_label,      // `name`: a label that all endpoints of the destination share
        host,                   // Host or :authority as sent
        path,                   // normalised, without query
        method,
        header,  // `name`: lower case
    };
    Kind kind = Kind::literal;
    std::string name;
    bool operator==(const LimitAttribute&) const = default;
};

// `a | b | "unknown"`: the first that is present; "" when none is.
using LimitExpression = std::vector<LimitAttribute>;

// Part of a rule's match: all must hold.
struct LimitCondition {
    LimitExpression left;
    bool negated = false;  // != instead of ==
    std::string value;
};

struct HttpMatch;

// orlop.dev/v1 RateLimit, enforced at the caller's node, per node.
struct RateLimit {
    std::string name;      // "namespace/name": finds the buckets again in the next generation
    Labels source_labels;  // callers it is for; empty: all
    std::string source_namespace;                           // empty: any
    std::vector<std::shared_ptr<const HttpMatch>> matches;  // OR; empty: every request
    std::vector<LimitAttribute> key;                        // one bucket for each combination
    std::uint32_t requests = 0;                             // per interval
    Duration interval = std::chrono::seconds(1);
    std::uint32_t burst = 0;  // size of the bucket; it starts full
    std::uint16_t status = 429;
    std::uint32_t grpc_status = 14;  // answered to gRPC callers; 8 when configured
    bool tell_headers = false;       // x-ratelimit-limit, -remaining, -reset
    ObjectRefPtr source;
};
using RateLimitPtr = std::shared_ptr<const RateLimit>;

struct QuotaOverride {
    std::vector<std::pair<std::string, std::string>> dimensions;  // all must equal
    std::uint64_t max_amount = 0;
    Duration valid_duration{};
};

// A memquota handler's quota joined with the instance and the rule that use it: every request
// that meets the conditions takes one from the window of its dimensions.
struct Quota {
    std::string name;  // requestcount.quota.istio-system: said in the refusal, part of the key
    std::vector<LimitCondition> conditions;                           // all; none: every request
    std::vector<std::pair<std::string, LimitExpression>> dimensions;  // in a stable order
    std::uint64_t max_amount = 0;
    Duration valid_duration{};             // rolling window; zero: an allocation that never expires
    std::vector<QuotaOverride> overrides;  // the first that fits wins
    ObjectRefPtr source;
};
using QuotaPtr = std::shared_ptr<const Quota>;

}  // namespace orlop::model
