#include "daemon/decide/authenticate.h"
#include "daemon/decide/authorize.h"
#include "daemon/decide/retry.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace orlop::decide {
namespace {

using model::Attribute;
using model::AuthorizationAction;
using model::AuthorizationPolicy;
using model::AuthorizationRule;
using model::Condition;
using model::TextForm;

TextForm form(const std::string& text) {
    if (text.find('{') != std::string::npos) {
        TextForm out{TextForm::Kind::path_template, text, {}, false};
        std::string segment;
        for (char c : text.substr(1) + "/") {
            if (c == '/') {
                out.segments.push_back(std::exchange(segment, {}));
            } else {
                segment += c;
            }
        }
        return out;
    }
    if (text == "*") {
        return {TextForm::Kind::present, "", {}, false};
    }
    if (text.ends_with('*')) {
        return {TextForm::Kind::prefix, text.substr(0, text.size() - 1), {}, false};
    }
    if (text.starts_with('*')) {
        return {TextForm::Kind::suffix, text.substr(1), {}, false};
    }
    return {TextForm::Kind::exact, text, {}, false};
}

Condition condition(Attribute attribute,
                    const std::vector<std::string>& any,
                    const std::vector<std::string>& none = {},
                    const std::string& header = "") {
    Condition out;
    out.attribute = attribute;
    out.header = header;
    auto fill = [&](const std::vector<std::string>& values,
                    std::vector<TextForm>& texts,
                    std::vector<Cidr>& blocks,
                    std::vector<std::uint16_t>& ports) {
        for (const std::string& value : values) {
            if (attribute == Attribute::source_ip || attribute == Attribute::destination_ip) {
                blocks.push_back(*Cidr::parse(value));
            } else if (attribute == Attribute::destination_port) {
                ports.push_back(static_cast<std::uint16_t>(std::stoi(value)));
            } else {
                texts.push_back(form(value));
                texts.back().ignore_case = attribute == Attribute::host;
            }
        }
    };
    fill(any, out.any, out.any_blocks, out.any_ports);
    fill(none, out.none, out.none_blocks, out.none_ports);
    return out;
}

struct Policy {
    AuthorizationAction action;
    std::vector<AuthorizationRule> rules;
    bool dry_run = false;
    std::string name = "p";
};

model::Workload workload(const std::vector<Policy>& policies) {
    auto all = std::make_shared<model::Authorization>();
    all->trust_domain = "cluster.local";
    all->trust_domain_aliases = {"old.example"};
    for (const Policy& policy : policies) {
        auto made = std::make_shared<AuthorizationPolicy>();
        made->action = policy.action;
        made->dry_run = policy.dry_run;
        made->rules = policy.rules;
        for (std::size_t i = 0; i < made->rules.size(); ++i) {
            made->rules[i].details = policy.name + "/" + std::to_string(i);
        }
        auto& list = policy.action == AuthorizationAction::deny    ? all->deny
                     : policy.action == AuthorizationAction::allow ? all->allow
                                                                   : all->audit;
        list.push_back(std::move(made));
    }
    model::Workload out;
    out.authorization = std::move(all);
    return out;
}

AuthorizationRule
rule(std::vector<model::Clause> from, std::vector<model::Clause> to = {}, model::Clause when = {}) {
    return {std::move(from), std::move(to), std::move(when), ""};
}

const SpiffeId client{"cluster.local", "shop", "web"};

struct Ask {
    std::optional<SpiffeId> peer = client;
    std::string source = "10.0.0.1";
    std::string destination = "10.0.0.2:8080";
    std::string method = "GET";
    std::string path = "/";
    std::string authority = "api.example.com";
    std::vector<HeaderField> headers;
    bool bytes = false;
};

AuthorizationVerdict judge(const model::Workload& callee, const Ask& ask) {
    RequestView view;
    view.method = ask.method;
    view.path = ask.path;
    view.authority = ask.authority;
    view.headers = HeaderSource::of(ask.headers);
    ConnectionView connection{ask.peer ? &*ask.peer : nullptr,
                              *IpAddress::parse(ask.source),
                              *SocketAddress::parse(ask.destination)};
    return authorize(callee, connection, ask.bytes ? nullptr : &view);
}

bool allows(const Condition& one, const Ask& ask) {
    return judge(workload({{AuthorizationAction::allow, {rule({{one}})}}}), ask).allowed;
}

TEST(Authorize, every_attribute_in_every_form) {
    struct Row {
        Condition condition;
        Ask ask;
        bool match;
    };
    using A = Attribute;
    const Row table[] = {
        {condition(A::principal, {"cluster.local/ns/shop/sa/web"}), {}, true},
        {condition(A::principal, {"cluster.local/ns/shop/sa/we"}), {}, false},
        {condition(A::principal, {"cluster.local/ns/shop/*"}), {}, true},
        {condition(A::principal, {"*/sa/web"}), {}, true},
        {condition(A::principal, {"*/sa/other"}), {}, false},
        {condition(A::principal, {"*"}), {}, true},
        {condition(A::principal, {"*"}), {.peer = std::nullopt}, false},
        {condition(A::principal, {"cluster.local/ns/shop/sa/web"}),
         {.peer = SpiffeId{"old.example", "shop", "web"}},
         true},
        {condition(A::principal, {"cluster.local/ns/shop/sa/web"}),
         {.peer = SpiffeId{"evil.example", "shop", "web"}},
         false},
        {condition(A::principal, {}, {"cluster.local/ns/shop/sa/web"}), {}, false},
        {condition(A::principal, {}, {"cluster.local/ns/shop/sa/api"}), {}, true},
        {condition(A::principal, {}, {"*"}), {.peer = std::nullopt}, true},
        {condition(A::source_namespace, {"shop"}), {}, true},
        {condition(A::source_namespace, {"sh*"}), {}, true},
        {condition(A::source_namespace, {"sho"}), {}, false},
        {condition(A::source_namespace, {"shop"}), {.peer = std::nullopt}, false},
        {condition(A::source_namespace, {}, {"bank"}), {}, true},
        {condition(A::service_account, {"shop/web"}), {}, true},
        {condition(A::service_account, {"bank/web"}), {}, false},
        {condition(A::service_account, {}, {"shop/web"}), {}, false},
        {condition(A::source_ip, {"10.0.0.0/24"}), {}, true},
        {condition(A::source_ip, {"10.0.1.0/24"}), {}, false},
        {condition(A::source_ip, {"10.0.0.0/8"}, {"10.0.0.1/32"}), {}, false},
        {condition(A::source_ip, {"2001:db8::/32"}), {.source = "2001:db8::1"}, true},
        {condition(A::destination_ip, {"10.0.0.2/32"}), {}, true},
        {condition(A::destination_ip, {}, {"10.0.0.2/32"}), {}, false},
        {condition(A::destination_port, {"80", "8080"}), {}, true},
        {condition(A::destination_port, {"80"}), {}, false},
        {condition(A::destination_port, {}, {"8080"}), {}, false},
        {condition(A::host, {"API.example.com"}), {}, true},
        {condition(A::host, {"*.EXAMPLE.com"}), {}, true},
        {condition(A::host, {"api.*"}), {}, true},
        {condition(A::host, {"example.com"}), {}, false},
        {condition(A::host, {}, {"api.example.com"}), {}, false},
        {condition(A::method, {"GET"}), {}, true},
        {condition(A::method, {"get"}), {}, false},
        {condition(A::method, {}, {"DELETE"}), {}, true},
        {condition(A::path, {"/admin"}), {.path = "/admin"}, true},
        {condition(A::path, {"/admin"}), {.path = "/admin/x"}, false},
        {condition(A::path, {"/admin/*"}), {.path = "/admin/x"}, true},
        {condition(A::path, {"*.css"}), {.path = "/a/b.css"}, true},
        {condition(A::path, {}, {"/admin*"}), {.path = "/admin"}, false},
        {condition(A::header, {"v2"}, {}, "x-version"), {.headers = {{"X-Version", "v2"}}}, true},
        {condition(A::header, {"v2"}, {}, "x-version"), {.headers = {{"x-version", "v3"}}}, false},
        {condition(A::header, {"*"}, {}, "x-version"), {}, false},
        {condition(A::header, {}, {"v2"}, "x-version"), {}, true},
    };
    std::size_t number = 0;
    for (const Row& row : table) {
        EXPECT_EQ(allows(row.condition, row.ask), row.match) << "row " << number;
        ++number;
    }
}

TEST(Authorize, path_templates_match_segments) {
    struct Row {
        const char* pattern;
        const char* path;
        bool match;
    };
    const Row table[] = {
        {"/foo/{*}", "/foo/bar", true},
        {"/foo/{*}", "/foo/bar/baz", false},
        {"/foo/{*}", "/foo/", false},
        {"/foo/{*}", "/foo", false},
        {"/foo/{*}/bar", "/foo/x/bar", true},
        {"/foo/{*}/bar", "/foo/x/y/bar", false},
        {"/foo/{**}", "/foo/", true},
        {"/foo/{**}", "/foo/a/b/c", true},
        {"/foo/{**}", "/foo", false},
        {"/foo/{**}", "/fool/a", false},
        {"/{**}", "/", true},
        {"/foo/{**}/bar", "/foo/a/b/bar", true},
        {"/foo/{**}/bar", "/foo/a/bar", true},
        {"/foo/{**}/bar", "/foo//bar", true},
        {"/foo/{**}/bar", "/foo/bar", false},
        {"/foo/{**}/bar", "/foo/a/bars", false},
        {"/foo/{*}/{**}/x/y", "/foo/1/2/3/x/y", true},
        {"/foo/{*}/{**}/x/y", "/foo/1/x/y", false},
        {"/{*}", "foo", false},
    };
    for (const Row& row : table) {
        EXPECT_EQ(allows(condition(Attribute::path, {row.pattern}), {.path = row.path}), row.match)
            << row.pattern << " on " << row.path;
    }
}

TEST(Authorize, deny_comes_before_allow_and_names_its_rule) {
    auto from_shop = rule({{condition(Attribute::source_namespace, {"shop"})}});
    auto deletes = rule({}, {{condition(Attribute::method, {"DELETE"})}});
    auto callee = workload({{AuthorizationAction::allow, {from_shop}, false, "allow-shop"},
                            {AuthorizationAction::deny,
                             {rule({}, {{condition(Attribute::path, {"/x"})}}), deletes},
                             false,
                             "no-deletes"}});
    EXPECT_TRUE(judge(callee, {}).allowed);
    auto refused = judge(callee, {.method = "DELETE"});
    EXPECT_FALSE(refused.allowed);
    EXPECT_EQ(refused.details, "no-deletes/1");
    EXPECT_EQ(refused.refused_by, callee.authorization->deny[0].get());
    auto stranger = judge(callee, {.peer = SpiffeId{"cluster.local", "bank", "x"}});
    EXPECT_FALSE(stranger.allowed);
    EXPECT_EQ(stranger.details, "rbac_access_denied_matched_policy[none]");
    EXPECT_EQ(stranger.refused_by, nullptr);
}

TEST(Authorize, without_policies_or_with_an_empty_one) {
    EXPECT_TRUE(judge(model::Workload{}, {.peer = std::nullopt}).allowed);
    EXPECT_FALSE(judge(workload({{AuthorizationAction::allow, {}}}), {}).allowed);
    EXPECT_TRUE(judge(workload({{AuthorizationAction::allow, {rule({})}}}), {}).allowed);
    EXPECT_TRUE(
        judge(workload({{AuthorizationAction::allow, {rule({})}}}), {.bytes = true}).allowed);
    EXPECT_FALSE(judge(workload({{AuthorizationAction::deny, {rule({})}}}), {}).allowed);
    EXPECT_FALSE(
        judge(workload({{AuthorizationAction::deny, {rule({})}}}), {.bytes = true}).allowed);
    // Only a DENY exists: what it does not match is allowed.
    auto deny = workload({{AuthorizationAction::deny,
                           {rule({}, {{condition(Attribute::destination_port, {"9090"})}})}}});
    EXPECT_TRUE(judge(deny, {}).allowed);
}

TEST(Authorize, clauses_are_alternatives_and_conditions_hold_together) {
    auto callee = workload(
        {{AuthorizationAction::allow,
          {rule({{condition(Attribute::source_namespace, {"shop"}),
                  condition(Attribute::source_ip, {"10.0.0.0/24"})},
                 {condition(Attribute::source_namespace, {"bank"})}},
                {{condition(Attribute::method, {"GET"})}, {condition(Attribute::path, {"/open"})}},
                {condition(Attribute::header, {"yes"}, {}, "x-ok")})}}});
    std::vector<HeaderField> ok = {{"x-ok", "yes"}};
    EXPECT_TRUE(judge(callee, {.headers = ok}).allowed);
    EXPECT_FALSE(judge(callee, {.source = "10.9.0.1", .headers = ok}).allowed);
    EXPECT_TRUE(
        judge(callee,
              {.peer = SpiffeId{"cluster.local", "bank", "x"}, .source = "10.9.0.1", .headers = ok})
            .allowed);
    EXPECT_FALSE(judge(callee, {.method = "POST", .headers = ok}).allowed);
    EXPECT_TRUE(judge(callee, {.method = "POST", .path = "/open", .headers = ok}).allowed);
    EXPECT_FALSE(judge(callee, {}).allowed);
}

TEST(Authorize, bytes_drop_what_asks_about_requests) {
    using A = Attribute;
    auto get = condition(A::method, {"GET"});
    auto port = condition(A::destination_port, {"8080"});
    auto other_port = condition(A::destination_port, {"9090"});
    struct Row {
        AuthorizationAction action;
        AuthorizationRule rule;
        bool allowed;
    };
    const Row table[] = {
        // An ALLOW that asks about requests never matches bytes.
        {AuthorizationAction::allow, rule({}, {{get}}), false},
        {AuthorizationAction::allow, rule({}, {{get, port}}), false},
        {AuthorizationAction::allow, rule({}, {{port}}), true},
        // A DENY becomes broader, and is nothing when nothing remains.
        {AuthorizationAction::deny, rule({}, {{get, port}}), false},
        {AuthorizationAction::deny, rule({}, {{get, other_port}}), true},
        {AuthorizationAction::deny, rule({}, {{get}}), true},
        {AuthorizationAction::deny,
         rule({{condition(A::source_namespace, {"shop"})}}, {{get}}),
         false},
        {AuthorizationAction::deny,
         rule({{condition(A::source_namespace, {"bank"})}}, {{get}}),
         true},
        {AuthorizationAction::deny, rule({}, {}, {condition(A::header, {"x"}, {}, "h")}), true},
    };
    std::size_t number = 0;
    for (const Row& row : table) {
        EXPECT_EQ(judge(workload({{row.action, {row.rule}}}), {.bytes = true}).allowed, row.allowed)
            << "row " << number;
        ++number;
    }
}

TEST(Authorize, repeating_a_header_gets_around_nothing) {
    std::vector<HeaderField> twice = {{"x-role", "guest"}, {"x-role", "admin"}};
    auto judged = [&](AuthorizationAction action, Condition one) {
        return judge(workload({{action, {rule({}, {}, {std::move(one)})}}}), {.headers = twice})
            .allowed;
    };
    auto values = [](std::vector<std::string> any, std::vector<std::string> none = {}) {
        return condition(Attribute::header, any, none, "x-role");
    };
    EXPECT_FALSE(judged(AuthorizationAction::deny, values({"admin"})));
    EXPECT_FALSE(judged(AuthorizationAction::deny, values({"guest,admin"})));
    EXPECT_FALSE(judged(AuthorizationAction::deny, values({}, {"guest"})));
    EXPECT_FALSE(judged(AuthorizationAction::allow, values({"guest"})));
    EXPECT_FALSE(judged(AuthorizationAction::allow, values({}, {"admin"})));
    EXPECT_TRUE(judged(AuthorizationAction::allow, values({"guest,admin"})));
}

TEST(Authorize, dry_run_and_audit_only_mark) {
    auto all = rule({});
    auto denied = workload({{AuthorizationAction::deny, {all}, true, "later"}});
    auto verdict = judge(denied, {});
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.dry_run, denied.authorization->deny[0].get());
    EXPECT_EQ(verdict.dry_run_details, "later/0");

