// Character classes of RFC 9110 and RFC 3986 as one table, one bit per class.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace orlop::grammar {

inline constexpr std::uint8_t token_bit = 1;       // tchar
inline constexpr std::uint8_t target_bit = 2;      // visible ASCII except '#'
inline constexpr std::uint8_t value_bit = 4;       // field-vchar, SP, HTAB and obs-text
inline constexpr std::uint8_t unreserved_bit = 8;  // RFC 3986
inline constexpr std::uint8_t host_bit = 16;       // reg-name as we allow it: [A-Za-z0-9._-]
inline constexpr std::uint8_t hex_bit = 32;
inline constexpr std::uint8_t digit_bit = 64;

consteval std::array<std::uint8_t, 256> build_classes() {
    std::array<std::uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c) {
        const bool digit = c >= '0' && c <= '9';
        const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const auto in = [c](std::string_view set) {
            return c < 128 && set.find(static_cast<char>(c)) != std::string_view::npos;
        };
        std::uint8_t bits = 0;
        bits |= (digit || alpha || (c != 0 && in("!#$%&'*+-.^_`|~"))) ? token_bit : 0;
        bits |= (c > 0x20 && c < 0x7f && c != '#') ? target_bit : 0;
        bits |= ((c >= 0x20 && c != 0x7f) || c == '\t') ? value_bit : 0;
        bits |= (digit || alpha || (c != 0 && in("-._~"))) ? unreserved_bit : 0;
        bits |= (digit || alpha || (c != 0 && in("-._"))) ? host_bit : 0;
        bits |= (digit || (c != 0 && in("abcdefABCDEF"))) ? hex_bit : 0;
        bits |= digit ? digit_bit : 0;
        table[c] = bits;
    }
    return table;
}
inline constexpr std::array<std::uint8_t, 256> classes = build_classes();

inline bool is(char c, std::uint8_t bits) {
    return (classes[static_cast<unsigned char>(c)] & bits) != 0;
}
// `bit` is one of the above. No early exit: good input is the common case, and loads without
// branches overlap.
inline bool all(std::string_view text, std::uint8_t bit) {
    std::uint8_t common = bit;
    for (const char c : text) {
        common &= classes[static_cast<unsigned char>(c)];
    }
    return common != 0;
}
inline bool token(std::string_view text) {
    return !text.empty() && all(text, token_bit);
}
inline char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
inline bool blank(char c) {
    return c == ' ' || c == '\t';
}
inline std::string_view trim(std::string_view text) {
    while (!text.empty() && blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}
// -1 when `c` is not a hexadecimal digit.
inline int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char l = lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}
// Bytes a field value may carry: no NUL, CR, LF, DEL or other control except HTAB. Vectorised:
// values are most of a head's bytes.
bool valid_value(std::string_view value);

// Splits a #list of RFC 9110 section 5.6.1 at its commas, elements trimmed. Quoted strings are
// not understood: only for lists of tokens. Empty elements are skipped, as recipients must.
class ListReader {
public:
    explicit ListReader(std::string_view list) : rest_(list) {}
    bool next(std::string_view& element) {
        while (!rest_.empty()) {
            const std::size_t comma = rest_.find(',');
            element = trim(rest_.substr(0, comma));
            rest_ = comma == std::string_view::npos ? std::string_view() : rest_.substr(comma + 1);
            if (!element.empty()) {
                return true;
            }
        }
        return false;
    }

private:
    std::string_view rest_;
};

}  // namespace orlop::grammar
