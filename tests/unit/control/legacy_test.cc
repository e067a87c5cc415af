// RouteRule and DestinationPolicy of tutorial 004 act, and are printed as the current objects.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "daemon/control/translate_legacy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using testing::HasSubstr;

const std::string world = R"(apiVersion: v1
kind: Service
metadata: {name: ratings}
spec: {clusterIP: 10.96.0.1, selector: {app: ratings}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.2, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ratings-1, uid: u1, labels: {app: ratings, version: v1}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, uid: u2, labels: {app: reviews, version: v1}}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-3, uid: u3, labels: {app: reviews, version: v3}}
status: {podIP: 10.0.0.3}
---
)";

std::string rule(const std::string& name, const std::string& spec) {
    return "apiVersion: config.istio.io/v1alpha2\nkind: RouteRule\nmetadata: {name: " + name +
           "}\nspec:\n" + spec + "---\n";
}
std::string policy(const std::string& name, const std::string& spec) {
    return "apiVersion: config.istio.io/v1alpha2\nkind: DestinationPolicy\nmetadata: {name: " +
           name + "}\nspec:\n" + spec + "---\n";
}

const std::string ratings_default =
    rule("ratings-default",
         "  destination: {name: ratings}\n  precedence: 1\n  route: [{labels: {version: v1}}]\n");
const std::string ratings_delay = rule("ratings-test-delay", R"(  destination:
    name: ratings
  precedence: 2
  match:
    request:
      headers:
        cookie:
          regex: "^(.*?;)?(user=jason)(;.*)?$"
  route:
  - labels:
      version: v1
  httpFault:
    delay:
      percent: 100
      fixedDelay: 7.000s
)");
const std::string reviews_half = rule("reviews-default", R"(  destination:
    name: reviews
  precedence: 1
  route:
  - labels:
      version: v1
    weight: 50
  - labels:
      version: v3
    weight: 50
)");
// As tutorial 004 has it, with its indentation.
const std::string ratings_breaker = R"(    apiVersion: config.istio.io/v1alpha2
    kind: DestinationPolicy
    metadata:
      name: ratings-cb
    spec:
      destination:
        name: ratings
        labels:
          version: v1
      circuitBreaker:
        simpleCb:
          maxConnections: 1
          httpMaxPendingRequests: 1
          httpConsecutiveErrors: 1
          sleepWindow: 15m
          httpDetectionInterval: 10s
          httpMaxEjectionPercent: 100
)";

struct Built {
    ObjectStore store;
    CompileResult result;
    const model::VirtualHost* host(const std::string& name) const {
        return result.snapshot->find_virtual_host("default", name, 9080);
    }
    std::string says() const {
        std::string text;
        for (const Findings& some : {store.findings(), result.findings}) {
            for (const Finding& finding : some) {
                text += finding.to_string() + "\n";
            }
        }
        return text;
    }
};

Built build(std::initializer_list<std::string> texts) {
    Built out;
    std::int64_t clock = 0;
    for (const std::string& text : texts) {
        std::string file = "f" + std::to_string(clock) + ".yaml";
        out.store.replace_source(file, decode_text(text, {.file = file}), ++clock);
    }
    out.result = compile(out.store, {.node = "n1", .generation = 1});
    return out;
}

std::string printed(const std::string& text) {
    ObjectStore store;
    store.replace_source("a.yaml", decode_text(text, {.file = "a.yaml"}), 1);
    Translation current = translate_legacy(store);
    std::string out;
    for (const auto* list : {&current.virtual_services, &current.destination_rules}) {
        for (const ObjectPtr& object : *list) {
            out += "---\n" + object->written;
        }
    }
    return out;
}

TEST(Legacy, a_rule_of_higher_precedence_comes_first_whatever_its_age) {
    Built built = build({world, ratings_default, ratings_delay});
    const model::VirtualHost* host = built.host("ratings");
    ASSERT_NE(host, nullptr);
    ASSERT_EQ(host->routes.size(), 2u) << built.says();
    ASSERT_TRUE(host->routes[0].fault);
    EXPECT_EQ(host->routes[0].fault->delay, std::chrono::seconds(7));
    EXPECT_EQ(host->routes[0].fault->delay_percent, 100);
    ASSERT_EQ(host->routes[0].matches.size(), 1u);
    EXPECT_EQ(host->routes[0].matches[0].headers[0].first, "cookie");
    EXPECT_FALSE(host->routes[1].fault);
    EXPECT_TRUE(host->routes[1].matches.empty());
}

