#include "daemon/control/analyze.h"
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;

// A mesh made of texts: each file is newer than the one before.
class Mesh {
public:
    Mesh& file(const std::string& name, const std::string& text, Origin origin = Origin::config) {
        store_.replace_source(name, decode_text(text, {.file = name, .origin = origin}), ++clock_);
        return *this;
    }
    Mesh& remove(const std::string& name) {
        store_.remove_source(name);
        return *this;
    }
    const model::Snapshot& build() {
        result_ = compiler_.compile(store_, {.node = "n1", .generation = ++generation_});
        return *result_.snapshot;
    }
    const Findings& findings() const { return result_.findings; }
    const ObjectStore& store() const { return store_; }

private:
    ObjectStore store_;
    Compiler compiler_;
    CompileResult result_;
    std::int64_t clock_ = 0;
    std::uint64_t generation_ = 0;
};

std::string pod(const std::string& name,
                const std::string& ip,
                const std::string& labels,
                const std::string& extra = "",
                const std::string& ns = "default") {
    return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: " + ns +
           "\n  uid: uid-" + name + "\n  labels: {" + labels + "}\nspec:\n  nodeName: n1\n" +
           extra +
           "  containers:\n  - name: c\n    ports: [{name: web, containerPort: 9090}]\n"
           "status:\n  phase: Running\n  podIP: " +
           ip + "\n---\n";
}

std::string
service(const std::string& name, const std::string& ip, const std::string& ns = "default") {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + ns +
           "}\nspec:\n  clusterIP: " + ip +
           "\n  ports:\n  - port: 80\n    targetPort: 9090\n    name: http\n  selector:\n    "
           "app: " +
           name + "\n---\n";
}

const std::string shop = service("pricing", "10.96.0.1") + service("inventory", "10.96.0.2") +
                         pod("pricing-1", "10.0.0.1", "app: pricing, version: v1") +
                         pod("inventory-1", "10.0.0.2", "app: inventory, version: v1");

// The YAML of the tutorials, as it stands there.
const std::string timeouts = R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: pricing
spec:
  hosts:
  - pricing
  http:
  - route:
    - destination:
        host: pricing
    timeout: 1s
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: inventory
spec:
  hosts:
  - inventory
  http:
  - route:
    - destination:
        host: inventory
    timeout: 0.5s
)";
const std::string retries = R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: pricing-with-retry
spec:
  hosts:
  - pricing
  http:
  - route:
    - destination:
        host: pricing
    timeout: 2.5s
    retries:
      attempts: 3
      perTryTimeout: 0.5s
      retryOn: gateway-error,connect-failure,refused-stream,unavailable,5xx
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: inventory-with-retry
spec:
  hosts:
  - inventory
  http:
  - route:
    - destination:
        host: inventory
    timeout: 2s
    retries:
      attempts: 3
      perTryTimeout: 0.5s
      retryOn: gateway-error,connect-failure,refused-stream,unavailable,5xx
)";
const std::string oldest = "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\n"
                           "spec: {conflictResolution: oldest}\n";

const model::HttpRoute& only_route(const model::Snapshot& snapshot, const char* host) {
    const model::VirtualHost* found = snapshot.find_virtual_host("default", host, 80);
    if (found == nullptr || found->routes.size() != 1) {
        ADD_FAILURE() << host << " has no single route";
        static const model::HttpRoute none;
        return none;
    }
    return found->routes.front();
}

TEST(Compile, gives_a_service_without_rules_a_default_route) {
    Mesh mesh;
    const auto& snapshot = mesh.file("shop.yaml", shop).build();
    const auto& route = only_route(snapshot, "pricing");
    EXPECT_FALSE(route.timeout);
    EXPECT_EQ(route.retries.attempts, 2u);
    ASSERT_EQ(route.destinations.size(), 1u);
    EXPECT_EQ(route.destinations[0].destination->cluster_name,
              "outbound|80||pricing.default.svc.cluster.local");
    ASSERT_EQ(route.destinations[0].destination->endpoints.size(), 1u);
    EXPECT_EQ(route.destinations[0].destination->endpoints[0].address.to_string(), "10.0.0.1:9090");
    EXPECT_TRUE(mesh.findings().empty());
}

