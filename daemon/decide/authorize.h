// authorize: may this peer do that at this workload (istio-semantics §10)?
//
// Pure, allocation-free but for a header that occurs several times. Order: any DENY that matches
// refuses; without ALLOW policies everything else is allowed; with some, one of them must match.
// AUDIT and dry-run policies only mark the verdict.
//
// `request` null: the connection carries bytes. Then an ALLOW rule that asks about requests never
// matches, and a DENY rule loses such conditions, which makes it broader; one that asks about
// requests only is no rule at all.
//
// A header sent several times counts joined by commas; but a rule that refuses also matches when
// one of the values does, and a negative condition of a rule that allows fails then: otherwise
// sending a header twice would get around a policy.
//
// Lifetime: the verdict points into the workload's Authorization. Thread: any.
//
//     auto verdict = authorize(*workload, {&peer, source, destination}, nullptr);
//     if (!verdict.allowed) { close; log verdict.details }
#pragma once

#include "daemon/base/identity.h"
#include "daemon/decide/match_route.h"
#include "daemon/model/authorization.h"
#include "daemon/model/workload.h"

#include <string_view>

namespace orlop::decide {

struct ConnectionView {
    const SpiffeId* peer = nullptr;  // null: plaintext
    IpAddress source;
    SocketAddress destination;  // pod address and container port
};

struct AuthorizationVerdict {
    bool allowed = true;
    // rbac_access_denied_matched_policy[...] when refused; [none] when no ALLOW policy matched.
    std::string_view details{};
    const model::AuthorizationPolicy* refused_by = nullptr;  // null when no ALLOW matched
    const model::AuthorizationPolicy* audited_by = nullptr;
    const model::AuthorizationPolicy* dry_run = nullptr;  // would have refused
    std::string_view dry_run_details{};
};

AuthorizationVerdict authorize(const model::Workload& callee,
                               const ConnectionView& connection,
                               const RequestView* request);

// Whether a rule that can match at this port asks about requests.
bool authorization_needs_requests(const model::Workload& callee, std::uint16_t port);

inline constexpr std::string_view access_denied_body = "RBAC: access denied";
// When another node refused and did not say which policy of its own did.
inline constexpr std::string_view unknown_denial_details =
    "rbac_access_denied_matched_policy[callee]";

// What the callee's node says of a connection that `source` opens to `destination`.
AuthorizationVerdict authorize_connection(const model::Workload& source,
                                          const model::Workload& callee,
                                          const SocketAddress& destination);

}  // namespace orlop::decide