TEST(Legacy, a_decision_names_the_route_rule_and_its_file) {
    Built built = build({world, ratings_default, ratings_delay});
    const model::HttpRoute& route = built.host("ratings")->routes[0];
    EXPECT_THAT(route.source->to_string(), HasSubstr("RouteRule default/ratings-test-delay"));
    EXPECT_EQ(route.source->file, "f2.yaml");
    EXPECT_EQ(route.fault->source->line, 17);
}

TEST(Legacy, labels_pick_endpoints_without_a_destination_rule) {
    Built built = build({world, reviews_half});
    const model::HttpRoute& route = built.host("reviews")->routes[0];
    ASSERT_EQ(route.destinations.size(), 2u);
    ASSERT_NE(route.destinations[0].destination, nullptr) << built.says();
    EXPECT_EQ(route.destinations[0].destination->subset, "v1");
    EXPECT_EQ(route.destinations[0].weight, 50u);
    ASSERT_EQ(route.destinations[1].destination->endpoints.size(), 1u);
    EXPECT_EQ(route.destinations[1].destination->endpoints[0].workload->name, "reviews-3");
}

TEST(Legacy, a_circuit_breaker_acts_on_the_labels_it_names) {
    Built built = build({world, ratings_default, ratings_breaker});
    const model::DestinationPtr& to = built.host("ratings")->routes[0].destinations[0].destination;
    ASSERT_NE(to, nullptr) << built.says();
    EXPECT_EQ(to->cluster_name, "outbound|9080|v1|ratings.default.svc.cluster.local");
    EXPECT_EQ(to->policy.pool.max_connections, 1u);
    EXPECT_EQ(to->policy.pool.http1_max_pending_requests, 1u);
    ASSERT_TRUE(to->policy.outlier);
    EXPECT_EQ(to->policy.outlier->consecutive_5xx, 1u);
    EXPECT_EQ(to->policy.outlier->base_ejection_time, std::chrono::minutes(15));
    EXPECT_EQ(to->policy.outlier->interval, std::chrono::seconds(10));
    EXPECT_EQ(to->policy.outlier->max_ejection_percent, 100u);
    EXPECT_EQ(to->policy.source->name, "ratings-cb");
}

TEST(Legacy, a_breaker_on_labels_that_no_rule_routes_to_is_reported) {
    Built built = build({world, ratings_breaker});
    EXPECT_THAT(built.says(), HasSubstr("no RouteRule sends requests"));
}

TEST(Legacy, simple_cb_without_fields_turns_detection_on_with_its_defaults) {
    Built built = build({world,
                         policy("p",
                                "  destination: {name: ratings}\n"
                                "  circuitBreaker: {simpleCb: {maxConnections: 3}}\n")});
    const auto& route = built.host("ratings")->routes[0];
    const model::TrafficPolicy& has = route.destinations[0].destination->policy;
    EXPECT_EQ(has.pool.max_connections, 3u);
    ASSERT_TRUE(has.outlier);
    EXPECT_EQ(has.outlier->consecutive_5xx, 5u);
    EXPECT_EQ(has.outlier->max_ejection_percent, 10u);
}

TEST(Legacy, a_virtual_service_of_today_overrides_a_route_rule) {
    Built built = build({R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - route: [{destination: {host: ratings}}]
    timeout: 3s
)",
                         world,
                         ratings_default});
    const model::HttpRoute& route = built.host("ratings")->routes[0];
    EXPECT_EQ(route.timeout, std::chrono::seconds(3));
    EXPECT_EQ(route.destinations[0].destination->subset, "");
    EXPECT_THAT(built.says(), HasSubstr("IST0109"));
}

TEST(Legacy, callers_are_told_by_the_selector_of_their_service) {
    Built built = build({world,
                         rule("r",
                              "  destination: {name: ratings}\n"
                              "  match: {source: {name: reviews, labels: {version: v3}}}\n"
                              "  httpFault: {abort: {percent: 100, httpStatus: 500}}\n")});
    const model::HttpRoute& route = built.host("ratings")->routes[0];
    ASSERT_EQ(route.matches.size(), 1u);
    EXPECT_EQ(route.matches[0].source_labels,
              (model::Labels{{"app", "reviews"}, {"version", "v3"}}));
    EXPECT_EQ(route.matches[0].source_namespace, "default");
    EXPECT_EQ(route.fault->abort_http_status, 500);
}

