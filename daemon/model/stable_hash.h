// A hash that is the same in every process and generation (FNV-1a): keys of Destinations.
#pragma once

#include <cstdint>
#include <string_view>

namespace orlop::model {

inline std::uint64_t stable_hash(std::string_view text) {
    std::uint64_t hash = 14695981039346656037ull;
    for (char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    }
    return hash;
}

}  // namespace orlop::model
