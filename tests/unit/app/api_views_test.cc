#include "daemon/app/api_views.h"
#include "daemon/control/compile.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace orlop::app {
namespace {

constexpr const char* shop = R"(apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio.io/dataplane-mode: orlop}}
---
apiVersion: v1
kind: Service
metadata: {name: pricing}
spec:
  clusterIP: 10.96.0.10
  selector: {app: pricing}
  ports: [{port: 80, targetPort: 8080, name: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: pricing-1, uid: u1, labels: {app: pricing}}
spec:
  nodeName: n1
  containers: [{name: c, image: i, ports: [{containerPort: 8080}]}]
status: {phase: Running, podIP: 10.244.1.2, podIPs: [{ip: 10.244.1.2}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pricing}
spec:
  hosts: [pricing]
  http:
  - timeout: 1s
    retries: {attempts: 3, perTryTimeout: 200ms}
    route:
    - destination: {host: pricing}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
)";

struct World {
    World() {
        store.replace_source("shop.yaml", control::decode_text(shop, {.file = "shop.yaml"}), 1);
        auto result = control::compile(store, {.node = "n1", .generation = 7});
        snapshot = result.snapshot;
        findings = result.findings;
    }
    control::ObjectStore store;
    model::SnapshotPtr snapshot;
    control::Findings findings;
};

TEST(Views, show_workloads_and_what_policy_says_of_them) {
    World world;
    auto rows = workloads_json(*world.snapshot);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0]["pod"], "pricing-1");
    EXPECT_EQ(rows[0]["identity"], "spiffe://cluster.local/ns/default/sa/default");
    EXPECT_EQ(rows[0]["addresses"][0], "10.244.1.2");
    auto policies = policies_json(*world.snapshot);
    ASSERT_EQ(policies.size(), 1u);
    EXPECT_EQ(policies[0]["mtls"], "STRICT");
}

TEST(Views, show_routes_with_the_line_that_decided) {
    World world;
    bool found = false;
    for (const auto& host : routes_json(*world.snapshot)) {
        if (host["source"].is_null()) {
            continue;
        }
        found = true;
        const auto& route = host["routes"][0];
        EXPECT_EQ(route["timeoutMs"], 1000.0);
        EXPECT_EQ(route["retries"]["attempts"], 3);
        EXPECT_EQ(route["retries"]["perTryTimeoutMs"], 200.0);
        EXPECT_EQ(route["source"]["file"], "shop.yaml");
        EXPECT_GT(route["source"]["line"].get<int>(), 20);
        EXPECT_EQ(route["destinations"][0]["cluster"],
                  "outbound|80||pricing.default.svc.cluster.local");
    }
    EXPECT_TRUE(found);
}

TEST(Views, show_destinations_and_endpoints) {
    World world;
    auto destinations = destinations_json(*world.snapshot);
    ASSERT_FALSE(destinations.empty());
    EXPECT_EQ(destinations[0]["host"], "pricing.default.svc.cluster.local");
    auto endpoints = endpoints_json(*world.snapshot);
    ASSERT_FALSE(endpoints.empty());
    EXPECT_EQ(endpoints[0]["endpoint"], "10.244.1.2:8080");
    EXPECT_EQ(endpoints[0]["pod"], "default/pricing-1");
}

TEST(Views, show_objects_with_their_yaml_and_place) {
    World world;
    auto objects = objects_json(world.store, world.findings, {"VirtualService", "default", ""});
    ASSERT_EQ(objects.size(), 1u);
    EXPECT_EQ(objects[0]["state"], "accepted");
    EXPECT_EQ(objects[0]["file"], "shop.yaml");
    EXPECT_EQ(objects[0]["object"]["spec"]["hosts"][0], "pricing");
    EXPECT_NE(objects[0]["yaml"].get<std::string>().find("kind: VirtualService"),
              std::string::npos);
    EXPECT_TRUE(objects_json(world.store, {}, {"VirtualService", "other", ""}).empty());
    EXPECT_EQ(objects_json(world.store, {}, {}).size(), 5u);
}

TEST(Views, join_what_the_compiler_found_to_its_object) {
    World world;
    control::Finding finding;
    finding.code = "IST0109";
    finding.object = {"VirtualService", "default", "pricing"};
    auto objects = objects_json(world.store, {finding}, {"VirtualService", "", "pricing"});
    ASSERT_EQ(objects.size(), 1u);
    EXPECT_EQ(objects[0]["findings"].back()["code"], "IST0109");
}

TEST(Views, write_times_in_utc) {
    EXPECT_EQ(rfc3339(WallTime{}), "1970-01-01T00:00:00Z");
}

}  // namespace
}  // namespace orlop::app
