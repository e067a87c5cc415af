#include "daemon/decide/cors.h"

#include "daemon/decide/match_route.h"

#include <algorithm>

namespace orlop::decide {
namespace {

bool allows(const model::CorsPolicy& policy, std::string_view origin) {
    return std::ranges::any_of(policy.allow_origins, [&](const model::StringMatch& match) {
        bool star = match.kind == model::StringMatch::Kind::exact && match.text == "*";
        return star || matches(match, origin);
    });
}

std::string_view credentials(const model::CorsPolicy& policy) {
    return policy.allow_credentials.value_or(false) ? "true" : "";
}

}  // namespace

CorsVerdict decide_cors(const model::CorsPolicy& policy, const CorsRequest& request) {
    if (request.origin.empty()) {
        return CorsVerdict::none;
    }
    bool preflight = request.method == "OPTIONS" && !request.asked_method.empty();
    if (!allows(policy, request.origin)) {
        bool answer = preflight && policy.ignore_unmatched_preflights;
        return answer ? CorsVerdict::preflight_off : CorsVerdict::none;
    }
    return preflight ? CorsVerdict::preflight : CorsVerdict::actual;
}

CorsFields preflight_fields(const model::CorsPolicy& policy, std::string_view origin) {
    CorsFields fields;
    fields.add("access-control-allow-origin", origin);
    fields.add("access-control-allow-credentials", credentials(policy));
    fields.add("access-control-allow-methods", policy.allow_methods);
    fields.add("access-control-allow-headers", policy.allow_headers);
    fields.add("access-control-max-age", policy.max_age);
    return fields;
}

CorsFields actual_fields(const model::CorsPolicy& policy, std::string_view origin) {
    CorsFields fields;
    fields.add("access-control-allow-origin", origin);
    fields.add("access-control-allow-credentials", credentials(policy));
    fields.add("access-control-expose-headers", policy.expose_headers);
    return fields;
}

}  // namespace orlop::decide
