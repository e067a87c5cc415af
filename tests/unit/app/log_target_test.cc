#include "daemon/app/log_target.h"
#include "daemon/control/compile.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::app {
namespace {

using testing::HasSubstr;

std::string pod(const std::string& name, int last, const std::string& owner) {
    return fmt::format(
        "apiVersion: v1\nkind: Pod\n"
        "metadata:\n  name: {0}\n  uid: {0}\n  labels: {{app: {1}}}\n"
        "  ownerReferences: [{{apiVersion: apps/v1, {2}, uid: o, controller: true}}]\n"
        "spec: {{nodeName: n1, containers: [{{name: c, image: i}}]}}\n"
        "status: {{phase: Running, podIP: 10.244.1.{3}, "
        "podIPs: [{{ip: 10.244.1.{3}}}]}}\n---\n",
        name,
        name.substr(0, name.find('-')),
        owner,
        last);
}

struct World {
    World() {
        std::string text = pod("shop-5d4-a", 1, "kind: ReplicaSet, name: shop-5d4") +
                           pod("shop-5d4-b", 2, "kind: ReplicaSet, name: shop-5d4") +
                           pod("shop-77f-c", 3, "kind: ReplicaSet, name: shop-77f") +
                           pod("load-x", 4, "kind: Job, name: load") +
                           "apiVersion: v1\nkind: Service\nmetadata: {name: front}\n"
                           "spec: {clusterIP: 10.96.0.1, selector: {app: shop}, "
                           "ports: [{port: 80, name: http}]}\n";
        store.replace_source("a.yaml", control::decode_text(text, {.file = "a.yaml"}), 1);
        snapshot = control::compile(store, {.node = "n1", .generation = 1}).snapshot;
    }
    std::string addresses(std::string_view written) {
        auto found = log_addresses(store, *snapshot, log_target(written, "default"));
        if (!found) {
            return found.error().context;
        }
        std::string text;
        for (const IpAddress& address : *found) {
            text += address.to_string().substr(std::string("10.244.1.").size());
        }
        return text;
    }
    control::ObjectStore store;
    model::SnapshotPtr snapshot;
};

TEST(LogTarget, a_pod_a_workload_or_a_service_names_its_pods) {
    World world;
    struct Row {
        std::string_view written;
        std::string_view last_digits;
    };
    const Row rows[] = {
        {"load-x", "4"},
        {"default/load-x", "4"},
        {"pod/load-x", "4"},
        {"default/pod/load-x", "4"},
        {"deployment/shop", "123"},
        {"deploy/shop", "123"},
        {"default/deployment/shop", "123"},
        {"rs/shop-5d4", "12"},
        {"job/load", "4"},
        {"svc/front", "123"},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(world.addresses(row.written), row.last_digits) << row.written;
    }
}

TEST(LogTarget, says_what_it_takes_and_what_it_did_not_find) {
    World world;
    EXPECT_THAT(world.addresses("shop"), HasSubstr("no pod \"default/shop\" is known here"));
    EXPECT_THAT(world.addresses("deployment/load"),
                HasSubstr("no pod of deployment \"default/load\" is known here"));
    EXPECT_THAT(world.addresses("svc/none"), HasSubstr("no pod of svc"));
    EXPECT_THAT(world.addresses("other/deployment/shop"), HasSubstr("\"other/shop\""));
    EXPECT_THAT(world.addresses("default/cronjob/load"), HasSubstr("want pod, deployment"));
    EXPECT_THAT(world.addresses("a/b/c/d"), HasSubstr("NAMESPACE/KIND/NAME"));
}

}  // namespace
}  // namespace orlop::app
