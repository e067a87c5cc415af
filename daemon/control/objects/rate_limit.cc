// orlop.dev/v1 RateLimit: so many requests in so much time, counted at the caller's node
// (istio-semantics §13). daemon/control/README.md shows one.
#include "daemon/base/limits.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

using Kind = model::LimitAttribute::Kind;

constexpr std::int64_t requests_most = 1'000'000'000;

struct KeyWord {
    std::string_view name;
    Kind kind;
};
constexpr KeyWord key_words[] = {
    {"sourceWorkload", Kind::source_workload},
    {"sourceNamespace", Kind::source_namespace},
    {"sourcePrincipal", Kind::source_principal},
    {"sourceAddress", Kind::source_address},
    {"destination", Kind::destination_service},
    {"host", Kind::host},
    {"path", Kind::path},
    {"method", Kind::method},
};

constexpr std::string_view key_hint =
    "sourceWorkload, sourceNamespace, sourcePrincipal, sourceAddress, destination, host, path, "
    "method, header:NAME or sourceLabel:NAME";

std::optional<model::LimitAttribute> read_key(const std::string& text) {
    for (const KeyWord& word : key_words) {
        if (text == word.name) {
            return model::LimitAttribute{word.kind, ""};
        }
    }
    std::size_t colon = text.find(':');
    if (colon == std::string::npos || colon + 1 == text.size()) {
        return std::nullopt;
    }
    std::string_view kind = std::string_view(text).substr(0, colon);
    std::string name = text.substr(colon + 1);
    if (kind == "header") {
        return model::LimitAttribute{Kind::header, to_lower(name)};
    }
    if (kind == "sourceLabel") {
        return model::LimitAttribute{Kind::source_label, name};
    }
    return std::nullopt;
}

void read_keys(FieldReader& spec, model::RateLimit& limit) {
    for (const std::string& text : spec.texts("key")) {
        auto attribute = read_key(text);
        if (!attribute) {
            spec.error(
                "key", fmt::format("\"{:.60}\" is no part of a key", text), std::string(key_hint));
            continue;
        }
        limit.key.push_back(*std::move(attribute));
    }
    if (limit.key.size() > limits::rate_limit_key_parts_max) {
        spec.error("key", fmt::format("more than {} parts", limits::rate_limit_key_parts_max));
    }
}

void read_rate(FieldReader& spec, model::RateLimit& limit) {
    auto requests = spec.integer("requests", 1, requests_most);
    if (!requests && !spec.has("requests")) {
        spec.error_here("requests is missing", "how many may pass in each interval");
    }
    limit.requests = static_cast<std::uint32_t>(requests.value_or(1));
    limit.interval = spec.duration("interval").value_or(limit.interval);
    auto burst = spec.integer("burst", 1, requests_most);
    limit.burst = static_cast<std::uint32_t>(burst.value_or(limit.requests));
    if (limit.interval > std::chrono::hours(24)) {
        spec.error("interval", "longer than a day");
    }
    // The bucket's depth in nanoseconds must stay far from overflow.
    double depth = static_cast<double>(limit.interval.count()) / limit.requests * limit.burst;
    if (depth > 1e18) {
        spec.error("burst", "takes more than 30 years to refill", "a smaller burst");
    }
}

void read_answer(FieldReader& spec, model::RateLimit& limit) {
    limit.status = static_cast<std::uint16_t>(spec.integer("status", 400, 599).value_or(429));
    auto grpc = spec.choice("grpcStatus", {"UNAVAILABLE", "RESOURCE_EXHAUSTED"});
    limit.grpc_status = grpc == std::optional<std::size_t>(1) ? 8 : 14;
    limit.tell_headers = spec.boolean("headers").value_or(false);
}

}  // namespace

ObjectSpec decode_rate_limit(const DecodeContext& context) {
    RateLimitSpec out;
    model::RateLimit& limit = out.limit;
    limit.name = context.key.ns + "/" + context.key.name;
    limit.source = context.ref_at(context.root.line);
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    if (!spec.present()) {
        context.report.error(context.root.line, "spec", "spec is missing");
        return out;
    }
    for (const std::string& host : spec.texts("hosts")) {
        out.hosts.push_back(to_lower(host));
        if (!is_host_pattern(out.hosts.back())) {
            spec.error("hosts", fmt::format("\"{:.80}\" is no host name", host));
        }
    }
    FieldReader selector(context.report, spec.take("selector"), "spec.selector");
    limit.source_labels = selector.labels("matchLabels");
    spec.each("match", [&](const Node& item, const std::string& path) {
        MatchSpec match = decode_http_match(context, item, path);
        if (!match.gateways.empty()) {
            context.report.error(item.line, path + ".gateways", "means nothing in a RateLimit");
        }
        limit.matches.push_back(std::make_shared<const model::HttpMatch>(std::move(match.match)));
    });
    read_keys(spec, limit);
    read_rate(spec, limit);
    read_answer(spec, limit);
    return out;
}

}  // namespace orlop::control
