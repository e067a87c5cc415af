#pragma once

#include <cstddef>

namespace orlop::limits {
inline constexpr std::size_t things_max = 64;
} // namespace orlop::limits