TEST(Compile, knows_a_service_by_all_its_names) {
    Mesh mesh;
    const auto& snapshot = mesh.file("shop.yaml", shop).build();
    const auto* host = snapshot.find_virtual_host("default", "pricing", 80);
    for (const char* name : {"pricing:80",
                             "PRICING",
                             "pricing.default",
                             "pricing.default.svc",
                             "pricing.default.svc.cluster.local",
                             "10.96.0.1",
                             "pricing.default.svc.cluster.local."}) {
        EXPECT_EQ(snapshot.find_virtual_host("default", name, 80), host) << name;
    }
    EXPECT_EQ(snapshot.find_virtual_host("other", "pricing", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("other", "pricing.default", 80), host);
    auto target = snapshot.resolve_outbound("default", *SocketAddress::parse("10.96.0.1:80"));
    EXPECT_EQ(target.virtual_host, host);
    auto direct = snapshot.resolve_outbound("default", *SocketAddress::parse("10.0.0.1:9090"));
    EXPECT_EQ(direct.virtual_host, host);
    ASSERT_NE(direct.workload, nullptr);
    EXPECT_EQ(direct.workload->name, "pricing-1");
    EXPECT_EQ(direct.destination->endpoints.size(), 1u);
}

TEST(Compile, applies_the_timeouts_of_tutorial_002) {
    Mesh mesh;
    const auto& snapshot =
        mesh.file("shop.yaml", shop).file("timeout-config.yaml", timeouts).build();
    EXPECT_EQ(only_route(snapshot, "pricing").timeout, Duration(std::chrono::seconds(1)));
    const auto& inventory = only_route(snapshot, "inventory");
    EXPECT_EQ(inventory.timeout, Duration(std::chrono::milliseconds(500)));
    EXPECT_EQ(inventory.timeout_source->line, 25);
    EXPECT_EQ(inventory.source->line, 22);
}

TEST(Compile, lays_the_retries_of_tutorial_002_over_its_timeouts) {
    Mesh mesh;
    const auto& snapshot = mesh.file("shop.yaml", shop)
                               .file("timeout-config.yaml", timeouts)
                               .file("retry-config.yaml", retries)
                               .build();
    const auto& pricing = only_route(snapshot, "pricing");
    EXPECT_EQ(pricing.timeout, Duration(std::chrono::milliseconds(2500)));
    EXPECT_EQ(pricing.timeout_source->name, "pricing-with-retry");
    EXPECT_EQ(pricing.retries.attempts, 3u);
    EXPECT_EQ(pricing.retries.per_try_timeout, Duration(std::chrono::milliseconds(500)));
    EXPECT_NE(pricing.retries.on & model::RetryPolicy::on_5xx, 0u);
    EXPECT_EQ(only_route(snapshot, "inventory").timeout, Duration(std::chrono::seconds(2)));
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::code, "IST0109")));
}

TEST(Compile, keeps_the_oldest_object_when_asked_to) {
    Mesh mesh;
    const auto& snapshot = mesh.file("mesh.yaml", oldest)
                               .file("shop.yaml", shop)
                               .file("timeout-config.yaml", timeouts)
                               .file("retry-config.yaml", retries)
                               .build();
    EXPECT_EQ(only_route(snapshot, "pricing").timeout, Duration(std::chrono::seconds(1)));
    EXPECT_EQ(only_route(snapshot, "pricing").retries.attempts, 2u);
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::code, "IST0109")));
}

TEST(Compile, overlays_a_fault_and_keeps_the_older_timeout) {
    Mesh mesh;
    const auto& snapshot = mesh.file("shop.yaml", shop)
                               .file("timeout-config.yaml", timeouts)
                               .file("fault-injection.yaml", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: pricing-fault
spec:
  hosts:
  - pricing
  http:
  - fault:
      abort:
        percentage:
          value: 5
        httpStatus: 500
    route:
    - destination:
        host: pricing
)")
                               .build();
    const auto& route = only_route(snapshot, "pricing");
    ASSERT_TRUE(route.fault);
    EXPECT_EQ(route.fault->abort_percent, 5);
    EXPECT_EQ(route.fault->abort_http_status, 500);
    EXPECT_EQ(route.timeout, Duration(std::chrono::seconds(1)));
}

TEST(Compile, joins_destination_rules_block_by_block) {
    std::string breaker = R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: inventory-circuit-breaker}
spec:
  host: inventory
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
    outlierDetection: {consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 60s,
                       maxEjectionPercent: 100}
)";
    std::string outlier = R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: inventory-outlier}
spec:
  host: inventory
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s,
                       maxEjectionPercent: 50}
)";
    for (bool is_oldest : {false, true}) {
        Mesh mesh;
        mesh.file("shop.yaml", shop).file("breaker.yaml", breaker).file("outlier.yaml", outlier);
        if (is_oldest) {
            mesh.file("mesh.yaml", oldest);
        }
        const auto& policy =
            only_route(mesh.build(), "inventory").destinations[0].destination->policy;
        EXPECT_EQ(policy.pool.max_connections, 1u);
        ASSERT_TRUE(policy.outlier);
        EXPECT_EQ(policy.outlier->max_ejection_percent, is_oldest ? 100u : 50u);
        EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::code, "ORL004")));
    }
}