    auto none = workload({{AuthorizationAction::allow, {}, true}});
    verdict = judge(none, {});
    EXPECT_TRUE(verdict.allowed);
    EXPECT_NE(verdict.dry_run, nullptr);

    // A dry-run ALLOW grants nothing.
    auto demanded =
        workload({{AuthorizationAction::allow, {}}, {AuthorizationAction::allow, {all}, true}});
    EXPECT_FALSE(judge(demanded, {}).allowed);

    auto audited = workload({{AuthorizationAction::audit, {all}}});
    verdict = judge(audited, {});
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.audited_by, audited.authorization->audit[0].get());
}

TEST(Authorize, asks_about_requests_only_where_a_rule_can_match) {
    auto get = condition(Attribute::method, {"GET"});
    auto port = condition(Attribute::destination_port, {"9090"});
    auto needs = [](const AuthorizationRule& one, std::uint16_t at) {
        return authorization_needs_requests(workload({{AuthorizationAction::deny, {one}}}), at);
    };
    EXPECT_TRUE(needs(rule({}, {{get}}), 8080));
    EXPECT_FALSE(needs(rule({}, {{get, port}}), 8080));
    EXPECT_TRUE(needs(rule({}, {{get, port}}), 9090));
    EXPECT_TRUE(needs(rule({}, {{get, port}, {get}}), 8080));
    EXPECT_FALSE(needs(rule({}, {{port}}), 9090));
    EXPECT_FALSE(needs(rule({}, {{get}}, {port}), 8080));
    EXPECT_FALSE(authorization_needs_requests(model::Workload{}, 8080));
}

