#include "daemon/app/api_apply.h"
#include "daemon/control/config_directory.h"
#include "tests/unit/app/scratch_directory.h"

#include <gtest/gtest.h>

namespace orlop::app {
namespace {

constexpr const char* timeout_yaml = R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: pricing
spec:
  hosts: [pricing]
  http:
  - timeout: 1s
    route:
    - destination: {host: pricing}
)";

struct Config {
    Config() : watched(*control::ConfigDirectory::open({.path = scratch.path()})) { scan(); }
    void scan() { watched.scan(store); }
    ApplyPlan apply(const std::string& text, std::int64_t now_ns = 1000) {
        ApplyPlan plan = plan_apply(store, scratch.path(), {text, "given.yaml"}, now_ns);
        if (plan.refusals.empty()) {
            EXPECT_TRUE(carry_out(plan));
        }
        scan();
        return plan;
    }
    ApplyPlan remove(const control::ObjectKey& key) {
        ApplyPlan plan = plan_delete(store, scratch.path(), key);
        if (plan.refusals.empty()) {
            EXPECT_TRUE(carry_out(plan));
        }
        scan();
        return plan;
    }

    ScratchDirectory scratch;
    control::ObjectStore store;
    control::ConfigDirectory watched;
};

const control::ObjectKey pricing{"VirtualService", "default", "pricing"};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
}

TEST(Apply, writes_each_object_to_a_file_of_its_own) {
    Config config;
    auto plan = config.apply(timeout_yaml);
    ASSERT_TRUE(plan.refusals.empty()) << plan.refusals.front().to_string();
    ASSERT_EQ(plan.changes.size(), 1u);
    EXPECT_EQ(plan.changes[0].action, "created");
    EXPECT_EQ(config.scratch.files(), 1u);
    const auto* stored = config.store.find(pricing);
    ASSERT_NE(stored, nullptr);
    EXPECT_EQ(stored->source, config.scratch.path() + "/virtualservice-default-pricing.yaml");
    EXPECT_EQ(stored->state, control::ObjectState::accepted);
    EXPECT_EQ(stored->created_ns, 1000);
}

TEST(Apply, says_unchanged_and_writes_nothing_the_second_time) {
    Config config;
    config.apply(timeout_yaml, 1000);
    auto plan = config.apply(timeout_yaml, 2000);
    ASSERT_EQ(plan.changes.size(), 1u);
    EXPECT_EQ(plan.changes[0].action, "unchanged");
    EXPECT_TRUE(plan.changes[0].path.empty());
}

TEST(Apply, keeps_the_time_of_creation_over_changes) {
    Config config;
    config.apply(timeout_yaml, 1000);
    auto plan = config.apply(replaced(timeout_yaml, "1s", "2s"), 9000);
    EXPECT_EQ(plan.changes.at(0).action, "configured");
    EXPECT_EQ(config.store.find(pricing)->created_ns, 1000);
    EXPECT_NE(config.scratch.read("virtualservice-default-pricing.yaml").find("2s"),
              std::string::npos);
}

TEST(Apply, gives_the_documents_of_one_request_their_order) {
    Config config;
    std::string two = std::string(timeout_yaml) + "---\n" +
                      replaced(timeout_yaml, "name: pricing", "name: another");
    config.apply(two, 1000);
    auto order = config.store.in_creation_order("VirtualService");
    ASSERT_EQ(order.size(), 2u);
    EXPECT_EQ(order[0]->key.name, "pricing");
    EXPECT_EQ(order[1]->key.name, "another");
}

TEST(Apply, puts_objects_into_the_namespace_of_the_request) {
    Config config;
    auto plan =
        plan_apply(config.store, config.scratch.path(), {timeout_yaml, "given.yaml", "shop"}, 1);
    ASSERT_EQ(plan.changes.size(), 1u);
    EXPECT_EQ(plan.changes[0].key.ns, "shop");
    ASSERT_TRUE(carry_out(plan));
    config.scan();
    EXPECT_NE(config.store.find({"VirtualService", "shop", "pricing"}), nullptr);
}

TEST(Apply, takes_lists_apart) {
    Config config;
    auto plan = config.apply(R"({"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}},
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}]})");
    EXPECT_EQ(plan.changes.size(), 2u);
    EXPECT_EQ(config.scratch.files(), 2u);
}

TEST(Apply, leaves_kinds_that_are_not_the_meshs_alone) {
    Config config;
    auto plan = config.apply("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");
    ASSERT_EQ(plan.changes.size(), 1u);
    EXPECT_EQ(plan.changes[0].action, "ignored");
    EXPECT_EQ(plan.changes[0].key.name, "web");
    EXPECT_EQ(config.scratch.files(), 0u);
}