TEST(Legacy, retries_have_the_policy_of_v1alpha2) {
    Built built =
        build({world,
               rule("r",
                    "  destination: {name: ratings}\n"
                    "  httpReqTimeout: {simpleTimeout: {timeout: 10s}}\n"
                    "  httpReqRetries: {simpleRetry: {attempts: 3, perTryTimeout: 2s}}\n")});
    const model::HttpRoute& route = built.host("ratings")->routes[0];
    EXPECT_EQ(route.timeout, std::chrono::seconds(10));
    EXPECT_EQ(route.retries.attempts, 3u);
    EXPECT_EQ(route.retries.per_try_timeout, std::chrono::seconds(2));
    EXPECT_EQ(route.retries.on,
              model::RetryPolicy::on_5xx | model::RetryPolicy::on_connect_failure |
                  model::RetryPolicy::on_refused_stream);
}

TEST(Legacy, what_convert_prints_means_what_is_in_force) {
    std::string legacy = ratings_default + ratings_delay + reviews_half + ratings_breaker;
    std::string current = printed(legacy);
    EXPECT_THAT(current, HasSubstr("kind: VirtualService"));
    EXPECT_THAT(current, HasSubstr("kind: DestinationRule"));
    Built before = build({world, legacy});
    Built after = build({world, current});
    for (const char* name : {"ratings", "reviews"}) {
        const model::VirtualHost& then = *before.host(name);
        const model::VirtualHost& now = *after.host(name);
        ASSERT_EQ(then.routes.size(), now.routes.size()) << after.says() << current;
        for (std::size_t i = 0; i < then.routes.size(); ++i) {
            ASSERT_EQ(then.routes[i].destinations.size(), now.routes[i].destinations.size());
            for (std::size_t j = 0; j < then.routes[i].destinations.size(); ++j) {
                const model::Destination& a = *then.routes[i].destinations[j].destination;
                const model::Destination& b = *now.routes[i].destinations[j].destination;
                EXPECT_EQ(a.cluster_name, b.cluster_name);
                EXPECT_EQ(a.endpoints.size(), b.endpoints.size());
                EXPECT_EQ(a.policy.pool.max_connections, b.policy.pool.max_connections);
                EXPECT_EQ(a.policy.outlier.has_value(), b.policy.outlier.has_value());
                EXPECT_EQ(then.routes[i].destinations[j].weight,
                          now.routes[i].destinations[j].weight);
            }
            EXPECT_EQ(then.routes[i].fault.has_value(), now.routes[i].fault.has_value());
            EXPECT_EQ(then.routes[i].matches.size(), now.routes[i].matches.size());
        }
    }
}

TEST(Legacy, converted_text_is_stable) {
    EXPECT_EQ(printed(ratings_default + ratings_delay), R"(---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: ratings
  namespace: default
spec:
  hosts:
  - ratings
  http:
  - name: ratings-test-delay
    match:
    - headers:
        cookie:
          regex: "^(.*?;)?(user=jason)(;.*)?$"
    route:
    - destination:
        host: ratings
        subset: v1
    fault:
      delay:
        percentage:
          value: 100
        fixedDelay: "7.000s"
  - name: ratings-default
    route:
    - destination:
        host: ratings
        subset: v1
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: ratings
  namespace: default
spec:
  host: ratings
  subsets:
  - name: v1
    labels:
      version: v1
)");
}

struct Refused {
    const char* spec;
    const char* says;
};
const Refused refused_rules[] = {
    {"  precedence: 1\n", "destination is missing"},
    {"  destination: {namespace: a}\n", "a service needs a name"},
    {"  destination: {name: a, service: a.b.svc.cluster.local}\n", "exclude each other"},
    {"  destination: {name: Not_A_Name}\n", "no service name"},
    {"  destination: {name: a}\n  precedence: high\n", "want a whole number"},
    {"  destination: {name: a}\n  route: [{weight: 40}, {weight: 40}]\n", "sum of weights is 80"},
    {"  destination: {name: a}\n  route: [{weight: 101}]\n", "not in range"},
    {"  destination: {name: a}\n  route: [{weight: -1}]\n", "non-negative"},
    {"  destination: {name: a}\n  match: {tcp: {sourceSubnet: [10.0.0.0/8]}}\n", "not carried"},
    {"  destination: {name: a}\n  match: {request: {headers: {cookie: {regex: '('}}}}\n", "RE2"},
    {"  destination: {name: a}\n  httpFault: {}\n", "must have an abort and/or a delay"},
    {"  destination: {name: a}\n  httpFault: {delay: {percent: 100}}\n", "fixedDelay is missing"},
    {"  destination: {name: a}\n  httpFault: {delay: {percent: 101, fixedDelay: 1s}}\n", "range"},
    {"  destination: {name: a}\n  httpFault: {delay: {percent: 1, exponentialDelay: 1s}}\n",
     "not supported yet"},
    {"  destination: {name: a}\n  httpFault: {abort: {percent: 1, httpStatus: 1000}}\n", "range"},
    {"  destination: {name: a}\n  httpReqTimeout: {simpleTimeout: {timeout: 0s}}\n", "1ms"},
    {"  destination: {name: a}\n  httpReqRetries: {simpleRetry: {attempts: -1}}\n", "non-negative"},
    {"  destination: {name: a}\n  route: [{weight: 100}]\n  redirect: {uri: /b}\n", "redirect"},
    {"  destination: {name: a}\n  redirect: {}\n", "redirect must specify"},
    {"  destination: {name: a}\n  l4Fault: {throttle: {}}\n", "not carried"},
};

