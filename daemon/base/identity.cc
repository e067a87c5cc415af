#include "daemon/base/identity.h"

#include <algorithm>

namespace orlop {
namespace {

bool is_lower_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_trust_domain(std::string_view text) {
    return !text.empty() && text.size() <= 255 && std::ranges::all_of(text, [](char c) {
        return is_lower_alnum(c) || c == '.' || c == '-' || c == '_';
    });
}

// DNS-1123 subdomain: service accounts may hold dots, namespaces may not.
bool is_dns_name(std::string_view text, bool dots) {
    return !text.empty() && text.size() <= 253 && is_lower_alnum(text.front()) &&
           is_lower_alnum(text.back()) && std::ranges::all_of(text, [dots](char c) {
               return is_lower_alnum(c) || c == '-' || (dots && c == '.');
           });
}

}  // namespace

Result<SpiffeId> SpiffeId::parse(std::string_view uri) {
    constexpr std::string_view scheme = "spiffe://";
    constexpr std::string_view ns_part = "/ns/";
    constexpr std::string_view sa_part = "/sa/";
    auto bad = [&] {
        return fail(ErrorKind::invalid_input,
                    "not a workload identity of the form spiffe://<trust domain>/ns/<namespace>/"
                    "sa/<service account>");
    };
    if (uri.size() > 2048 || !uri.starts_with(scheme)) {
        return bad();
    }
    std::string_view rest = uri.substr(scheme.size());
    auto ns_at = rest.find('/');
    if (ns_at == std::string_view::npos || !rest.substr(ns_at).starts_with(ns_part)) {
        return bad();
    }
    std::string_view after_ns = rest.substr(ns_at + ns_part.size());
    auto sa_at = after_ns.find('/');
    if (sa_at == std::string_view::npos || !after_ns.substr(sa_at).starts_with(sa_part)) {
        return bad();
    }
    SpiffeId id{std::string(rest.substr(0, ns_at)),
                std::string(after_ns.substr(0, sa_at)),
                std::string(after_ns.substr(sa_at + sa_part.size()))};
    if (!is_trust_domain(id.trust_domain) || !is_dns_name(id.ns, false) ||
        !is_dns_name(id.service_account, true)) {
        return bad();
    }
    return id;
}

std::string SpiffeId::to_string() const {
    return "spiffe://" + trust_domain + "/ns/" + ns + "/sa/" + service_account;
}

}  // namespace orlop
