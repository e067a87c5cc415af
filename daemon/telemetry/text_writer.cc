#include "daemon/telemetry/text_writer.h"

namespace orlop::telemetry {

namespace {

constexpr std::string_view hex = "0123456789abcdef";

bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7F;
}

// Length of the well-formed UTF-8 sequence at the front of `text`, 0 when there is none.
std::size_t utf8_length(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    std::size_t length = 0;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
    }
    if (length == 0 || text.size() < length) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool overlong = (first == 0xE0 && at(1) < 0xA0) || (first == 0xF0 && at(1) < 0x90);
    const bool beyond = (first == 0xED && at(1) > 0x9F) || (first == 0xF4 && at(1) > 0x8F);
    return overlong || beyond ? 0 : length;
}

}  // namespace

void TextWriter::put_padded(std::uint64_t number, std::size_t width) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
    const auto size = static_cast<std::size_t>(end - digits);
    for (std::size_t i = size; i < width; ++i) {
        put("0");
    }
    put(std::string_view(digits, size));
}

void TextWriter::put_escaped_text(std::string_view text) {
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (is_control(byte)) {
            const char escape[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
            put(std::string_view(escape, sizeof(escape)));
        } else if (c == '"' || c == '\\') {
            const char escape[2] = {'\\', c};
            put(std::string_view(escape, sizeof(escape)));
        } else {
            put(std::string_view(&c, 1));
        }
    }
}

void TextWriter::put_escaped_json(std::string_view text) {
    while (!text.empty()) {
        const auto byte = static_cast<unsigned char>(text[0]);
        std::size_t length = utf8_length(text);
        if (length == 0) {
            put("\xEF\xBF\xBD");
            length = 1;
        } else if (is_control(byte)) {
            const char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
            put(std::string_view(escape, sizeof(escape)));
        } else if (byte == '"' || byte == '\\') {
            const char escape[2] = {'\\', text[0]};
            put(std::string_view(escape, sizeof(escape)));
        } else {
            put(text.substr(0, length));
        }
        text.remove_prefix(length);
    }
}

}  // namespace orlop::telemetry
