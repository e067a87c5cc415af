// AuthorizationPolicy (istio-semantics §10). What could not be enforced is refused here, so that no
// rule that was accepted is ever silently left out.
#include "daemon/base/limits.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace orlop::control {
namespace {

using model::Attribute;
using model::AuthorizationAction;
using model::Clause;
using model::Condition;
using model::TextForm;

constexpr std::string_view no_tokens =
    "needs RequestAuthentication, which is not enforced: nothing here verifies tokens";
constexpr std::string_view no_proxies =
    "needs trusted proxies in front, which are not configured: the address would be the caller's "
    "own claim";

std::string bracketed(std::string_view text) {
    return fmt::format("\"{:.80}\"", text);
}

// `abc*`, `*abc`, `*` or the text itself.
TextForm text_form(std::string_view text) {
    TextForm form;
    if (text == "*") {
        form.kind = TextForm::Kind::present;
    } else if (text.ends_with('*')) {
        form.kind = TextForm::Kind::prefix;
        text.remove_suffix(1);
    } else if (text.starts_with('*')) {
        form.kind = TextForm::Kind::suffix;
        text.remove_prefix(1);
    }
    form.text = std::string(text);
    return form;
}

// What is wrong with a path template, or empty.
std::string template_fault(const std::vector<std::string>& segments) {
    std::size_t operators = 0;
    bool any_depth = false;
    for (const std::string& segment : segments) {
        bool one = segment == "{*}";
        bool many = segment == "{**}";
        if (one || many) {
            ++operators;
        } else if (segment.find_first_of("{}*") != std::string::npos) {
            return fmt::format("segment {} may only be {{*}}, {{**}} or plain text",
                               bracketed(segment));
        }
        if (any_depth && (one || many)) {
            return "{**} must be the last operator";
        }
        any_depth = any_depth || many;
    }
    return operators > limits::authorization_path_operators_max
               ? fmt::format("more than {} operators", limits::authorization_path_operators_max)
               : "";
}

std::vector<std::string> split_path(std::string_view path) {
    std::vector<std::string> segments;
    path.remove_prefix(1);
    while (true) {
        std::size_t slash = path.find('/');
        segments.emplace_back(path.substr(0, slash));
        if (slash == std::string_view::npos) {
            return segments;
        }
        path.remove_prefix(slash + 1);
    }
}

// Reads the fields of one source, one operation or one `when` into conditions.
class ClauseReader {
public:
    ClauseReader(FieldReader& fields, const ObjectKey& key) : fields_(fields), key_(key) {}

    void pair(Attribute attribute, std::string_view name, std::string_view negative) {
        Condition condition;
        condition.attribute = attribute;
        list(name, condition, condition.any, condition.any_blocks, condition.any_ports);
        list(negative, condition, condition.none, condition.none_blocks, condition.none_ports);
        add(std::move(condition));
    }
    void refuse(std::string_view name, std::string_view why) {
        if (fields_.has(name)) {
            fields_.error(name, fmt::format("{} {}", name, why), "remove the field");
            refused_ = true;
        }
    }
    void add(Condition condition) {
        bool empty = condition.any.empty() && condition.none.empty() &&
                     condition.any_blocks.empty() && condition.none_blocks.empty() &&
                     condition.any_ports.empty() && condition.none_ports.empty();
        if (!empty) {
            clause_.push_back(std::move(condition));
        }
    }
    bool refused() const { return refused_; }
    Clause take() { return std::move(clause_); }

    void list(std::string_view name,
              const Condition& condition,
              std::vector<TextForm>& texts,
              std::vector<Cidr>& blocks,
              std::vector<std::uint16_t>& ports) {
        const Node* node = fields_.take(name);
        if (node != nullptr && node->is_list() && node->items.empty()) {
            fields_.error(name, fmt::format("{} must not be empty", name), "remove the field");
            refused_ = true;
        }
        fields_.each(name, [&](const Node& item, const std::string& path) {
            auto text = read_text(item);
            if (!text || text->empty()) {
                error(item, path, "found " + item.describe() + ", want text that is not empty");
                return;
            }
            value(item, path, *text, condition.attribute, texts, blocks, ports);
        });
    }

private:
    void error(const Node& item, const std::string& path, std::string message) {
        fields_.report().error(item.line, path, std::move(message));
        refused_ = true;
    }

