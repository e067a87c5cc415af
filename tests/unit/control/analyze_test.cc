// What analyze finds beyond single objects: chains of times, shares nobody takes, ports, enrolment.
#include "daemon/control/analyze.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <gtest/gtest.h>

namespace orlop::control {
namespace {

Findings analyzed(const std::string& text) {
    ObjectStore store;
    store.replace_source("a.yaml", decode_text(text, {.file = "a.yaml"}), 1);
    return analyze(store);
}

// The finding of that code, or none.
const Finding* find(const Findings& findings, const std::string& code) {
    for (const Finding& finding : findings) {
        if (finding.code == code) {
            return &finding;
        }
    }
    return nullptr;
}

std::string text_of(const Findings& findings) {
    std::string out;
    for (const Finding& finding : findings) {
        out += finding.to_string() + "\n";
    }
    return out;
}

std::string service(const std::string& name, const std::string& port = "http") {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           "}\nspec: {clusterIP: 10.96.0." + std::to_string(name.size()) +
           ", selector: {app: " + name + "}, ports: [{name: " + port + ", port: 80}]}\n---\n";
}
std::string pod(const std::string& name, const std::string& labels) {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", uid: u-" + name +
           ", labels: {" + labels + "}}\nstatus: {podIP: 10.0.0." + std::to_string(name.size()) +
           "}\n---\n";
}
std::string route(const std::string& host, const std::string& http) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + host +
           "}\nspec:\n  hosts: [" + host + "]\n  http:\n  - route: [{destination: {host: " + host +
           "}}]\n" + http + "---\n";
}

TEST(Analyze, a_delay_that_outlasts_the_callers_timeout_is_named_with_both_objects) {
    auto findings = analyzed(
        service("reviews") + service("ratings") + route("reviews", "    timeout: 6s\n") +
        route("ratings", "    fault: {delay: {percentage: {value: 100}, fixedDelay: 10s}}\n"));
    const Finding* chain = find(findings, "ORL021");
    ASSERT_NE(chain, nullptr) << text_of(findings);
    EXPECT_EQ(chain->severity, Severity::info);  // who calls whom is not known
    EXPECT_EQ(chain->object.name, "ratings");
    EXPECT_GT(chain->line, 0);
    EXPECT_NE(chain->message.find("delay of 10 s"), std::string::npos);
    EXPECT_NE(chain->message.find("timeout of 6 s of reviews"), std::string::npos);
}

TEST(Analyze, tries_that_end_before_a_delay_count_as_the_callers_time) {
    auto findings = analyzed(
        service("reviews") + service("ratings") +
        route("reviews", "    retries: {attempts: 1, perTryTimeout: 3s, retryOn: 5xx}\n") +
        route("ratings", "    fault: {delay: {percentage: {value: 100}, fixedDelay: 7s}}\n"));
    const Finding* chain = find(findings, "ORL021");
    ASSERT_NE(chain, nullptr) << text_of(findings);
    EXPECT_NE(chain->message.find("2 tries of 3 s"), std::string::npos);
}

TEST(Analyze, a_known_caller_makes_the_chain_a_warning) {
    auto findings =
        analyzed(service("reviews") + service("ratings") + service("details") +
                 route("reviews", "    timeout: 1s\n") + route("details", "    timeout: 1s\n") +
                 route("ratings",
                       "    match: [{sourceLabels: {app: reviews}}]\n"
                       "    fault: {delay: {percentage: {value: 100}, fixedDelay: 10s}}\n"));
    std::size_t chains = 0;
    for (const Finding& finding : findings) {
        if (finding.code == "ORL021") {
            ++chains;
            EXPECT_EQ(finding.severity, Severity::warning);
            EXPECT_NE(finding.message.find("reviews"), std::string::npos);
        }
    }
    EXPECT_EQ(chains, 1u) << text_of(findings);
}

TEST(Analyze, times_that_fit_are_left_alone) {
    auto findings = analyzed(
        service("reviews") + service("ratings") + route("reviews", "    timeout: 20s\n") +
        route("ratings", "    fault: {delay: {percentage: {value: 100}, fixedDelay: 7s}}\n"));
    EXPECT_EQ(find(findings, "ORL021"), nullptr);
    EXPECT_EQ(find(findings, "ORL020"), nullptr);
}

TEST(Analyze, a_delay_beyond_the_times_of_its_own_route_is_explained) {
    auto findings =
        analyzed(service("ratings") +
                 route("ratings",
                       "    fault: {delay: {percentage: {value: 100}, fixedDelay: 15s}}\n"
                       "    retries: {attempts: 3, perTryTimeout: 3s, retryOn: 5xx}\n"));
    const Finding* fault = find(findings, "ORL020");
    ASSERT_NE(fault, nullptr);
    EXPECT_EQ(fault->severity, Severity::warning);
    EXPECT_NE(fault->hint.find("no retry follows"), std::string::npos);
}

TEST(Analyze, an_abort_with_retries_is_explained) {
    auto findings = analyzed(service("ratings") +
                             route("ratings",
                                   "    fault: {abort: {percentage: {value: 5}, httpStatus: 500}}\n"
                                   "    retries: {attempts: 3, retryOn: 5xx}\n"));
    ASSERT_NE(find(findings, "ORL020"), nullptr);
    EXPECT_EQ(find(findings, "ORL020")->severity, Severity::info);
}

TEST(Analyze, a_share_of_traffic_without_endpoints_is_told_in_percent) {
    auto findings = analyzed(
        service("ratings") + pod("one", "app: ratings, version: v1") +
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n"
        "  host: ratings\n  subsets:\n  - {name: v1, labels: {version: v1}}\n"
        "  - {name: v2, labels: {version: v2}}\n---\n"
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r}\nspec:\n"
        "  hosts: [ratings]\n  http:\n  - route:\n"
        "    - {destination: {host: ratings, subset: v1}, weight: 75}\n"
        "    - {destination: {host: ratings, subset: v2}, weight: 25}\n");
    const Finding* weight = find(findings, "ORL007");
    ASSERT_NE(weight, nullptr) << text_of(findings);
    EXPECT_NE(weight->message.find("25 % of the requests"), std::string::npos);
    EXPECT_NE(weight->message.find("subset v2"), std::string::npos);
    EXPECT_EQ(weight->line, 26);
}

