// VirtualService and DestinationRule as written: validated, but host names, subsets and ports not
// yet resolved. Optional members keep "not written" apart from "written with the default", which
// the conflict rule `overlay` needs.
#pragma once

#include "daemon/model/destination.h"
#include "daemon/model/route.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

struct DestinationName {
    std::string host;        // as written
    std::string subset;      // empty: the whole service
    std::uint16_t port = 0;  // 0: the service's only port, else the port of arrival
    int line = 0;
    std::string path;  // "spec.http[0].route[1].destination"
};

struct RouteChoice {
    DestinationName to;
    std::uint32_t weight = 0;
    model::HeaderOps request_headers;
    model::HeaderOps response_headers;
};

struct MatchSpec {
    model::HttpMatch match;
    std::vector<std::string> gateways;  // overrides the object's list; empty: not written
};

struct MirrorSpec {
    DestinationName to;
    double percent = 100;
};

struct HttpRouteSpec {
    std::string name;
    std::vector<MatchSpec> matches;
    std::vector<RouteChoice> choices;
    std::optional<Duration> timeout;
    std::optional<model::RetryPolicy> retries;
    std::optional<model::Fault> fault;
    std::optional<model::Redirect> redirect;
    std::optional<model::DirectResponse> direct_response;
    std::optional<model::Rewrite> rewrite;
    std::optional<model::CorsPolicy> cors;
    std::optional<std::vector<MirrorSpec>> mirrors;  // present and empty: explicit 0 %
    model::HeaderOps request_headers;
    model::HeaderOps response_headers;
    std::string delegate_name;  // empty: none
    std::string delegate_ns;
    model::ObjectRefPtr source;          // line of this element
    model::ObjectRefPtr timeout_source;  // line of `timeout`
};

// orlop.dev/v1 RateLimit; the compiler decides whose requests it counts (compile/limits.h).
struct RateLimitSpec {
    std::vector<std::string> hosts;  // as written, lower-case; empty: every host
    model::RateLimit limit;
};

// tls[] and tcp[]: weights per connection, chosen by SNI, port or destination range.
struct L4RouteSpec {
    std::vector<std::string> sni_hosts;  // tls only
    std::vector<Cidr> destination_ranges;
    std::vector<std::uint16_t> ports;
    model::Labels source_labels;
    std::string source_namespace;
    std::vector<std::string> gateways;  // overrides the object's list; empty: not written
    std::vector<RouteChoice> choices;
    model::ObjectRefPtr source;
};

struct VirtualServiceSpec {
    std::vector<std::string> hosts;      // as written, lower-case; empty: a delegate
    std::vector<std::string> gateways;   // empty: mesh
    std::vector<std::string> export_to;  // empty: all
    std::vector<HttpRouteSpec> http;
    std::vector<L4RouteSpec> tls;
    std::vector<L4RouteSpec> tcp;
};

struct LoadBalancerSpec {
    model::LoadBalancing simple = model::LoadBalancing::least_request;
    std::optional<model::ConsistentHash> consistent_hash;
    std::optional<model::Warmup> warmup;
    std::optional<model::LocalityLb> locality;
};

// One trafficPolicy; merging replaces whole blocks (istio-semantics §5).
struct TrafficPolicySpec {
    std::optional<LoadBalancerSpec> load_balancer;
    std::optional<model::ConnectionPoolLimits> pool;
    std::optional<model::OutlierDetection> outlier;
    std::optional<model::ClientTls> tls;
    std::optional<model::RetryBudget> retry_budget;
    std::map<std::uint16_t, TrafficPolicySpec> ports;  // portLevelSettings; never nested deeper
    model::ObjectRefPtr source;
};

struct SubsetSpec {
    std::string name;
    model::Labels labels;
    std::optional<TrafficPolicySpec> policy;
    int line = 0;
};

struct DestinationRuleSpec {
    std::string host;                                 // as written, lower-case
    std::shared_ptr<const TrafficPolicySpec> policy;  // null: none
    std::vector<SubsetSpec> subsets;
    std::vector<std::string> export_to;
    model::Labels workload_selector;
};

}  // namespace orlop::control
