#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "daemon/model/authorization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using model::Attribute;
using model::TextForm;

std::string policy(const std::string& spec,
                   const std::string& ns = "shop",
                   const std::string& name = "p",
                   const std::string& meta = "") {
    return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name +
           ", namespace: " + ns + meta + "}\nspec:\n" + spec;
}

CompileResult build(const std::vector<std::string>& texts) {
    ObjectStore store;
    std::int64_t clock = 0;
    for (const std::string& text : texts) {
        ++clock;
        store.replace_source("f" + std::to_string(clock),
                             decode_text(text, {.file = "f", .origin = Origin::sandbox}),
                             clock);
    }
    return compile(store, {.node = "n1", .generation = 1});
}

std::string pod(const std::string& name, const std::string& ns, const std::string& labels) {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: " + ns +
           ", uid: " + ns + name + ", labels: {istio.io/dataplane-mode: orlop, " + labels +
           "}}\nspec: {nodeName: n1}\n";
}

const model::Workload& named(const model::SnapshotPtr& snapshot, const std::string& uid) {
    return *snapshot->find_workload_uid(uid);
}

std::vector<std::string> names(const std::vector<model::AuthorizationPolicyPtr>& policies) {
    std::vector<std::string> out;
    for (const auto& one : policies) {
        out.push_back(one->source->ns + "/" + one->source->name);
    }
    return out;
}

struct RefusedPolicy {
    std::string spec;
    std::string path;
    std::string says;
};

std::vector<RefusedPolicy> refused_sources() {
    auto source = [](const std::string& fields) {
        return "  rules:\n  - from:\n    - source: {" + fields + "}\n";
    };
    const std::string at_source = "spec.rules[0].from[0].source";
    return {
        {"  action: CUSTOM\n  provider: {name: ext}\n  rules: [{}]\n", "spec.action", "external"},
        {"  action: REFUSE\n", "spec.action", "REFUSE"},
        {"  provider: {name: ext}\n", "spec.provider", "CUSTOM"},
        {"  action: DENY\n", "spec", "never matches"},
        {"  action: AUDIT\n", "spec", "never matches"},
        {"  rules:\n  - from: []\n", "spec.rules[0].from", "cannot be empty"},
        {"  rules:\n  - to: []\n", "spec.rules[0].to", "cannot be empty"},
        {"  rules:\n  - from: [{}]\n", "spec.rules[0].from[0]", "source"},
        {"  rules:\n  - to: [{}]\n", "spec.rules[0].to[0]", "operation"},
        {"  rules:\n  - frm: [{}]\n", "spec.rules[0].frm", "unknown"},
        {source(""), at_source, "at least one field"},
        {source("principals: []"), at_source + ".principals", "must not be empty"},
        {source("principals: ['']"), at_source + ".principals[0]", "not empty"},
        {source("principals: [spiffe://cluster.local/ns/a/sa/b]"),
         at_source + ".principals[0]",
         "without spiffe://"},
        {source("requestPrincipals: ['*']"), at_source + ".requestPrincipals", "tokens"},
        {source("notRequestPrincipals: ['*']"), at_source + ".notRequestPrincipals", "tokens"},
        {source("remoteIpBlocks: [10.0.0.0/8]"), at_source + ".remoteIpBlocks", "own claim"},
        {source("ipBlocks: [10.0.0.0/33]"), at_source + ".ipBlocks[0]", "CIDR"},
        {source("ipBlocks: [here]"), at_source + ".ipBlocks[0]", "CIDR"},
        {source("serviceAccounts: [a/b], namespaces: [a]"), at_source, "together"},
        {source("serviceAccounts: ['a/*']"), at_source + ".serviceAccounts[0]", "service account"},
    };
}