TEST(Compile, resolves_the_retry_of_tutorial_001) {
    Mesh mesh;
    const auto& snapshot =
        mesh.file("app.yaml",
                  service("appflaky", "10.96.1.1", "retryns") +
                      pod("appflaky-1", "10.0.1.1", "app: appflaky", "", "retryns"))
            .file("vs.yaml", R"(apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: appflaky
  namespace: retryns
spec:
  hosts:
  - appflaky.retryns.svc.cluster.local
  http:
  - route:
    - destination:
        host: appflaky
        port:
          number: 80
    retries:
      attempts: 10
      perTryTimeout: 5ms
      retryOn: "5xx"
)")
            .build();
    const auto* host = snapshot.find_virtual_host("retryns", "appflaky", 80);
    ASSERT_NE(host, nullptr);
    ASSERT_EQ(host->routes.size(), 1u);
    EXPECT_EQ(host->routes[0].retries.attempts, 10u);
    EXPECT_EQ(host->routes[0].retries.on, model::RetryPolicy::on_5xx);
    EXPECT_EQ(host->routes[0].retries.per_try_timeout, Duration(std::chrono::milliseconds(5)));
    EXPECT_NE(host->routes[0].destinations[0].destination, nullptr);
}

TEST(Compile, ignores_routes_of_gateways_for_the_mesh) {
    Mesh mesh;
    const auto& snapshot = mesh.file("shop.yaml", shop)
                               .file("gateway.yaml", R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: frontend}
spec:
  hosts: ["*"]
  gateways: [ecommerce-gateway]
  http:
  - match: [{uri: {prefix: /}}]
    route: [{destination: {host: pricing, port: {number: 80}}}]
    timeout: 7s
)")
                               .build();
    EXPECT_FALSE(only_route(snapshot, "pricing").timeout);
    EXPECT_EQ(snapshot.find_virtual_host("default", "example.com", 80), nullptr);
}

const std::string subsets = R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pricing}
spec:
  host: pricing
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
  subsets:
  - {name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}
  - {name: v2, labels: {version: v2}}
)";
std::string to_subset(const std::string& subset) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: p}\nspec:\n"
           "  hosts: [pricing]\n  http:\n  - route: [{destination: {host: pricing, subset: " +
           subset + "}}]\n";
}

TEST(Compile, filters_endpoints_and_merges_policy_by_subset) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("dr.yaml", subsets).file("vs.yaml", to_subset("v1"));
    auto v1 = only_route(mesh.build(), "pricing").destinations[0].destination;
    EXPECT_EQ(v1->cluster_name, "outbound|80|v1|pricing.default.svc.cluster.local");
    EXPECT_EQ(v1->endpoints.size(), 1u);
    EXPECT_EQ(v1->policy.load_balancing, model::LoadBalancing::least_request);
    mesh.file("vs.yaml", to_subset("v2"));
    auto v2 = only_route(mesh.build(), "pricing").destinations[0].destination;
    EXPECT_EQ(v2->endpoints.size(), 0u);
    EXPECT_EQ(v2->policy.load_balancing, model::LoadBalancing::round_robin);
}

TEST(Compile, holds_a_route_that_names_an_unknown_subset_in_its_last_good_form) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("dr.yaml", subsets).file("vs.yaml", to_subset("v1")).build();
    mesh.file("vs.yaml", to_subset("v9"));
    EXPECT_EQ(only_route(mesh.build(), "pricing").destinations[0].destination->subset, "v1");
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::message, HasSubstr("no subset v9"))));
    mesh.file("vs.yaml", to_subset("v1")).build();
    mesh.remove("dr.yaml");
    auto kept = only_route(mesh.build(), "pricing").destinations[0].destination;
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(kept->endpoints.size(), 1u);
}

TEST(Compile, answers_503_for_a_subset_that_never_existed) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("vs.yaml", to_subset("v9"));
    const auto& route = only_route(mesh.build(), "pricing");
    EXPECT_EQ(route.destinations[0].destination, nullptr);
    EXPECT_EQ(route.weight_total, 1u);
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::code, "IST0101")));
}

