// DestinationPolicy of config.istio.io/v1alpha2 becomes a trafficPolicy of DestinationRule
// (istio-semantics §5, "Legacy simpleCb").
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/legacy.h"
#include "daemon/control/objects/legacy_service.h"
#include "daemon/control/objects/tree_builder.h"

#include <string_view>
#include <utility>

namespace orlop::control {
namespace {

constexpr std::int64_t int32_max = 2'147'483'647;

using Renamed = std::pair<std::string_view, std::string_view>;  // then, now

void carry_counts(FieldReader& breaker, std::initializer_list<Renamed> names, Node& out) {
    for (const auto& [then, now] : names) {
        breaker.integer(then, 0, int32_max);
        if (const Node* value = breaker.take(then)) {
            put(out, std::string(now), *value);
        }
    }
}

void carry_durations(FieldReader& breaker, std::initializer_list<Renamed> names, Node& out) {
    for (const auto& [then, now] : names) {
        breaker.duration(then);
        if (const Node* value = breaker.take(then)) {
            put(out, std::string(now), *value);
        }
    }
}

void put_if_any(Node& map, std::string key, Node value) {
    if (!value.fields.empty()) {
        put(map, std::move(key), std::move(value));
    }
}

void carry_breaker(FieldReader& spec, Node& policy) {
    FieldReader breaker(spec.report(), spec.take("circuitBreaker"), spec.path_of("circuitBreaker"));
    FieldReader simple(spec.report(), breaker.take("simpleCb"), breaker.path_of("simpleCb"));
    note_not_carried(breaker, "custom", "write a DestinationRule");
    if (!simple.present()) {
        return;
    }
    int line = simple.line();
    Node tcp = make_map(line);
    Node http = make_map(line);
    Node outlier = make_map(line);
    carry_counts(simple, {{"maxConnections", "maxConnections"}}, tcp);
    carry_counts(simple,
                 {{"httpMaxPendingRequests", "http1MaxPendingRequests"},
                  {"httpMaxRequests", "http2MaxRequests"},
                  {"httpMaxRequestsPerConnection", "maxRequestsPerConnection"},
                  {"httpMaxRetries", "maxRetries"}},
                 http);
    carry_counts(simple, {{"httpConsecutiveErrors", "consecutive5xxErrors"}}, outlier);
    carry_durations(simple,
                    {{"httpDetectionInterval", "interval"}, {"sleepWindow", "baseEjectionTime"}},
                    outlier);
    carry_counts(simple, {{"httpMaxEjectionPercent", "maxEjectionPercent"}}, outlier);
    Node pool = make_map(line);
    put_if_any(pool, "tcp", std::move(tcp));
    put_if_any(pool, "http", std::move(http));
    put_if_any(policy, "connectionPool", std::move(pool));
    if (outlier.fields.empty()) {  // any simpleCb turns detection on, with 5 errors
        put(outlier, "consecutive5xxErrors", make_plain("5", line));
    }
    put(policy, "outlierDetection", std::move(outlier));
}

void carry_balancing(FieldReader& spec, Node& policy) {
    FieldReader reader(spec.report(), spec.take("loadBalancing"), spec.path_of("loadBalancing"));
    auto name = reader.choice("name", {"ROUND_ROBIN", "LEAST_CONN", "RANDOM"});
    note_not_carried(reader, "custom", "write a DestinationRule");
    if (!name) {
        return;
    }
    static constexpr std::string_view now[] = {"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"};
    Node balancer = make_map(reader.line());
    put(balancer, "simple", make_text(std::string(now[*name]), reader.line()));
    put(policy, "loadBalancer", std::move(balancer));
}

}  // namespace

ObjectSpec decode_destination_policy(const DecodeContext& context) {
    DestinationPolicySpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    if (!spec.present()) {
        context.report.error(context.root.line, "spec", "spec is missing");
        return out;
    }
    auto destination = read_legacy_service(spec, "destination", context.key.ns);
    if (!destination) {
        if (!spec.has("destination")) {
            spec.error_here("destination is missing", "write destination: {name: SERVICE}");
        }
        return out;
    }
    out.target = make_legacy_subset(*destination);
    note_not_carried(spec, "source", "a DestinationRule holds for every caller");
    out.policy = make_map(spec.line());
    carry_balancing(spec, out.policy);
    carry_breaker(spec, out.policy);
    if (out.policy.fields.empty()) {
        spec.error_here("loadBalancing or circuitBreaker is needed");
    } else if (!context.report.failed()) {
        out.decoded = std::make_shared<const TrafficPolicySpec>(
            decode_traffic_policy(context, out.policy, "spec"));
    }
    return out;
}

}  // namespace orlop::control
