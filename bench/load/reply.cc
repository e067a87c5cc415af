#include "bench/load/reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <strings.h>

namespace orlop::bench {
namespace {

constexpr std::size_t head_bytes_max = 16 * 1024;

// The value of a header, or empty. Headers here come from peers under test: names in any case.
std::string_view header(std::string_view head, std::string_view name) {
    std::size_t at = head.find("\r\n");
    while (at != std::string_view::npos) {
        at += 2;
        auto end = head.find("\r\n", at);
        auto line = head.substr(at, end - at);
        if (line.size() > name.size() && line[name.size()] == ':' &&
            strncasecmp(line.data(), name.data(), name.size()) == 0) {
            auto value = line.substr(name.size() + 1);
            auto first = value.find_first_not_of(' ');
            return first == std::string_view::npos ? std::string_view() : value.substr(first);
        }
        at = end;
    }
    return {};
}

}  // namespace

// Compares in blocks: byte by byte would cost the generator more than the transfer does.
bool matches_pattern(std::string_view data, std::int64_t position) {
    static const std::string pattern = [] {
        std::string text;
        for (std::int64_t i = 0; i < 64 * 1024 + pattern_period; ++i) {
            text.push_back(pattern_byte(i));
        }
        return text;
    }();
    while (!data.empty()) {
        auto offset = static_cast<std::size_t>(position % pattern_period);
        auto block = std::min(data.size(), pattern.size() - offset);
        if (std::memcmp(data.data(), pattern.data() + offset, block) != 0) {
            return false;
        }
        data.remove_prefix(block);
        position += static_cast<std::int64_t>(block);
    }
    return true;
}

Progress ReplyReader::feed(std::string_view data) {
    if (in_body_) {
        return feed_body(data);
    }
    std::string_view text = data;
    if (!head_.empty()) {
        head_.append(data);
        text = head_;
    }
    auto end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        if (text.size() > head_bytes_max) {
            return wrong("reply head longer than 16 KiB");
        }
        if (head_.empty()) {
            head_.assign(data);
        }
        return Progress::more;
    }
    if (check_head(text.substr(0, end + 2)) == Progress::wrong) {
        return Progress::wrong;
    }
    in_body_ = true;
    auto body = text.substr(end + 4);
    return body.empty() && expected_.bytes > 0 ? Progress::more : feed_body(body);
}

Progress ReplyReader::check_head(std::string_view head) {
    if (!head.starts_with("HTTP/1.1 200")) {
        return wrong("reply is not a 200: " + std::string(head.substr(0, head.find("\r\n"))));
    }
    auto text = header(head, "content-length");
    std::int64_t length = -1;
    std::from_chars(text.data(), text.data() + text.size(), length);
    if (length != expected_.bytes) {
        return wrong("content-length is '" + std::string(text) + "', wanted " +
                     std::to_string(expected_.bytes));
    }
    return Progress::more;
}

Progress ReplyReader::feed_body(std::string_view data) {
    auto after = received_ + static_cast<std::int64_t>(data.size());
    if (after > expected_.bytes) {
        return wrong("more bytes than the reply has");
    }
    if (expected_.content == Content::checked && !matches_pattern(data, received_)) {
        return wrong("wrong byte after byte " + std::to_string(received_));
    }
    received_ = after;
    return received_ == expected_.bytes ? Progress::done : Progress::more;
}

}  // namespace orlop::bench