std::vector<RefusedPolicy> refused_operations() {
    auto operation = [](const std::string& fields) {
        return "  rules:\n  - to:\n    - operation: {" + fields + "}\n";
    };
    auto when = [](const std::string& fields) {
        return "  rules:\n  - when:\n    - {" + fields + "}\n";
    };
    const std::string at_operation = "spec.rules[0].to[0].operation";
    const std::string at_when = "spec.rules[0].when[0]";
    return {
        {operation(""), at_operation, "at least one field"},
        {operation("ports: ['0']"), at_operation + ".ports[0]", "1..65535"},
        {operation("ports: ['80x']"), at_operation + ".ports[0]", "1..65535"},
        {operation("ports: [80]"), at_operation + ".ports[0]", "text"},
        {operation("paths: ['/a/{b}']"), at_operation + ".paths[0]", "plain text"},
        {operation("paths: ['/a/{*}.txt']"), at_operation + ".paths[0]", "plain text"},
        {operation("paths: ['/{**}/{*}']"), at_operation + ".paths[0]", "last operator"},
        {operation("paths: ['a/{*}']"), at_operation + ".paths[0]", "start with /"},
        {operation("paths: ['/{*}/{*}/{*}/{*}/{*}/{*}']"),
         at_operation + ".paths[0]",
         "more than 5"},
        {when("values: [a]"), at_when + ".key", "cannot be empty"},
        {when("key: source.ip"), at_when, "must be set"},
        {when("key: source.ip, values: [x]"), at_when + ".values[0]", "CIDR"},
        {when("key: sauce.ip, values: [x]"), at_when + ".key", "unknown attribute"},
        {when("key: 'request.auth.claims[iss]', values: [x]"), at_when + ".key", "tokens"},
        {when("key: remote.ip, values: [10.0.0.0/8]"), at_when + ".key", "own claim"},
        {when("key: connection.sni, values: [x]"), at_when + ".key", "not supported"},
        {"  selector: {matchLabels: {a: b}}\n  targetRefs: [{kind: Service, name: x}]\n",
         "spec.selector",
         "only one"},
        {"  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: x}]\n",
         "spec.targetRefs[0].kind",
         "waypoints"},
    };
}

TEST(AuthorizationPolicy, refuses_what_is_wrong_or_cannot_be_enforced) {
    auto table = refused_sources();
    std::ranges::move(refused_operations(), std::back_inserter(table));
    for (const RefusedPolicy& row : table) {
        auto decoded = decode_text(policy(row.spec), {.file = "f"});
        ASSERT_EQ(decoded.objects.size(), 1u);
        EXPECT_EQ(decoded.objects[0].object, nullptr) << row.spec;
        ASSERT_FALSE(decoded.objects[0].findings.empty()) << row.spec;
        const Finding& first = decoded.objects[0].findings[0];
        EXPECT_EQ(first.path, row.path) << row.spec;
        EXPECT_THAT(first.message, testing::HasSubstr(row.says)) << row.spec;
        EXPECT_GT(first.line, 0) << row.spec;
    }
}

TEST(AuthorizationPolicy, dry_run_annotation_is_true_or_false) {
    auto with = [](const std::string& value) {
        auto decoded = decode_text(
            policy("  {}\n", "shop", "p", ", annotations: {istio.io/dry-run: '" + value + "'}"),
            {.file = "f"});
        return decoded.objects.at(0).object;
    };
    ASSERT_NE(with("true"), nullptr);
    EXPECT_TRUE(std::get<AuthorizationPolicySpec>(with("true")->spec).policy->dry_run);
    ASSERT_NE(with("false"), nullptr);
    EXPECT_FALSE(std::get<AuthorizationPolicySpec>(with("false")->spec).policy->dry_run);
    EXPECT_EQ(with("maybe"), nullptr);
}

TEST(AuthorizationPolicy, versions_have_one_meaning) {
    for (const char* version : {"v1", "v1beta1"}) {
        auto decoded = decode_text("apiVersion: security.istio.io/" + std::string(version) +
                                       "\nkind: AuthorizationPolicy\nmetadata: {name: p}\n"
                                       "spec: {}\n",
                                   {.file = "f"});
        ASSERT_EQ(decoded.objects.size(), 1u);
        ASSERT_NE(decoded.objects[0].object, nullptr) << version;
        const auto& spec = std::get<AuthorizationPolicySpec>(decoded.objects[0].object->spec);
        EXPECT_EQ(spec.policy->action, model::AuthorizationAction::allow);
        EXPECT_TRUE(spec.policy->rules.empty());
    }
}

