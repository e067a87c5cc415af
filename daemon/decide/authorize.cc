#include "daemon/decide/authorize.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace orlop::decide {
namespace {

using model::Attribute;
using model::AuthorizationAction;
using model::AuthorizationPolicy;
using model::AuthorizationRule;
using model::Clause;
using model::Condition;
using model::TextForm;

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() &&
           std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool equal(const TextForm& form, std::string_view text) {
    return form.ignore_case ? equal_in_any_case(text, form.text) : text == form.text;
}

std::string_view first_segment(std::string_view& rest) {
    std::size_t slash = rest.find('/');
    std::string_view segment = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    return segment;
}

// `{*}` is one segment that is not empty; `{**}` takes whole segments, at least one, which may be
// empty. What follows `{**}` is counted from the end.
bool matches_template(std::span<const std::string> segments, std::string_view path) {
    if (!path.starts_with('/')) {
        return false;
    }
    path.remove_prefix(1);
    bool more = true;  // a slash was seen: another segment follows, even an empty one
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (!more) {
            return false;
        }
        if (segments[i] == "{**}") {
            auto tail = static_cast<std::ptrdiff_t>(segments.size() - i - 1);
            if (tail == 0) {
                return true;
            }
            if (std::ranges::count(path, '/') < tail) {
                return false;
            }
            while (std::ranges::count(path, '/') >= tail) {
                first_segment(path);
            }
            std::string_view rest(path.data() - 1, path.size() + 1);  // with its slash
            return matches_template(segments.subspan(i + 1), rest);
        }
        more = path.find('/') != std::string_view::npos;
        std::string_view segment = first_segment(path);
        if (segments[i] == "{*}" ? segment.empty() : segment != segments[i]) {
            return false;
        }
    }
    return !more;
}

bool matches_text(const TextForm& form, std::string_view text) {
    switch (form.kind) {
    case TextForm::Kind::exact:
        return equal(form, text);
    case TextForm::Kind::prefix:
        return text.size() >= form.text.size() && equal(form, text.substr(0, form.text.size()));
    case TextForm::Kind::suffix:
        return text.size() >= form.text.size() &&
               equal(form, text.substr(text.size() - form.text.size()));
    case TextForm::Kind::present:
        return !text.empty();
    case TextForm::Kind::path_template:
        return matches_template(form.segments, text);
    }
    return false;
}

bool any_text(const std::vector<TextForm>& forms, std::string_view text) {
    return std::ranges::any_of(forms,
                               [&](const TextForm& form) { return matches_text(form, text); });
}

bool texts_hold(const Condition& condition, std::string_view text) {
    return (condition.any.empty() || any_text(condition.any, text)) &&
           !any_text(condition.none, text);
}

template <class T, class Is>
bool lists_hold(const std::vector<T>& any, const std::vector<T>& none, Is is) {
    return (any.empty() || std::ranges::any_of(any, is)) && !std::ranges::any_of(none, is);
}

// What one policy is judged against.
struct Subject {
    const ConnectionView& connection;
    const RequestView* request;
    std::string_view principal;
    std::string_view account;  // <namespace>/<account>
};

// See the header: which way a repeated header is read depends on what a match leads to.
bool header_holds(const Condition& condition,
                  const RequestView& request,
                  AuthorizationAction action) {
    bool refuses = action == AuthorizationAction::deny;
    std::string_view joined;
    std::string room;
    std::size_t found = 0;
    bool any_single = false;
    bool none_single = false;
    for (std::size_t i = 0; i < request.headers.count; ++i) {
        HeaderField field = request.headers.at(request.headers.context, i);
        if (!equal_in_any_case(field.name, condition.header)) {
            continue;
        }
        any_single = any_single || any_text(condition.any, field.value);
        none_single = none_single || any_text(condition.none, field.value);
        if (++found == 1) {
            joined = field.value;
            continue;
        }
        if (found == 2) {
            room = joined;
        }
        room.append(1, ',').append(field.value);
        joined = room;
    }
    if (found == 0) {
        return condition.any.empty();
    }
    bool any = condition.any.empty() || any_text(condition.any, joined) || (refuses && any_single);
    bool none = any_text(condition.none, joined) || (!refuses && none_single);
    return any && !none;
}

