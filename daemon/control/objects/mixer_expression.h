// Attribute expressions of Mixer, as far as quotas use them: `source.labels["app"] | "unknown"` and
// `destination.service == "x" && request.path != "/y"`. Pure; bounded by the text's own length.
#pragma once

#include "daemon/base/error.h"
#include "daemon/model/rate_limit.h"

#include <string_view>
#include <vector>

namespace orlop::control {

// Errors name the part that is not understood.
Result<model::LimitExpression> parse_attribute_expression(std::string_view text);
// Empty text and `true` are no condition at all.
Result<std::vector<model::LimitCondition>> parse_mixer_match(std::string_view text);

}  // namespace orlop::control
