// TextWriter: bounded formatting into a caller's buffer. Past the end it drops bytes and remembers
// that it did. Belongs to one function call; no allocation.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace orlop::telemetry {

class TextWriter {
public:
    explicit TextWriter(std::span<char> buffer) : buffer_(buffer) {}

    void put(std::string_view text) {
        const std::size_t room = buffer_.size() - size_;
        const std::size_t size = text.size() < room ? text.size() : room;
        if (size != 0) {
            std::memcpy(buffer_.data() + size_, text.data(), size);
            size_ += size;
        }
        cut_ = cut_ || size != text.size();
    }
    void put_number(std::uint64_t number) {
        char digits[20];
        const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
        put(std::string_view(digits, static_cast<std::size_t>(end - digits)));
    }
    // `number` with leading zeros to `width` digits (at most 20).
    void put_padded(std::uint64_t number, std::size_t width);
    // Bytes that could end a field or a line are written as escapes: " and \ with a backslash,
    // controls and DEL as \xHH (text) or \u00HH (JSON).
    void put_escaped_text(std::string_view text);
    // JSON string content (RFC 8259 §7); bytes that are not UTF-8 become U+FFFD.
    void put_escaped_json(std::string_view text);

    std::string_view view() const { return std::string_view(buffer_.data(), size_); }
    bool cut() const { return cut_; }

private:
    std::span<char> buffer_;
    std::size_t size_ = 0;
    bool cut_ = false;
};

}  // namespace orlop::telemetry
