// Reads one HTTP/1.1 reply with a Content-Length, or one echoed message, and checks it as it comes:
// status, length and, when asked, every byte. Bytes in, verdict out; no I/O.
//
//     ReplyReader reader({.bytes = 1024});
//     switch (reader.feed(data)) { case Progress::done: ... }
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orlop::bench {

// Byte i of every body the backend sends. The period divides 64 KiB.
constexpr std::int64_t pattern_period = 64;
constexpr char pattern_byte(std::int64_t i) {
    return static_cast<char>('0' + i % pattern_period);
}

// Does a body that holds `data` from `position` on say what the backend sends?
bool matches_pattern(std::string_view data, std::int64_t position);

enum class Progress : unsigned char { more, done, wrong };
enum class Framing : unsigned char { http, raw };
enum class Content : unsigned char { unchecked, checked };

struct Expected {
    std::int64_t bytes = 1024;
    Framing framing = Framing::http;
    Content content = Content::unchecked;
};

class ReplyReader {
public:
    explicit ReplyReader(Expected expected) : expected_(expected) { reset(); }

    void reset() {
        head_.clear();
        in_body_ = expected_.framing == Framing::raw;
        received_ = 0;
    }
    Progress feed(std::string_view data);
    const std::string& error() const { return error_; }

private:
    Progress feed_body(std::string_view data);
    Progress check_head(std::string_view head);
    Progress wrong(std::string reason) {
        error_ = std::move(reason);
        return Progress::wrong;
    }

    Expected expected_;
    std::string head_;  // only what arrived split; a whole head is checked in place
    std::string error_;
    std::int64_t received_ = 0;
    bool in_body_ = false;
};

}  // namespace orlop::bench