TEST(Compile, keeps_the_last_good_version_of_a_broken_object) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("t.yaml", timeouts).build();
    std::string broken = timeouts;
    broken.replace(broken.find("timeout: 1s"), 11, "timeout: 0s");
    broken.replace(broken.find("timeout: 0.5s"), 13, "timeout: 0.7s");
    mesh.file("t.yaml", broken);
    const auto& snapshot = mesh.build();
    EXPECT_EQ(only_route(snapshot, "pricing").timeout, Duration(std::chrono::seconds(1)));
    EXPECT_EQ(only_route(snapshot, "inventory").timeout, Duration(std::chrono::milliseconds(700)));
    const auto* stored = mesh.store().find({"VirtualService", "default", "pricing"});
    ASSERT_NE(stored, nullptr);
    EXPECT_EQ(stored->state, ObjectState::held);
    ASSERT_FALSE(stored->findings.empty());
    EXPECT_EQ(stored->findings[0].path, "spec.http[0].timeout");
    EXPECT_EQ(stored->findings[0].line, 12);
}

TEST(Compile, puts_more_specific_matches_of_a_newer_object_first) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("t.yaml", timeouts).file("admin.yaml", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pricing-admin}
spec:
  hosts: [pricing.default.svc.cluster.local]
  http:
  - name: long
    match: [{uri: {prefix: /admin}}]
    route: [{destination: {host: pricing}}]
  - name: exact
    match: [{uri: {exact: /admin/x}}]
    route: [{destination: {host: pricing}}]
)");
    const auto* host = mesh.build().find_virtual_host("default", "pricing", 80);
    ASSERT_EQ(host->routes.size(), 3u);
    EXPECT_EQ(host->routes[0].name, "long");
    EXPECT_EQ(host->routes[1].name, "exact");
    EXPECT_TRUE(host->routes[2].matches.empty());
    EXPECT_EQ(host->routes[2].timeout, Duration(std::chrono::seconds(1)));
}

TEST(Compile, shows_private_rules_only_to_their_namespace) {
    Mesh mesh;
    mesh.file("shop.yaml", shop).file("private.yaml", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: slow, namespace: team}
spec:
  hosts: [pricing.default.svc.cluster.local]
  exportTo: ["."]
  http:
  - route: [{destination: {host: pricing.default.svc.cluster.local}}]
    timeout: 9s
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mine, namespace: team}
spec:
  host: inventory.default.svc.cluster.local
  trafficPolicy: {loadBalancer: {simple: RANDOM}}
)");
    const auto& snapshot = mesh.build();
    auto timeout_for = [&](const char* ns) {
        return snapshot.find_virtual_host(ns, "pricing.default", 80)->routes.at(0).timeout;
    };
    EXPECT_EQ(timeout_for("team"), Duration(std::chrono::seconds(9)));
    EXPECT_FALSE(timeout_for("default"));
    auto balancing_for = [&](const char* ns) {
        return snapshot.resolve_outbound(ns, *SocketAddress::parse("10.96.0.2:80"))
            .destination->policy.load_balancing;
    };
    EXPECT_EQ(balancing_for("team"), model::LoadBalancing::random);
    EXPECT_EQ(balancing_for("default"), model::LoadBalancing::least_request);
}

TEST(Compile, drops_endpoints_that_are_not_ready) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    EXPECT_EQ(only_route(mesh.build(), "pricing").destinations[0].destination->endpoints.size(),
              1u);
    std::string second = pod("pricing-2", "10.0.0.9", "app: pricing");
    mesh.file("two.yaml", second);
    EXPECT_EQ(only_route(mesh.build(), "pricing").destinations[0].destination->endpoints.size(),
              2u);
    std::string unready = second;
    unready.replace(unready.find("  phase: Running"),
                    16,
                    "  conditions: [{type: Ready, status: \"False\"}]\n  phase: Running");
    mesh.file("two.yaml", unready);
    EXPECT_EQ(only_route(mesh.build(), "pricing").destinations[0].destination->endpoints.size(),
              1u);
}

TEST(Compile, gives_the_same_snapshot_for_the_same_objects) {
    Mesh a;
    Mesh b;
    const auto& one = a.file("shop.yaml", shop).file("t.yaml", timeouts).build();
    const auto& two = b.file("shop.yaml", shop).file("t.yaml", timeouts).build();
    ASSERT_EQ(one.destinations().size(), two.destinations().size());
    for (std::size_t i = 0; i < one.destinations().size(); ++i) {
        EXPECT_EQ(one.destinations()[i]->key, two.destinations()[i]->key);
        EXPECT_EQ(one.destinations()[i]->cluster_name, two.destinations()[i]->cluster_name);
    }
}

}  // namespace
}  // namespace orlop::control