    void value(const Node& item,
               const std::string& path,
               const std::string& text,
               Attribute attribute,
               std::vector<TextForm>& texts,
               std::vector<Cidr>& blocks,
               std::vector<std::uint16_t>& ports) {
        switch (attribute) {
        case Attribute::source_ip:
        case Attribute::destination_ip:
            read_block(item, path, text, blocks);
            return;
        case Attribute::destination_port:
            read_port(item, path, text, ports);
            return;
        case Attribute::path:
            read_path(item, path, text, texts);
            return;
        case Attribute::service_account:
            read_account(item, path, text, texts);
            return;
        case Attribute::principal:
            if (text.starts_with("spiffe://")) {
                error(item, path, bracketed(text) + ": write the principal without spiffe://");
                return;
            }
            break;
        default:
            break;
        }
        texts.push_back(text_form(text));
        texts.back().ignore_case = attribute == Attribute::host;
    }

    void read_block(const Node& item,
                    const std::string& path,
                    const std::string& text,
                    std::vector<Cidr>& out) {
        auto address = IpAddress::parse(text);
        std::string length = address && address->is_v4() ? "/32" : "/128";
        auto block = Cidr::parse(address ? text + length : text);
        if (!block) {
            error(item, path, bracketed(text) + " is no valid IP address or CIDR range");
            return;
        }
        out.push_back(*block);
    }

    void read_port(const Node& item,
                   const std::string& path,
                   const std::string& text,
                   std::vector<std::uint16_t>& out) {
        std::uint16_t port = 0;
        auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), port);
        if (fault != std::errc() || end != text.data() + text.size() || port == 0) {
            error(item, path, bracketed(text) + " is no port; it must be in range 1..65535");
            return;
        }
        out.push_back(port);
    }

    void read_path(const Node& item,
                   const std::string& path,
                   const std::string& text,
                   std::vector<TextForm>& out) {
        if (text.find_first_of("{}") == std::string::npos) {
            out.push_back(text_form(text));
            return;
        }
        TextForm form;
        form.kind = TextForm::Kind::path_template;
        form.text = text;
        std::string fault = text.starts_with('/') ? "" : "it must start with /";
        if (fault.empty()) {
            form.segments = split_path(text);
            fault = template_fault(form.segments);
        }
        if (!fault.empty()) {
            error(item, path, "path template " + bracketed(text) + ": " + fault);
            return;
        }
        out.push_back(std::move(form));
    }

    // <namespace>/<account>, or an account of the policy's own namespace.
    void read_account(const Node& item,
                      const std::string& path,
                      const std::string& text,
                      std::vector<TextForm>& out) {
        std::size_t slash = text.find('/');
        std::string ns = slash == std::string::npos ? key_.ns : text.substr(0, slash);
        std::string account = slash == std::string::npos ? text : text.substr(slash + 1);
        if (!is_dns_label(ns) || !is_dns_name(account)) {
            error(item,
                  path,
                  bracketed(text) + " is no service account; want <namespace>/<name> or <name>");
            return;
        }
        TextForm form;
        form.text = ns + "/" + account;
        out.push_back(std::move(form));
    }

    FieldReader& fields_;
    const ObjectKey& key_;
    Clause clause_;
    bool refused_ = false;
};

void check_not_empty(FieldReader& fields, const ClauseReader& reader, const Clause& clause) {
    if (clause.empty() && !reader.refused()) {
        fields.error_here("must have at least one field");
    }
}

Clause read_source(FieldReader& entry, const ObjectKey& key) {
    FieldReader source(
        entry.report(), entry.take("source"), entry.path_of("source"), UnknownFields::refused);
    if (!source.present()) {
        entry.error_here("`from.source` is missing", "write source: with at least one field");
        return {};
    }
    bool account = source.has("serviceAccounts") || source.has("notServiceAccounts");
    bool other = source.has("principals") || source.has("notPrincipals") ||
                 source.has("namespaces") || source.has("notNamespaces");
    if (account && other) {
        source.error_here("serviceAccounts may not be used together with principals or namespaces");
    }
    ClauseReader reader(source, key);
    reader.pair(Attribute::principal, "principals", "notPrincipals");
    reader.pair(Attribute::source_namespace, "namespaces", "notNamespaces");
    reader.pair(Attribute::service_account, "serviceAccounts", "notServiceAccounts");
    reader.pair(Attribute::source_ip, "ipBlocks", "notIpBlocks");
    for (std::string_view name : {"requestPrincipals", "notRequestPrincipals"}) {
        reader.refuse(name, no_tokens);
    }
    for (std::string_view name : {"remoteIpBlocks", "notRemoteIpBlocks"}) {
        reader.refuse(name, no_proxies);
    }
    Clause clause = reader.take();
    check_not_empty(source, reader, clause);
    return clause;
}