bool request_holds(const Condition& condition,
                   const RequestView& request,
                   AuthorizationAction action) {
    switch (condition.attribute) {
    case Attribute::host:
        return texts_hold(condition, request.authority);
    case Attribute::method:
        return texts_hold(condition, request.method);
    case Attribute::path:
        return texts_hold(condition, request.path);
    case Attribute::header:
        if (condition.header == "host" || condition.header == ":authority") {
            return texts_hold(condition, request.authority);
        }
        if (condition.header == ":method") {
            return texts_hold(condition, request.method);
        }
        return header_holds(condition, request, action);
    default:
        return false;
    }
}

bool connection_holds(const Condition& condition, const Subject& subject) {
    const ConnectionView& connection = subject.connection;
    auto in = [](const IpAddress& address) {
        return [&address](const Cidr& block) { return block.contains(address); };
    };
    switch (condition.attribute) {
    case Attribute::principal:
        return texts_hold(condition, subject.principal);
    case Attribute::source_namespace:
        return texts_hold(condition,
                          connection.peer == nullptr ? std::string_view() : connection.peer->ns);
    case Attribute::service_account:
        return texts_hold(condition, subject.account);
    case Attribute::source_ip:
        return lists_hold(condition.any_blocks, condition.none_blocks, in(connection.source));
    case Attribute::destination_ip:
        return lists_hold(
            condition.any_blocks, condition.none_blocks, in(connection.destination.ip));
    case Attribute::destination_port:
        return lists_hold(condition.any_ports, condition.none_ports, [&](std::uint16_t port) {
            return port == connection.destination.port;
        });
    default:
        return false;
    }
}

bool clause_holds(const Clause& clause, const Subject& subject, AuthorizationAction action) {
    return std::ranges::all_of(clause, [&](const Condition& condition) {
        if (!needs_request(condition.attribute)) {
            return connection_holds(condition, subject);
        }
        if (subject.request == nullptr) {
            return action == AuthorizationAction::deny;  // dropped there, never true elsewhere
        }
        return request_holds(condition, *subject.request, action);
    });
}

template <class Is> bool some_condition(const AuthorizationRule& rule, Is is) {
    auto in = [&](const Clause& clause) { return std::ranges::any_of(clause, is); };
    return in(rule.when) || std::ranges::any_of(rule.from, in) || std::ranges::any_of(rule.to, in);
}

bool asks_about_requests(const AuthorizationRule& rule) {
    return some_condition(
        rule, [](const Condition& condition) { return needs_request(condition.attribute); });
}

bool rule_holds(const AuthorizationRule& rule, const Subject& subject, AuthorizationAction action) {
    if (subject.request == nullptr && asks_about_requests(rule)) {
        bool something_left = some_condition(
            rule, [](const Condition& condition) { return !needs_request(condition.attribute); });
        if (action != AuthorizationAction::deny || !something_left) {
            return false;
        }
    }
    auto holds = [&](const Clause& clause) { return clause_holds(clause, subject, action); };
    return holds(rule.when) && (rule.from.empty() || std::ranges::any_of(rule.from, holds)) &&
           (rule.to.empty() || std::ranges::any_of(rule.to, holds));
}

const AuthorizationRule* matching_rule(const AuthorizationPolicy& policy, const Subject& subject) {
    auto found = std::ranges::find_if(policy.rules, [&](const AuthorizationRule& rule) {
        return rule_holds(rule, subject, policy.action);
    });
    return found == policy.rules.end() ? nullptr : &*found;
}

// The peer's names as policies write them, in a buffer: no allocation for each request.
class Names {
public:
    Names(const SpiffeId* peer, const model::Authorization& all) {
        if (peer == nullptr) {
            return;
        }
        bool alias = std::ranges::find(all.trust_domain_aliases, peer->trust_domain) !=
                     all.trust_domain_aliases.end();
        put(alias ? std::string_view(all.trust_domain) : peer->trust_domain);
        put("/ns/");
        put(peer->ns);
        put("/sa/");
        put(peer->service_account);
        principal_size_ = size_;
        put(peer->ns);
        put("/");
        put(peer->service_account);
    }
    std::string_view principal() const { return {room_.data(), principal_size_}; }
    std::string_view account() const {
        return {room_.data() + principal_size_, size_ - principal_size_};
    }

private:
    void put(std::string_view text) {
        std::size_t size = std::min(text.size(), room_.size() - size_);
        std::memcpy(room_.data() + size_, text.data(), size);
        size_ += size;
    }
    std::array<char, 4096> room_;  // a SpiffeId has at most 2048 bytes
    std::size_t size_ = 0;
    std::size_t principal_size_ = 0;
};

