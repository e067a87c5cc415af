// What MeshConfig sets for every destination.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

constexpr const char* shop = R"(apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: shop}, ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop], http: [{route: [{destination: {host: shop}}]}]}
---
)";

const char* mesh = R"(apiVersion: orlop.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec: {localityLbSetting: {failover: [{from: eu, to: us}]}}
---
)";

std::string rule(const std::string& balancer) {
    return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\n"
           "spec: {host: shop, trafficPolicy: {loadBalancer: " +
           balancer + "}}\n";
}

std::optional<model::LocalityLb> locality_of_shop(const std::string& text) {
    ObjectStore store;
    store.replace_source("a.yaml", decode_text(text, {.file = "a.yaml"}), 1);
    auto snapshot = compile(store, {.node = "n1", .generation = 1}).snapshot;
    for (const auto& destination : snapshot->destinations()) {
        if (destination->cluster_name == "outbound|80||shop.default.svc.cluster.local") {
            return destination->policy.locality_lb;
        }
    }
    ADD_FAILURE() << "no destination";
    return std::nullopt;
}

TEST(MeshConfig, its_locality_setting_holds_where_a_rule_says_nothing_of_it) {
    EXPECT_EQ(locality_of_shop(shop), std::nullopt);
    for (const std::string& text :
         {std::string(shop) + mesh, std::string(shop) + mesh + rule("{simple: RANDOM}")}) {
        auto of_mesh = locality_of_shop(text);
        ASSERT_TRUE(of_mesh);
        ASSERT_EQ(of_mesh->failover.size(), 1u);
        EXPECT_EQ(of_mesh->failover[0].to, "us");
    }
}

TEST(MeshConfig, a_rules_locality_setting_replaces_that_of_the_mesh_whole) {
    auto of_rule =
        locality_of_shop(std::string(shop) + mesh + rule("{localityLbSetting: {enabled: false}}"));
    ASSERT_TRUE(of_rule);
    EXPECT_FALSE(of_rule->enabled);
    EXPECT_TRUE(of_rule->failover.empty());
}

TEST(MeshConfig, a_locality_setting_is_validated_as_that_of_a_rule) {
    auto decoded =
        decode_text("apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
                    "spec: {localityLbSetting: {distribute: [{from: eu, to: {us: 5}}]}}\n",
                    {.file = "m.yaml"});
    ASSERT_EQ(decoded.objects.size(), 1u);
    EXPECT_EQ(decoded.objects[0].object, nullptr);
    EXPECT_THAT(decoded.objects[0].findings.at(0).to_string(),
                testing::HasSubstr("spec.localityLbSetting.distribute[0].to"));
}

}  // namespace
}  // namespace orlop::control
