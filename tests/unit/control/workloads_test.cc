#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <gtest/gtest.h>

namespace orlop::control {
namespace {

model::SnapshotPtr build(const std::vector<std::string>& texts) {
    ObjectStore store;
    std::int64_t clock = 0;
    for (const std::string& text : texts) {
        ++clock;
        store.replace_source("f" + std::to_string(clock),
                             decode_text(text, {.file = "f", .origin = Origin::sandbox}),
                             clock);
    }
    return compile(store, {.node = "n1", .generation = 1}).snapshot;
}

std::string pod(const std::string& meta, const std::string& spec = "") {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a, uid: u, " + meta +
           "}\nspec: {nodeName: n1, " + spec + "}\nstatus: {podIP: 10.0.0.1, hostIP: 10.9.9.9}\n";
}

const model::Workload& only(const model::SnapshotPtr& snapshot) {
    return *snapshot->workloads().at(0);
}

TEST(Enrolment, follows_labels_of_namespace_and_pod) {
    struct Row {
        std::string ns_labels;
        std::string pod_labels;
        std::string pod_spec;
        std::string mesh;
        bool wanted;
    };
    const std::string mode = "istio.io/dataplane-mode";
    const Row table[] = {
        {"", "", "", "", false},
        {mode + ": orlop", "", "", "", true},
        {"", mode + ": orlop", "", "", true},
        {mode + ": orlop", mode + ": none", "", "", false},
        {mode + ": ambient", "", "", "", false},
        {mode + ": ambient", "", "", "dataplaneMode: ambient", true},
        {mode + ": orlop", "", "hostNetwork: true", "", false},
        {"istio-injection: enabled", "", "", "", false},
        {"istio-injection: enabled", "", "", "injectionLabelEnrols: true", true},
        {"istio-injection: enabled",
         "sidecar.istio.io/inject: 'false'",
         "",
         "injectionLabelEnrols: true",
         false},
        {"istio.io/rev: asm-1-22", "", "", "", false},
        {"istio.io/rev: asm-1-22", "", "", "revisions: [asm-1-22]", true},
        {"istio.io/rev: asm-1-22", "", "", "revisions: ['*']", true},
        {"istio.io/rev: asm-1-22", "", "", "revisions: [other]", false},
        {"istio.io/rev: asm-1-22", mode + ": none", "", "revisions: ['*']", false},
    };
    for (const Row& row : table) {
        auto snapshot =
            build({"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {" +
                       row.ns_labels + "}}",
                   "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\nspec: {" +
                       row.mesh + "}",
                   pod("labels: {" + row.pod_labels + "}", row.pod_spec)});
        EXPECT_EQ(only(snapshot).enrol_wanted, row.wanted)
            << row.ns_labels << " | " << row.pod_labels << " | " << row.mesh;
    }
}

TEST(PeerAuthentication, resolves_mesh_namespace_workload_and_port) {
    auto policy = [](const std::string& ns, const std::string& spec, const char* name = "d") {
        return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " +
               std::string(name) + ", namespace: " + ns + "}\nspec: {" + spec + "}\n";
    };
    using model::MtlsMode;
    const std::string strict = "mtls: {mode: STRICT}";
    const std::string disable = "mtls: {mode: DISABLE}";
    const std::string mine = "selector: {matchLabels: {app: x}}, ";
    struct Row {
        std::vector<std::string> policies;
        MtlsMode mode;
        MtlsMode port_80;
    };
    const Row table[] = {
        {{}, MtlsMode::permissive, MtlsMode::permissive},
        {{policy("istio-system", strict)}, MtlsMode::strict, MtlsMode::strict},
        {{policy("istio-system", strict), policy("a", disable)},
         MtlsMode::disable,
         MtlsMode::disable},
        {{policy("istio-system", strict), policy("a", "mtls: {mode: UNSET}")},
         MtlsMode::strict,
         MtlsMode::strict},
        {{policy("a", strict), policy("a", disable, "e")}, MtlsMode::strict, MtlsMode::strict},
        {{policy("b", strict)}, MtlsMode::permissive, MtlsMode::permissive},
        {{policy("a", disable), policy("a", mine + strict, "w")},
         MtlsMode::strict,
         MtlsMode::strict},
        {{policy("a", "selector: {matchLabels: {app: y}}, " + strict)},
         MtlsMode::permissive,
         MtlsMode::permissive},
        {{policy("istio-system", mine + strict)}, MtlsMode::permissive, MtlsMode::permissive},
        {{policy("a", mine + strict + ", portLevelMtls: {80: {mode: DISABLE}}")},
         MtlsMode::strict,
         MtlsMode::disable},
        {{policy("a", mine + strict + ", portLevelMtls: {80: {mode: UNSET}}")},
         MtlsMode::strict,
         MtlsMode::strict},
        {{policy("a", mine + "portLevelMtls: {80: {mode: STRICT}}")},
         MtlsMode::permissive,
         MtlsMode::strict},
    };
    for (std::size_t i = 0; i < std::size(table); ++i) {
        std::vector<std::string> texts = table[i].policies;
        texts.push_back(pod("labels: {app: x}"));
        auto snapshot = build(texts);
        EXPECT_EQ(only(snapshot).mtls, table[i].mode) << i;
        EXPECT_EQ(only(snapshot).mtls_of(80), table[i].port_80) << i;
    }
}

TEST(Workload, learns_what_surrounds_its_pod) {
    auto snapshot = build(
        {pod("labels: {app: x, version: v2}, annotations: "
             "{traffic.sidecar.istio.io/excludeOutboundPorts: '3306, 22', "
             "traffic.sidecar.istio.io/excludeOutboundIPRanges: '10.1.0.0/16'}, "
             "ownerReferences: [{kind: ReplicaSet, name: shop-front-5d9c7, controller: true}]",
             "serviceAccountName: teller, containers: [{name: c, ports: [{name: web, "
             "containerPort: 8080}], readinessProbe: {httpGet: {port: web}}, livenessProbe: "
             "{tcpSocket: {port: 9000}}}]"),
         "apiVersion: orlop.dev/v1\nkind: NodeStatus\nmetadata: {name: n1}\n"
         "spec: {node: n1, redirected: [u]}\n",
         "apiVersion: orlop.dev/v1\nkind: PodSandbox\nmetadata: {name: p, namespace: a, uid: u}\n"
         "spec: {netns: /run/netns/p, cgroup: /sys/fs/cgroup/p}\n",
         "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: "
         "a}\nspec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [x]}]}}\n"});
    const model::Workload& workload = only(snapshot);
    EXPECT_EQ(workload.identity.to_string(), "spiffe://cluster.local/ns/a/sa/teller");
    EXPECT_EQ(workload.workload_name, "shop-front");
    EXPECT_EQ(workload.canonical_name, "x");
    EXPECT_EQ(workload.canonical_revision, "v2");
    EXPECT_EQ(workload.probe_ports, (std::vector<std::uint16_t>{8080, 9000}));
    EXPECT_EQ(workload.exclusions.outbound_ports, (std::vector<std::uint16_t>{22, 3306}));
    EXPECT_EQ(workload.exclusions.outbound_ranges.size(), 1u);
    EXPECT_TRUE(workload.redirected);
    EXPECT_TRUE(workload.local);
    EXPECT_TRUE(workload.network_policy_selected);
    EXPECT_EQ(workload.netns, "/run/netns/p");
    EXPECT_EQ(workload.cgroup, "/sys/fs/cgroup/p");
    EXPECT_TRUE(snapshot->is_node_address(*IpAddress::parse("10.9.9.9")));
}

TEST(Exclusions, annotations_that_do_not_act_are_told_of) {
    struct Row {
        const char* annotation;
        bool told;
    };
    const Row table[] = {
        {"ambient.istio.io/bypass-inbound-capture: 'true'", true},
        {"ambient.istio.io/bypass-inbound-capture: 'false'", false},
        {"traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8", true},
        {"traffic.sidecar.istio.io/includeOutboundIPRanges: '*'", false},
        {"traffic.sidecar.istio.io/includeInboundPorts: '80'", true},
    };
    for (const Row& row : table) {
        ObjectStore store;
        std::string text = pod(std::string("annotations: {") + row.annotation + "}");
        store.replace_source("a.yaml", decode_text(text, {.file = "a.yaml"}), 1);
        auto result = compile(store, {.node = "n1", .generation = 1});
        ASSERT_EQ(result.findings.size(), row.told ? 1u : 0u) << row.annotation;
        if (row.told) {
            EXPECT_EQ(result.findings[0].code, "ORL003");
        }
    }
}

}  // namespace
}  // namespace orlop::control
