// What a rate limit or a quota sees of a request: the values of its key, and whether it applies.
//
// Pure; values are views of the subject. Labels of a destination are those that all its endpoints
// share, since limits are asked before an endpoint is chosen.
#pragma once

#include "daemon/decide/match_route.h"
#include "daemon/model/rate_limit.h"

#include <array>
#include <optional>
#include <string_view>

namespace orlop::decide {

struct LimitSubject {
    const RequestView* request = nullptr;
    const model::Workload* source = nullptr;
    const model::Service* service = nullptr;          // null: unknown
    const model::Destination* destination = nullptr;  // null: none was chosen
    std::string_view source_principal{};              // spiffe://...
    std::string_view source_address{};
};

std::optional<std::string_view> value_of(const model::LimitAttribute& attribute,
                                         const LimitSubject& subject);
// The first alternative that is present, else "".
std::string_view value_of(const model::LimitExpression& expression, const LimitSubject& subject);

bool applies(const model::RateLimit& limit, const LimitSubject& subject);
bool applies(const model::Quota& quota, const LimitSubject& subject);

}  // namespace orlop::decide