Clause read_operation(FieldReader& entry, const ObjectKey& key) {
    FieldReader operation(entry.report(),
                          entry.take("operation"),
                          entry.path_of("operation"),
                          UnknownFields::refused);
    if (!operation.present()) {
        entry.error_here("`to.operation` is missing", "write operation: with at least one field");
        return {};
    }
    ClauseReader reader(operation, key);
    reader.pair(Attribute::host, "hosts", "notHosts");
    reader.pair(Attribute::destination_port, "ports", "notPorts");
    reader.pair(Attribute::method, "methods", "notMethods");
    reader.pair(Attribute::path, "paths", "notPaths");
    Clause clause = reader.take();
    check_not_empty(operation, reader, clause);
    return clause;
}

struct When {
    std::string_view key;
    Attribute attribute;
};
constexpr When when_keys[] = {
    {"source.ip", Attribute::source_ip},
    {"source.namespace", Attribute::source_namespace},
    {"source.principal", Attribute::principal},
    {"source.serviceAccount", Attribute::service_account},
    {"destination.ip", Attribute::destination_ip},
    {"destination.port", Attribute::destination_port},
};

// The attribute that `key` names, into `condition`; false after an error.
bool read_when_key(FieldReader& entry, const std::string& key, Condition& condition) {
    for (const When& known : when_keys) {
        if (key == known.key) {
            condition.attribute = known.attribute;
            return true;
        }
    }
    constexpr std::string_view headers = "request.headers[";
    if (key.starts_with(headers) && key.ends_with(']') && key.size() > headers.size() + 1) {
        condition.attribute = Attribute::header;
        condition.header =
            to_lower(std::string_view(key).substr(headers.size(), key.size() - headers.size() - 1));
        return true;
    }
    if (key.empty()) {
        entry.error("key", "`key` cannot be empty");
    } else if (key.starts_with("request.auth.")) {
        entry.error("key", fmt::format("{} {}", bracketed(key), no_tokens));
    } else if (key == "remote.ip") {
        entry.error("key", fmt::format("{} {}", bracketed(key), no_proxies));
    } else if (key == "connection.sni" || key.starts_with("experimental.envoy.filters.")) {
        entry.error("key",
                    bracketed(key) + " is not supported: it is not known where traffic arrives");
    } else {
        entry.error("key",
                    "unknown attribute " + bracketed(key),
                    "request.headers[NAME], source.ip, source.namespace, source.principal, "
                    "source.serviceAccount, destination.ip or destination.port");
    }
    return false;
}

void read_when(FieldReader& entry, const ObjectKey& object, Clause& out) {
    std::string key = entry.text_or("key", "");
    Condition condition;
    if (!read_when_key(entry, key, condition)) {
        entry.accept({"values", "notValues"});
        return;
    }
    ClauseReader reader(entry, object);
    reader.list("values", condition, condition.any, condition.any_blocks, condition.any_ports);
    reader.list(
        "notValues", condition, condition.none, condition.none_blocks, condition.none_ports);
    reader.add(std::move(condition));
    Clause clause = reader.take();
    if (clause.empty() && !reader.refused()) {
        entry.error_here("at least one of `values` or `notValues` must be set");
    }
    std::ranges::move(clause, std::back_inserter(out));
}

using ReadClause = Clause (*)(FieldReader&, const ObjectKey&);

std::vector<Clause>
read_clauses(FieldReader& rule, std::string_view name, const ObjectKey& key, ReadClause read) {
    std::vector<Clause> out;
    if (const Node* node = rule.take(name);
        node != nullptr && node->is_list() && node->items.empty()) {
        rule.error(name, fmt::format("`{}` cannot be empty, should have at least 1 rule", name));
    }
    rule.each(name, [&](const Node& item, const std::string& path) {
        FieldReader entry(rule.report(), &item, path, UnknownFields::refused);
        out.push_back(read(entry, key));
    });
    return out;
}

model::AuthorizationRule read_rule(FieldReader& rule, const ObjectKey& key, std::size_t number) {
    model::AuthorizationRule out;
    out.from = read_clauses(rule, "from", key, read_source);
    out.to = read_clauses(rule, "to", key, read_operation);
    rule.each("when", [&](const Node& item, const std::string& path) {
        FieldReader entry(rule.report(), &item, path, UnknownFields::refused);
        read_when(entry, key, out.when);
    });
    out.details = fmt::format(
        "rbac_access_denied_matched_policy[ns[{}]-policy[{}]-rule[{}]]", key.ns, key.name, number);
    return out;
}

