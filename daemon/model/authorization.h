// Authorization: who may ask what of a workload (istio-semantics §10), compiled.
//
// A rule is `from` AND `to` AND `when`; the clauses of `from` and `to` are alternatives, the
// conditions of a clause hold together. Every field of the YAML becomes a Condition on one
// attribute of the connection or of the request, so that decide/authorize needs to know attributes
// only. Immutable; a Workload without policies has no Authorization at all.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/model/object_ref.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace orlop::model {

enum class AuthorizationAction : unsigned char { allow, deny, audit };

enum class Attribute : unsigned char {
    // of the connection
    principal,         // td/ns/<namespace>/sa/<account>; empty without a checked identity
    source_namespace,  // of the principal
    service_account,   // <namespace>/<account> of the principal
    source_ip,
    destination_ip,
    destination_port,  // container port
    // of the request
    host,
    method,
    path,
    header,
};
inline bool needs_request(Attribute attribute) {
    return attribute >= Attribute::host;
}

// exact, `abc*`, `*abc`, `*` (any text but the empty one), or a path template.
struct TextForm {
    enum class Kind : unsigned char { exact, prefix, suffix, present, path_template };
    Kind kind = Kind::exact;
    std::string text;                   // without the star; the template as written
    std::vector<std::string> segments;  // of a template: literal, "{*}" or "{**}"
    bool ignore_case = false;
};

// Holds when a value of `any` (when there are some) and no value of `none` matches. Only the lists
// that fit the attribute are used: blocks for addresses, ports, texts for the rest.
struct Condition {
    Attribute attribute = Attribute::principal;
    std::string header;  // lower-case
    std::vector<TextForm> any;
    std::vector<TextForm> none;
    std::vector<Cidr> any_blocks;
    std::vector<Cidr> none_blocks;
    std::vector<std::uint16_t> any_ports;
    std::vector<std::uint16_t> none_ports;
};
using Clause = std::vector<Condition>;

struct AuthorizationRule {
    std::vector<Clause> from;  // empty: anyone
    std::vector<Clause> to;    // empty: anything
    Clause when;
    std::string details;  // rbac_access_denied_matched_policy[ns[..]-policy[..]-rule[..]]
};

struct AuthorizationPolicy {
    AuthorizationAction action = AuthorizationAction::allow;
    bool dry_run = false;  // annotation istio.io/dry-run: judged and reported, not enforced
    std::vector<AuthorizationRule> rules;
    ObjectRefPtr source;
};
using AuthorizationPolicyPtr = std::shared_ptr<const AuthorizationPolicy>;

// Everything that applies to one workload.
struct Authorization {
    std::vector<AuthorizationPolicyPtr> deny;
    std::vector<AuthorizationPolicyPtr> allow;
    std::vector<AuthorizationPolicyPtr> audit;
    std::string trust_domain;
    std::vector<std::string> trust_domain_aliases;  // taken for trust_domain
};
using AuthorizationPtr = std::shared_ptr<const Authorization>;

}  // namespace orlop::model
