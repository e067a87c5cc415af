// Numbers in what programs print.
#pragma once

#include <algorithm>
#include <charconv>
#include <string_view>

namespace orlop::support {

// The number that follows the first `word`; -1 without one. Blanks between are skipped.
inline double number_after(std::string_view text, std::string_view word, std::size_t from = 0) {
    const std::size_t at = text.find(word, from);
    if (at == std::string_view::npos) {
        return -1;
    }
    text.remove_prefix(at + word.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    double value = -1;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

inline long whole_number_after(std::string_view text, std::string_view word, std::size_t from = 0) {
    return static_cast<long>(number_after(text, word, from));
}

}  // namespace orlop::support