TEST(Authorize, same_node_callers_are_judged_before_the_attested_path_is_taken) {
    struct Row {
        AuthorizationRule rule;
        Wire wire;
        WireReason reason;
    };
    auto from = [](const std::string& ns) {
        return std::vector<model::Clause>{{condition(Attribute::source_namespace, {ns})}};
    };
    const Row table[] = {
        {rule(from("shop")), Wire::same_node, WireReason::captured_same_node},
        {rule(from("bank")), Wire::refused, WireReason::not_authorized},
        {rule({{condition(Attribute::source_ip, {"10.0.0.1/32"})}}),
         Wire::same_node,
         WireReason::captured_same_node},
        {rule({{condition(Attribute::source_ip, {"10.0.0.9/32"})}}),
         Wire::refused,
         WireReason::not_authorized},
        {rule(from("shop"), {{condition(Attribute::method, {"GET"})}}),
         Wire::hbone,
         WireReason::requests_judged},
        {rule(from("shop"),
              {{condition(Attribute::method, {"GET"}),
                condition(Attribute::destination_port, {"9090"})},
               {condition(Attribute::destination_port, {"8080"})}}),
         Wire::hbone,
         WireReason::requests_judged},
    };
    model::Workload source;
    source.local = true;
    source.identity = client;
    source.addresses = {*IpAddress::parse("2001:db8::1"), *IpAddress::parse("10.0.0.1")};
    for (const Row& row : table) {
        auto callee =
            std::make_shared<model::Workload>(workload({{AuthorizationAction::allow, {row.rule}}}));
        callee->enrol_wanted = callee->redirected = callee->local = true;
        model::Endpoint endpoint;
        endpoint.address = *SocketAddress::parse("10.0.0.2:8080");
        endpoint.workload = callee;
        auto choice = wire_for(&source, endpoint, nullptr, model::MeshConfig{});
        EXPECT_EQ(choice.wire, row.wire) << wire_reason_name(choice.reason);
        EXPECT_EQ(choice.reason, row.reason) << wire_reason_name(choice.reason);
        EXPECT_EQ(choice.details.empty(), row.reason != WireReason::not_authorized);
    }
}

TEST(Authorize, a_denial_is_answered_403_and_never_repeated) {
    model::RetryPolicy everything;
    everything.attempts = 10;
    everything.on = ~0u;
    auto decision = decide_retry(everything, {FailureKind::denied}, RetryContext{});
    EXPECT_EQ(decision.verdict, RetryVerdict::give_up);
    EXPECT_EQ(decision.why, GiveUp::denied);
    auto reply = failure_reply(FailureKind::denied, Retried::no);
    EXPECT_EQ(reply.status, 403);
    EXPECT_EQ(reply.body, "RBAC: access denied");
    EXPECT_EQ(reply.flag, "");
}

}  // namespace
}  // namespace orlop::decide
