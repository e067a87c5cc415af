// CORS (istio-semantics §2): what a corsPolicy makes of a request, and the fields it answers with.
//
// Pure. A request without Origin is none of its business. A preflight (OPTIONS with
// Access-Control-Request-Method) of an allowed origin is answered here; one of another origin goes
// to the application, or is answered without any permission, as unmatchedPreflights says.
//
//     CorsRequest request{.method = "OPTIONS", .origin = "https://a", .asked_method = "PUT"};
//     switch (decide_cors(policy, request)) { ... }
#pragma once

#include "daemon/model/route.h"

#include <array>
#include <cstddef>
#include <string_view>

namespace orlop::decide {

struct CorsRequest {
    std::string_view method;
    std::string_view origin;        // empty: not sent
    std::string_view asked_method;  // Access-Control-Request-Method
};

enum class CorsVerdict : unsigned char {
    none,           // not a cross-origin request, or of an origin that is not allowed
    actual,         // forward; the response gets actual_fields()
    preflight,      // answer 200 with preflight_fields()
    preflight_off,  // answer 200 without permissions
};
CorsVerdict decide_cors(const model::CorsPolicy& policy, const CorsRequest& request);

struct CorsField {
    std::string_view name;
    std::string_view value;
};
struct CorsFields {
    std::array<CorsField, 6> list;
    std::size_t count = 0;
    void add(std::string_view name, std::string_view value) {
        if (!value.empty()) {
            list[count++] = {name, value};
        }
    }
};
// Views of the policy and of `origin`.
CorsFields preflight_fields(const model::CorsPolicy& policy, std::string_view origin);
CorsFields actual_fields(const model::CorsPolicy& policy, std::string_view origin);

}  // namespace orlop::decide
