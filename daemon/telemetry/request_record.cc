#include "daemon/telemetry/request_record.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

namespace orlop::telemetry {

std::string_view path_taken_name(PathTaken path) {
    switch (path) {
    case PathTaken::none:
        return "none";
    case PathTaken::plaintext:
        return "plaintext";
    case PathTaken::hbone:
        return "hbone";
    case PathTaken::same_node:
        return "same_node";
    case PathTaken::tls:
        return "tls";
    }
    return "";
}

// Destroying and building in place sets every field, those added later included, to its initial
// value. Default-initialisation (no parentheses) leaves the arena's bytes as they are.
void RequestRecord::reset() {
    std::destroy_at(this);
    new (this) RequestRecord;
}

std::string_view RequestRecord::keep(std::string_view text, std::size_t bytes_max) {
    const std::size_t room = arena_bytes - arena_used_;
    const std::size_t size = std::min({text.size(), bytes_max, room});
    if (size == 0) {
        return {};
    }
    char* begin = arena_.data() + arena_used_;
    std::memcpy(begin, text.data(), size);
    arena_used_ += size;
    return std::string_view(begin, size);
}

TryRecord* RequestRecord::open_try() {
    const std::size_t index = std::min<std::size_t>(tries, tries_listed_max - 1);
    ++tries;
    try_list[index] = TryRecord{};
    return &try_list[index];
}

}  // namespace orlop::telemetry
