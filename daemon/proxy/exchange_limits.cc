// Rate limits and quotas, asked before faults and the route's clock (istio-semantics §13). Counters
// are the node's; the values that choose one come from decide/limit_key.
#include "daemon/decide/limit_key.h"
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/labels.h"
#include "daemon/proxy/node_limits.h"

#include <fmt/core.h>

#include <array>

namespace orlop::proxy {
namespace {

// The values of one key, bounded: what is longer shares a counter with its own beginning.
class KeyValues {
public:
    void add(std::string_view value) {
        if (count_ < values_.size()) {
            values_[count_++] = value.substr(0, limits::rate_limit_key_bytes_max);
        }
    }
    std::span<const std::string_view> all() const { return {values_.data(), count_}; }

private:
    std::array<std::string_view, limits::rate_limit_key_parts_max + 1> values_;
    std::size_t count_ = 0;
};

}  // namespace

bool Exchange::limited() const {
    return host_ != nullptr &&
           (!host_->rate_limits.empty() || !pinned_->snapshot->quotas().empty());
}

std::optional<LocalAnswer> Exchange::check_limits(const Conversation& conversation) {
    const decide::RequestView view = request_view(service_port_);
    const std::string address = conversation.peer.ip.to_string();
    const std::string principal = caller_->identity.to_string();
    const decide::LimitSubject subject{
        &view, caller_.get(), service_, destination_, principal, address};
    for (const model::RateLimitPtr& limit : host_->rate_limits) {
        if (!decide::applies(*limit, subject)) {
            continue;
        }
        if (auto refusal = check_rate(*limit, subject)) {
            return refusal;
        }
    }
    for (const model::QuotaPtr& quota : pinned_->snapshot->quotas()) {
        if (!decide::applies(*quota, subject)) {
            continue;
        }
        if (auto refusal = check_quota(*quota, subject)) {
            return refusal;
        }
    }
    return std::nullopt;
}

std::optional<LocalAnswer> Exchange::check_rate(const model::RateLimit& limit,
                                                const decide::LimitSubject& subject) {
    KeyValues values;
    for (const model::LimitAttribute& attribute : limit.key) {
        values.add(decide::value_of(attribute, subject).value_or(""));
    }
    decide::RateLimitTable& table = core_.limits().rates;
    auto decision = table.take(table.key_of(limit.name, values.all()),
                               table.key_of(limit.name, {}),
                               decide::terms_of(limit),
                               core_.loop().now());
    if (limit.tell_headers) {
        std::erase_if(extra_fields_, [](const Field& field) {  // of an earlier limit
            return field.name.starts_with("x-ratelimit-");
        });
        auto seconds = std::chrono::ceil<std::chrono::seconds>(decision.full_after).count();
        add_extra("x-ratelimit-limit", std::to_string(limit.burst));
        add_extra("x-ratelimit-remaining", std::to_string(decision.remaining));
        add_extra("x-ratelimit-reset", std::to_string(seconds));
    }
    if (decision.shared_bucket) {
        core_.metrics().add(telemetry::CoreCounter::rate_limit_buckets_full);
    }
    if (decision.admitted) {
        note_action(fmt::format(
            "rate limit {}: {} of {} left", limit.name, decision.remaining, limit.burst));
        return std::nullopt;
    }
    auto wait = std::chrono::ceil<std::chrono::milliseconds>(decision.retry_after).count();
    note_action(fmt::format("rate limit {}: refused, {} in {} s, next in {} ms",
                            limit.name,
                            limit.requests,
                            std::chrono::duration<double>(limit.interval).count(),
                            wait));
    core_.metrics().add(telemetry::CoreCounter::rate_limited);
    record_.limit_object = object_text(limit.source);
    LocalAnswer answer{limit.status, "local_rate_limited", "RL", "local_rate_limited"};
    if (grpc_) {
        answer.grpc_status = limit.grpc_status;
    }
    return answer;
}

std::optional<LocalAnswer> Exchange::check_quota(const model::Quota& quota,
                                                 const decide::LimitSubject& subject) {
    KeyValues values;
    for (const auto& [name, expression] : quota.dimensions) {
        values.add(decide::value_of(expression, subject));
    }
    auto terms = decide::quota_terms(quota, values.all());
    const auto slots = std::to_string(decide::slots_of(terms.valid_duration));
    values.add(slots);  // windows of another length count apart
    NodeLimits& node = core_.limits();
    bool admitted = node.quotas.take(node.rates.key_of(quota.name, values.all()),
                                     node.rates.key_of(quota.name, {}),
                                     terms,
                                     core_.loop().now());
    if (admitted) {
        return std::nullopt;
    }
    note_action(fmt::format("quota {}: refused, {} in {} s by {}",
                            quota.name,
                            terms.max_amount,
                            std::chrono::duration<double>(terms.valid_duration).count(),
                            terms.override_used != nullptr ? "an override" : "its default"));
    core_.metrics().add(telemetry::CoreCounter::quota_refused);
    record_.limit_object = object_text(quota.source);
    texts_.push_back("RESOURCE_EXHAUSTED:Quota is exhausted for: " + quota.name);
    LocalAnswer answer{429, texts_.back(), "RL", "quota_exhausted"};
    if (grpc_) {
        answer.grpc_status = 8;
    }
    return answer;
}

}  // namespace orlop::proxy