TEST(AuthorizationPolicy, every_field_becomes_a_condition) {
    auto decoded = decode_text(policy(R"(
  action: DENY
  rules:
  - from:
    - source:
        principals: ["cluster.local/ns/a/sa/b", "*/sa/c"]
        notNamespaces: [x]
        ipBlocks: [10.1.2.3]
        notIpBlocks: [10.1.0.0/16]
    - source: {serviceAccounts: [bank/teller, teller]}
    to:
    - operation:
        hosts: ["*.Example.com"]
        notPorts: ["9090"]
        methods: [GET]
        paths: ["/a/{*}/{**}", /b*]
    when:
    - {key: "request.headers[X-Role]", values: [admin], notValues: [guest]}
    - {key: destination.port, values: ["80"]}
)"),
                               {.file = "f"});
    ASSERT_EQ(decoded.objects.size(), 1u);
    ASSERT_NE(decoded.objects[0].object, nullptr) << decoded.objects[0].findings[0].to_string();
    const auto& rules =
        std::get<AuthorizationPolicySpec>(decoded.objects[0].object->spec).policy->rules;
    ASSERT_EQ(rules.size(), 1u);
    EXPECT_EQ(rules[0].details, "rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[0]]");
    ASSERT_EQ(rules[0].from.size(), 2u);
    const model::Clause& source = rules[0].from[0];
    ASSERT_EQ(source.size(), 3u);
    EXPECT_EQ(source[0].attribute, Attribute::principal);
    EXPECT_EQ(source[0].any[1].kind, TextForm::Kind::suffix);
    EXPECT_EQ(source[1].none[0].text, "x");
    EXPECT_EQ(source[2].any_blocks[0].to_string(), "10.1.2.3/32");
    EXPECT_EQ(source[2].none_blocks[0].to_string(), "10.1.0.0/16");
    EXPECT_EQ(rules[0].from[1][0].any[0].text, "bank/teller");
    EXPECT_EQ(rules[0].from[1][0].any[1].text, "shop/teller");
    const model::Clause& operation = rules[0].to[0];
    ASSERT_EQ(operation.size(), 4u);
    EXPECT_TRUE(operation[0].any[0].ignore_case);
    EXPECT_EQ(operation[1].none_ports[0], 9090);
    EXPECT_EQ(operation[3].any[0].segments, (std::vector<std::string>{"a", "{*}", "{**}"}));
    EXPECT_EQ(operation[3].any[1].kind, TextForm::Kind::prefix);
    ASSERT_EQ(rules[0].when.size(), 2u);
    EXPECT_EQ(rules[0].when[0].header, "x-role");
    EXPECT_EQ(rules[0].when[0].none[0].text, "guest");
}

TEST(AuthorizationPolicy, applies_by_root_namespace_namespace_selector_and_target) {
    auto snapshot =
        build(
            {
                pod("a", "shop", "app: a"),
                pod("b", "shop", "app: b"),
                pod("c", "bank", "app: a"),
                "apiVersion: v1\nkind: Service\nmetadata: {name: svc, namespace: shop}\n"
                "spec: {selector: {app: b}, ports: [{port: 80}]}\n",
                policy("  {}\n", "istio-system", "mesh-wide"),
                policy("  {}\n", "shop", "whole-namespace"),
                policy("  selector: {matchLabels: {app: a}}\n", "shop", "selected"),
                policy("  selector: {matchLabels: {app: a}}\n", "istio-system", "selected-in-mesh"),
                policy("  targetRefs: [{kind: Service, name: svc}]\n", "shop", "targeted"),
                policy("  action: DENY\n  rules: [{}]\n", "bank", "closed"),
            })
            .snapshot;
    auto allow_of = [&](const std::string& uid) {
        return names(named(snapshot, uid).authorization->allow);
    };
    EXPECT_THAT(allow_of("shopa"),
                testing::UnorderedElementsAre("istio-system/mesh-wide",
                                              "istio-system/selected-in-mesh",
                                              "shop/whole-namespace",
                                              "shop/selected"));
    EXPECT_THAT(allow_of("shopb"),
                testing::UnorderedElementsAre(
                    "istio-system/mesh-wide", "shop/whole-namespace", "shop/targeted"));
    EXPECT_THAT(
        allow_of("bankc"),
        testing::UnorderedElementsAre("istio-system/mesh-wide", "istio-system/selected-in-mesh"));
    EXPECT_THAT(names(named(snapshot, "bankc").authorization->deny),
                testing::UnorderedElementsAre("bank/closed"));
}

TEST(AuthorizationPolicy, costs_nothing_where_none_applies) {
    auto snapshot = build({pod("a", "shop", "app: a"),
                           pod("b", "shop", "app: b"),
                           policy("  {}\n", "bank", "other"),
                           policy("  selector: {matchLabels: {app: b}}\n")})
                        .snapshot;
    EXPECT_EQ(named(snapshot, "shopa").authorization, nullptr);
    EXPECT_NE(named(snapshot, "shopb").authorization, nullptr);
}