TEST(Legacy, a_wrong_route_rule_is_refused_with_a_reason) {
    for (const Refused& wrong : refused_rules) {
        auto decoded = decode_text(rule("r", wrong.spec), {.file = "a.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << wrong.spec;
        EXPECT_EQ(decoded.objects[0].object, nullptr) << wrong.spec;
        ASSERT_FALSE(decoded.objects[0].findings.empty());
        bool said = false;
        for (const Finding& finding : decoded.objects[0].findings) {
            said = said || finding.to_string().find(wrong.says) != std::string::npos;
            EXPECT_GT(finding.line, 0);
        }
        EXPECT_TRUE(said) << wrong.spec << decoded.objects[0].findings[0].to_string();
    }
}

const Refused refused_policies[] = {
    {"  circuitBreaker: {simpleCb: {}}\n", "destination is missing"},
    {"  destination: {name: a}\n", "loadBalancing or circuitBreaker is needed"},
    {"  destination: {name: a}\n  loadBalancing: {name: BEST}\n", "want one of ROUND_ROBIN"},
    {"  destination: {name: a}\n  circuitBreaker: {simpleCb: {maxConnections: -1}}\n",
     "non-negative"},
    {"  destination: {name: a}\n  circuitBreaker: {simpleCb: {sleepWindow: soon}}\n",
     "invalid duration"},
    {"  destination: {name: a}\n  circuitBreaker: {simpleCb: {httpMaxEjectionPercent: 101}}\n",
     "not in range"},
};

TEST(Legacy, a_wrong_destination_policy_is_refused_with_a_reason) {
    for (const Refused& wrong : refused_policies) {
        auto decoded = decode_text(policy("p", wrong.spec), {.file = "a.yaml"});
        ASSERT_EQ(decoded.objects.size(), 1u) << wrong.spec;
        EXPECT_EQ(decoded.objects[0].object, nullptr) << wrong.spec;
        bool said = false;
        for (const Finding& finding : decoded.objects[0].findings) {
            said = said || finding.to_string().find(wrong.says) != std::string::npos;
        }
        EXPECT_TRUE(said) << wrong.spec;
    }
}

TEST(Legacy, what_has_no_counterpart_is_noted_with_its_line) {
    auto decoded = decode_text(
        rule("r",
             "  destination: {name: a}\n"
             "  httpReqTimeout: {simpleTimeout: {timeout: 1s, overrideHeaderName: x}}\n"),
        {.file = "a.yaml"});
    ASSERT_NE(decoded.objects[0].object, nullptr);
    ASSERT_EQ(decoded.objects[0].findings.size(), 1u);
    EXPECT_EQ(decoded.objects[0].findings[0].code, "ORL022");
    EXPECT_EQ(decoded.objects[0].findings[0].line, 6);
}

TEST(Legacy, subset_names_are_dns_labels_and_tell_labels_apart) {
    EXPECT_EQ(subset_name_of({}), "");
    EXPECT_EQ(subset_name_of({{"version", "v1"}}), "v1");
    EXPECT_EQ(subset_name_of({{"track", "canary"}, {"version", "v1"}}), "track-canary-v1");
    EXPECT_NE(subset_name_of({{"version", "V1"}}), subset_name_of({{"version", "v1"}}));
    EXPECT_NE(subset_name_of({{"version", "v.1"}}), subset_name_of({{"version", "v_1"}}));
    EXPECT_LE(subset_name_of({{"version", std::string(63, 'a')}, {"track", "x"}}).size(), 63u);
}

}  // namespace
}  // namespace orlop::control