TEST(Apply, refuses_the_whole_request_when_one_document_is_wrong) {
    struct Case {
        const char* what;
        std::string text;
        const char* expected;
    };
    std::string good(timeout_yaml);
    const Case cases[] = {
        {"broken YAML", good + "---\n{", "given.yaml"},
        {"unknown kind",
         good + "---\napiVersion: v1\nkind: Nothing\nmetadata: {name: x}\n",
         "Nothing"},
        {"wrong field",
         good + "---\n" + replaced(replaced(good, "1s", "soon"), "name: pricing", "name: other"),
         "timeout"},
        {"twin", good + "---\n" + good, "twice"},
        {"empty", "", "no object"},
        {"sandbox",
         "apiVersion: orlop.dev/v1\nkind: PodSandbox\nmetadata: {name: x, uid: u}\n"
         "spec: {netns: /proc/1/ns/net, cgroup: /sys/fs/cgroup}\n",
         "PodSandbox"},
        {"path in a name", replaced(good, "name: pricing", "name: ../../etc/passwd"), "name"},
        {"path in a namespace",
         replaced(good, "name: pricing", "name: p\n  namespace: ../x"),
         "namespace"},
    };
    for (const Case& one : cases) {
        Config config;
        auto plan = config.apply(one.text);
        ASSERT_FALSE(plan.refusals.empty()) << one.what;
        std::string all;
        for (const auto& finding : plan.refusals) {
            all += finding.to_string() + "\n";
        }
        EXPECT_NE(all.find(one.expected), std::string::npos) << one.what << ": " << all;
        EXPECT_EQ(config.scratch.files(), 0u) << one.what;
    }
}

TEST(Apply, leaves_files_that_people_wrote_to_them) {
    Config config;
    std::string path = config.scratch.write("mine.yaml", timeout_yaml);
    config.scan();
    auto plan = config.apply(replaced(timeout_yaml, "1s", "2s"));
    ASSERT_EQ(plan.refusals.size(), 1u);
    EXPECT_NE(plan.refusals[0].to_string().find(path), std::string::npos);
    EXPECT_EQ(config.scratch.read("mine.yaml"), timeout_yaml);
    auto removal = config.remove(pricing);
    ASSERT_EQ(removal.refusals.size(), 1u);
    EXPECT_NE(removal.refusals[0].to_string().find(path), std::string::npos);
    EXPECT_EQ(config.scratch.files(), 1u);
}

TEST(Apply, does_not_take_a_hand_written_file_for_its_own_by_name) {
    Config config;
    config.scratch.write("virtualservice-default-pricing.yaml", timeout_yaml);
    config.scan();
    EXPECT_FALSE(config.apply(replaced(timeout_yaml, "1s", "2s")).refusals.empty());
}

TEST(Apply, goes_on_with_the_file_that_a_lab_without_a_mesh_stored) {
    Config config;
    config.scratch.write("lab-virtualservice-default-pricing.yaml", timeout_yaml);
    config.scan();
    auto plan = config.apply(replaced(timeout_yaml, "1s", "2s"));
    ASSERT_TRUE(plan.refusals.empty());
    EXPECT_EQ(plan.changes.at(0).action, "configured");
    EXPECT_EQ(config.scratch.files(), 1u);
    EXPECT_TRUE(config.store.find(pricing)->findings.empty());
}

TEST(Apply, leaves_what_the_lab_runs_to_the_lab) {
    Config config;
    config.scratch.write("lab-namespace-shop.yaml",
                         "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    config.scan();
    auto plan = config.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    ASSERT_EQ(plan.refusals.size(), 1u);
    EXPECT_NE(plan.refusals[0].to_string().find("lab apply"), std::string::npos);
}

TEST(Delete, removes_the_file_and_says_what_is_absent) {
    Config config;
    config.apply(timeout_yaml);
    EXPECT_EQ(config.remove(pricing).changes.at(0).action, "deleted");
    EXPECT_EQ(config.scratch.files(), 0u);
    EXPECT_EQ(config.store.find(pricing), nullptr);
    EXPECT_EQ(config.remove(pricing).changes.at(0).action, "not found");
}

TEST(Delete, needs_only_the_names_of_a_document) {
    Config config;
    config.apply(timeout_yaml);
    auto plan = plan_delete(config.store,
                            config.scratch.path(),
                            ApplyRequest{"apiVersion: networking.istio.io/v1\n"
                                         "kind: VirtualService\nmetadata: {name: pricing}\n"
                                         "spec: {nonsense: 1}\n"});
    ASSERT_TRUE(plan.refusals.empty());
    EXPECT_EQ(plan.changes.at(0).action, "deleted");
}

TEST(Kinds, are_known_by_every_spelling_of_kubectl) {
    struct Case {
        const char* word;
        const char* kind;
    };
    for (const Case& one : {Case{"vs", "VirtualService"},
                            {"virtualservices", "VirtualService"},
                            {"VirtualService", "VirtualService"},
                            {"DR", "DestinationRule"},
                            {"pa", "PeerAuthentication"},
                            {"svc", "Service"},
                            {"nonsense", ""},
                            {"", ""}}) {
        EXPECT_EQ(canonical_kind(one.word), one.kind) << one.word;
    }
}

}  // namespace
}  // namespace orlop::app