TEST(AuthorizationPolicy, principals_follow_the_trust_domain_and_its_aliases) {
    auto snapshot =
        build({"apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
               "spec: {trustDomain: new.example, trustDomainAliases: [old.example]}\n",
               pod("a", "shop", "app: a"),
               policy("  rules:\n  - from:\n    - source:\n        principals: "
                      "[old.example/ns/a/sa/b, cluster.local/ns/*, other.example/ns/a/sa/b]\n")})
            .snapshot;
    const auto& all = *named(snapshot, "shopa").authorization;
    EXPECT_EQ(all.trust_domain, "new.example");
    EXPECT_EQ(all.trust_domain_aliases, (std::vector<std::string>{"old.example"}));
    const auto& forms = all.allow.at(0)->rules.at(0).from.at(0).at(0).any;
    EXPECT_EQ(forms.at(0).text, "new.example/ns/a/sa/b");
    EXPECT_EQ(forms.at(1).text, "new.example/ns/");
    EXPECT_EQ(forms.at(2).text, "other.example/ns/a/sa/b");
}

TEST(AuthorizationPolicy, says_when_it_protects_nothing) {
    auto findings = build({pod("a", "shop", "app: a"),
                           "apiVersion: v1\nkind: Pod\nmetadata: {name: out, namespace: shop, uid: "
                           "o, labels: {app: out}}\nspec: {nodeName: n1}\n",
                           policy("  selector: {matchLabels: {app: typo}}\n", "shop", "unused"),
                           policy("  selector: {matchLabels: {app: out}}\n", "shop", "outside")})
                        .findings;
    std::string text;
    for (const Finding& finding : findings) {
        text += finding.to_string() + "\n";
    }
    EXPECT_THAT(text, testing::HasSubstr("selects no pod"));
    EXPECT_THAT(text, testing::HasSubstr("shop/out: it is not in the mesh"));
}

TEST(SecurityObjects, that_were_never_readable_close_their_namespace) {
    auto result =
        build({pod("a", "shop", "app: a"),
               pod("b", "bank", "app: b"),
               policy("  rules:\n  - form: []\n", "shop", "typo"),
               "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
               "metadata: {name: typo, namespace: shop}\nspec: {mtls: {mode: STRIKT}}\n"});
    const auto& closed = named(result.snapshot, "shopa");
    ASSERT_NE(closed.authorization, nullptr);
    ASSERT_EQ(closed.authorization->deny.size(), 1u);
    EXPECT_EQ(closed.authorization->deny[0]->rules.at(0).details,
              "rbac_access_denied_matched_policy[ns[shop]-policy[typo]-unreadable]");
    EXPECT_EQ(closed.mtls, model::MtlsMode::strict);
    EXPECT_EQ(named(result.snapshot, "bankb").authorization, nullptr);
    EXPECT_EQ(named(result.snapshot, "bankb").mtls, model::MtlsMode::permissive);
    std::string text;
    for (const Finding& finding : result.findings) {
        text += finding.to_string() + "\n";
    }
    EXPECT_THAT(text, testing::HasSubstr("every call to the pods of namespace shop is refused"));
    EXPECT_THAT(text, testing::HasSubstr("namespace shop is STRICT"));
}

TEST(SecurityObjects, a_version_that_turned_bad_leaves_the_last_good_one_in_force) {
    ObjectStore store;
    auto put = [&](const std::string& file, const std::string& text, std::int64_t at) {
        store.replace_source(file, decode_text(text, {.file = file}), at);
    };
    put("pod", pod("a", "shop", "app: a"), 1);
    put("policy", policy("  {}\n"), 2);
    put("policy", policy("  rules:\n  - form: []\n"), 3);
    auto snapshot = compile(store, {.node = "n1", .generation = 1}).snapshot;
    const auto& all = *named(snapshot, "shopa").authorization;
    EXPECT_EQ(all.allow.size(), 1u);
    EXPECT_TRUE(all.deny.empty());
}

TEST(RequestAuthentication, is_refused_because_an_invalid_token_would_pass) {
    auto decoded = decode_text("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
                               "metadata: {name: jwt}\nspec: {jwtRules: [{issuer: a}]}\n",
                               {.file = "f"});
    ASSERT_EQ(decoded.objects.size(), 1u);
    EXPECT_EQ(decoded.objects[0].object, nullptr);
    EXPECT_THAT(decoded.objects[0].findings.at(0).message, testing::HasSubstr("not verified"));
}

}  // namespace
}  // namespace orlop::control