TEST(Analyze, limits_that_refuse_a_second_caller_are_named) {
    auto findings = analyzed(
        service("ratings") +
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n"
        "  host: ratings\n  trafficPolicy:\n    connectionPool:\n"
        "      tcp: {maxConnections: 1}\n"
        "      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}\n");
    const Finding* limit = find(findings, "ORL008");
    ASSERT_NE(limit, nullptr) << text_of(findings);
    EXPECT_NE(limit->message.find("every request connects anew"), std::string::npos);
}

TEST(Analyze, a_port_without_a_protocol_is_a_hint_and_no_more) {
    auto findings = analyzed(service("a", "web") + service("ab", "http-web"));
    ASSERT_EQ(findings.size(), 1u) << text_of(findings);
    EXPECT_EQ(findings[0].code, "IST0118");
    EXPECT_EQ(findings[0].severity, Severity::info);
    EXPECT_EQ(findings[0].object.name, "a");
}

TEST(Analyze, rules_in_a_namespace_whose_pods_are_not_enrolled_are_pointed_out) {
    std::string text =
        service("ratings") + pod("one", "app: ratings") + route("ratings", "    timeout: 1s\n");
    auto findings = analyzed(text);
    ASSERT_NE(find(findings, "IST0102"), nullptr) << text_of(findings);
    findings = analyzed("apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: "
                        "{istio.io/dataplane-mode: orlop}}\n---\n" +
                        text);
    EXPECT_EQ(find(findings, "IST0102"), nullptr) << text_of(findings);
}

TEST(Analyze, a_host_that_its_gateway_does_not_serve_is_named) {
    std::string gateway =
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gw}\nspec:\n"
        "  selector: {istio: ingressgateway}\n  servers:\n"
        "  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*.shop.example\"]}\n---\n";
    auto routes = [](const std::string& host) {
        return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n"
               "spec:\n  hosts: [" +
               host + "]\n  gateways: [gw]\n  http: [{route: [{destination: {host: a}}]}]\n---\n";
    };
    auto wrong = analyzed(gateway + service("a") + routes("www.other.example"));
    ASSERT_NE(find(wrong, "IST0132"), nullptr) << text_of(wrong);
    EXPECT_EQ(find(wrong, "IST0132")->object.name, "v");
    auto right = analyzed(gateway + service("a") + routes("www.shop.example"));
    EXPECT_EQ(find(right, "IST0132"), nullptr) << text_of(right);
}

}  // namespace
}  // namespace orlop::control