AuthorizationAction read_action(FieldReader& spec) {
    auto action = spec.choice("action", {"ALLOW", "DENY", "AUDIT", "CUSTOM"}).value_or(0);
    if (action == 3) {
        spec.error("action",
                   "CUSTOM asks an external authorizer, which orlop does not call; without it the "
                   "policy would let everything pass",
                   "write ALLOW or DENY rules, or let the application decide");
        spec.accept({"provider"});
        return AuthorizationAction::deny;
    }
    if (spec.has("provider")) {
        spec.error("provider", "`provider` is only allowed with the CUSTOM action");
    }
    return static_cast<AuthorizationAction>(action);
}

void read_target(FieldReader& target, AuthorizationPolicySpec& out) {
    std::string group = target.text_or("group", "");
    std::string kind = target.text_or("kind", "");
    std::string name = target.text_or("name", "");
    target.accept({"namespace"});
    bool service = kind == "Service" && (group.empty() || group == "core");
    if (!service) {
        target.error("kind",
                     fmt::format("{} is no target here: there are no waypoints", bracketed(kind)),
                     "name a Service, or use spec.selector");
    } else if (!is_dns_label(name)) {
        target.error("name", bracketed(name) + " is no name of a Service");
    } else {
        out.services.push_back(std::move(name));
    }
}

void read_scope(FieldReader& spec, const DecodeContext& context, AuthorizationPolicySpec& out) {
    Report& report = context.report;
    FieldReader selector(report, spec.take("selector"), "spec.selector", UnknownFields::refused);
    out.selector = selector.labels("matchLabels");
    out.has_selector = !out.selector.empty();
    if (spec.has("targetRef")) {
        FieldReader target(
            report, spec.take("targetRef"), "spec.targetRef", UnknownFields::refused);
        read_target(target, out);
    }
    spec.each("targetRefs", [&](const Node& item, const std::string& path) {
        FieldReader target(report, &item, path, UnknownFields::refused);
        read_target(target, out);
    });
    if (selector.present() && (spec.has("targetRef") || spec.has("targetRefs"))) {
        spec.error("selector", "only one of targetRefs or selector can be set");
    }
    if (!out.services.empty()) {
        report.warn("ORL035",
                    spec.line_of("targetRefs"),
                    "spec.targetRefs",
                    "enforced at the pods of the Service, for every caller that reaches them");
    }
}

}  // namespace

ObjectSpec decode_authorization_policy(const DecodeContext& context) {
    AuthorizationPolicySpec out;
    auto policy = std::make_shared<model::AuthorizationPolicy>();
    policy->source = context.ref_at(context.root.line);
    FieldReader spec(context.report, context.root.find("spec"), "spec", UnknownFields::refused);
    read_scope(spec, context, out);
    policy->action = read_action(spec);
    spec.each("rules", [&](const Node& item, const std::string& path) {
        FieldReader rule(context.report, &item, path, UnknownFields::refused);
        policy->rules.push_back(read_rule(rule, context.key, policy->rules.size()));
    });
    if (policy->rules.size() > limits::authorization_rules_max) {
        spec.error("rules", fmt::format("more than {} rules", limits::authorization_rules_max));
    }
    if (policy->rules.empty() && policy->action != AuthorizationAction::allow) {
        spec.error_here("a DENY or AUDIT policy without `rules` never matches anything",
                        "use `rules: [{}]` to match everything");
    }
    auto dry_run = context.meta.annotations.find("istio.io/dry-run");
    if (dry_run != context.meta.annotations.end()) {
        policy->dry_run = dry_run->second == "true";
        if (dry_run->second != "true" && dry_run->second != "false") {
            context.report.error(context.root.line,
                                 "metadata.annotations[istio.io/dry-run]",
                                 bracketed(dry_run->second) + ": want \"true\" or \"false\"");
        }
    }
    out.policy = std::move(policy);
    return out;
}

// No token: allowed; an invalid one: 401. Without verification an invalid token would pass.
ObjectSpec refuse_request_authentication(const DecodeContext& context) {
    context.report.error(context.root.line,
                         "",
                         "tokens are not verified by orlop: an invalid one would pass, while this "
                         "object says that it must be refused",
                         "remove the object, and verify tokens in the application");
    return Recorded{};
}

}  // namespace orlop::control
