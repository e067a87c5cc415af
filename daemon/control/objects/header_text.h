// Header values with %OPERATORS% as Istio users write them, cut into model::HeaderText pieces once,
// when the object is read; decide/header_text fills them in for every request.
//
//     if (auto wrong = parse_header_text("from %REQ(x-user)%", text)) report.error(..., *wrong);
#pragma once

#include "daemon/model/route.h"

#include <optional>
#include <string>
#include <string_view>

namespace orlop::control {

// Fills `out`, or says what cannot be read.
std::optional<std::string> parse_header_text(std::string_view written, model::HeaderText& out);

// What is right, for the error's hint.
std::string header_operators();

}  // namespace orlop::control