// Without ALLOW policies everything is allowed. Dry-run ones neither demand nor grant; they report
// what would become of the request if they counted.
void judge_allow(const model::Authorization& all,
                 const Subject& subject,
                 AuthorizationVerdict& verdict) {
    constexpr std::string_view none = "rbac_access_denied_matched_policy[none]";
    bool demanded = false;
    bool granted = false;
    bool would_grant = false;
    const AuthorizationPolicy* pretended = nullptr;
    for (const auto& policy : all.allow) {
        bool matched = matching_rule(*policy, subject) != nullptr;
        would_grant = would_grant || matched;
        if (policy->dry_run) {
            pretended = policy.get();
        } else {
            demanded = true;
            granted = granted || matched;
        }
    }
    if (pretended != nullptr && !would_grant && verdict.dry_run == nullptr) {
        verdict.dry_run = pretended;
        verdict.dry_run_details = none;
    }
    if (verdict.allowed && demanded && !granted) {
        verdict.allowed = false;
        verdict.details = none;
    }
}

void judge_deny(const model::Authorization& all,
                const Subject& subject,
                AuthorizationVerdict& verdict) {
    for (const auto& policy : all.deny) {
        const AuthorizationRule* rule = matching_rule(*policy, subject);
        if (rule == nullptr) {
            continue;
        }
        if (policy->dry_run) {
            verdict.dry_run = policy.get();
            verdict.dry_run_details = rule->details;
        } else if (verdict.allowed) {
            verdict.allowed = false;
            verdict.refused_by = policy.get();
            verdict.details = rule->details;
        }
    }
}

}  // namespace

AuthorizationVerdict authorize(const model::Workload& callee,
                               const ConnectionView& connection,
                               const RequestView* request) {
    AuthorizationVerdict verdict;
    if (callee.authorization == nullptr) {
        return verdict;
    }
    const model::Authorization& all = *callee.authorization;
    Names names(connection.peer, all);
    Subject subject{connection, request, names.principal(), names.account()};
    for (const auto& policy : all.audit) {
        if (verdict.audited_by == nullptr && matching_rule(*policy, subject) != nullptr) {
            verdict.audited_by = policy.get();
        }
    }
    judge_deny(all, subject, verdict);
    judge_allow(all, subject, verdict);
    return verdict;
}

AuthorizationVerdict authorize_connection(const model::Workload& source,
                                          const model::Workload& callee,
                                          const SocketAddress& destination) {
    ConnectionView connection{&source.identity, {}, destination};
    for (const IpAddress& address : source.addresses) {
        if (address.is_v4() == destination.ip.is_v4()) {
            connection.source = address;
            break;
        }
    }
    return authorize(callee, connection, nullptr);
}

bool authorization_needs_requests(const model::Workload& callee, std::uint16_t port) {
    if (callee.authorization == nullptr) {
        return false;
    }
    auto other_port = [port](const Condition& condition) {
        return condition.attribute == Attribute::destination_port &&
               !lists_hold(condition.any_ports, condition.none_ports, [&](std::uint16_t listed) {
                   return listed == port;
               });
    };
    auto elsewhere = [&](const Clause& clause) { return std::ranges::any_of(clause, other_port); };
    auto asks = [&](const model::AuthorizationPolicyPtr& policy) {
        return std::ranges::any_of(policy->rules, [&](const AuthorizationRule& rule) {
            bool never = elsewhere(rule.when) ||
                         (!rule.to.empty() && std::ranges::all_of(rule.to, elsewhere));
            return !never && asks_about_requests(rule);
        });
    };
    const model::Authorization& all = *callee.authorization;
    return std::ranges::any_of(all.deny, asks) || std::ranges::any_of(all.allow, asks) ||
           std::ranges::any_of(all.audit, asks);
}

}  // namespace orlop::decide
