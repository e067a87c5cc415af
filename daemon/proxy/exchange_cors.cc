// CORS: preflights answered at the caller's node, permissions added to answers
// (istio-semantics §2; after faults, before the router, as Envoy's filters are ordered).
#include "daemon/decide/cors.h"
#include "daemon/proxy/exchange.h"

namespace orlop::proxy {

std::optional<LocalAnswer> Exchange::apply_cors() {
    auto value = [&](std::string_view name) {
        const Field* field = request_.fields.find(name);
        return field == nullptr ? std::string_view() : field->value;
    };
    const model::CorsPolicy& policy = *route_->cors;
    decide::CorsRequest request{
        request_.method, value("origin"), value("access-control-request-method")};
    decide::CorsVerdict verdict = decide::decide_cors(policy, request);
    if (verdict == decide::CorsVerdict::none) {
        if (!request.origin.empty()) {
            note_action("CORS: origin not allowed");
        }
        return std::nullopt;
    }
    decide::CorsFields fields;
    if (verdict == decide::CorsVerdict::preflight) {
        fields = decide::preflight_fields(policy, request.origin);
    } else if (verdict == decide::CorsVerdict::actual) {
        fields = decide::actual_fields(policy, request.origin);
    }
    for (std::size_t i = 0; i < fields.count; ++i) {
        extra_fields_.push_back({fields.list[i].name, fields.list[i].value});
    }
    if (verdict == decide::CorsVerdict::actual) {
        note_action("CORS: origin allowed");
        return std::nullopt;
    }
    note_action(verdict == decide::CorsVerdict::preflight ? "CORS: preflight answered here"
                                                          : "CORS: preflight without permission");
    return LocalAnswer{200, "", "", "cors_response"};
}

}  // namespace orlop::proxy
