// SpiffeId: who a workload is, as a value.
//
// Grammar (SPIFFE-ID, Istio's profile): spiffe://<trust domain>/ns/<namespace>/sa/<account>.
// parse() accepts exactly that: lower-case trust domain of [a-z0-9._-], DNS-1123 namespace and
// service account, no query, fragment, port, user info, percent escapes or empty segment, at most
// 2048 bytes. Comparison is by bytes.
#pragma once

#include "daemon/base/error.h"

#include <compare>
#include <string>
#include <string_view>

namespace orlop {

struct SpiffeId {
    std::string trust_domain;
    std::string ns;
    std::string service_account;

    static Result<SpiffeId> parse(std::string_view uri);
    std::string to_string() const;
    auto operator<=>(const SpiffeId&) const = default;
};

}  // namespace orlop
