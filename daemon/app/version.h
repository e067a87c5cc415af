// The version that every program of orlop reports.
#pragma once

namespace orlop::app {

inline constexpr const char* version = "0.1.0";

}  // namespace orlop::app
