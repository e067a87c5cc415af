#include "bench/load/h2_client.h"

#include <algorithm>

namespace orlop::bench {
namespace {

constexpr std::size_t frame_head_bytes = 9;
constexpr std::size_t frame_bytes_max = 16'384;  // what we announce, by default
constexpr std::uint32_t window_max = 0x7fffffff;
constexpr std::uint32_t window_default = 65'535;
constexpr std::int64_t credit_every = 16 << 20;
constexpr std::size_t text_bytes_max = 126;  // a length of 7 bits, one byte of HPACK
constexpr char status_200 = '\x88';          // static table, index 8
constexpr std::uint32_t stream_last = 0x7ffffff0;

enum Type : std::uint8_t {
    data = 0,
    headers = 1,
    rst_stream = 3,
    settings = 4,
    ping = 6,
    goaway = 7,
    window_update = 8,
    continuation = 9,
};
constexpr std::uint8_t end_stream = 0x1;
constexpr std::uint8_t ack = 0x1;
constexpr std::uint8_t end_headers = 0x4;
constexpr std::uint8_t padded = 0x8;
constexpr std::uint8_t prioritized = 0x20;

std::string number(std::uint32_t value, int bytes) {
    std::string text;
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
        text.push_back(static_cast<char>(value >> shift & 0xff));
    }
    return text;
}

std::uint32_t number_at(std::string_view text, std::size_t at, int bytes) {
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) {
        value = value << 8 | static_cast<std::uint8_t>(text[at + static_cast<std::size_t>(i)]);
    }
    return value;
}

std::string frame(Type type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
    return number(static_cast<std::uint32_t>(payload.size()), 3) + static_cast<char>(type) +
           static_cast<char>(flags) + number(stream, 4) + std::string(payload);
}

std::string setting(std::uint32_t id, std::uint32_t value) {
    return number(id, 2) + number(value, 4);
}

// A literal that is not indexed: with a name of the static table below 15, or one of its own.
std::string literal(std::uint8_t name, std::string_view value) {
    return std::string(1, static_cast<char>(name)) + static_cast<char>(value.size()) +
           std::string(value);
}

std::string literal(std::string_view name, std::string_view value) {
    return std::string(1, '\0') + static_cast<char>(name.size()) + std::string(name) +
           static_cast<char>(value.size()) + std::string(value);
}

std::string request_block(const H2Request& request) {
    constexpr char get = '\x82';
    constexpr char http = '\x86';
    constexpr std::uint8_t authority = 1;
    constexpr std::uint8_t path = 4;
    return std::string{get, http} + literal(authority, request.authority) +
           literal(path, request.path) + literal("user-agent", "orlop-bench") +
           literal("accept", "*/*");
}

// Without padding and priority; false when the frame is too short for what its flags say.
bool strip(std::string_view& payload, std::uint8_t flags) {
    if ((flags & padded) != 0) {
        if (payload.empty() || static_cast<std::uint8_t>(payload[0]) >= payload.size()) {
            return false;
        }
        auto pad = static_cast<std::uint8_t>(payload[0]);
        payload = payload.substr(1, payload.size() - 1 - pad);
    }
    if ((flags & prioritized) != 0) {
        if (payload.size() < 5) {
            return false;
        }
        payload.remove_prefix(5);
    }
    return true;
}

}  // namespace

H2Client::H2Client(const H2Request& request, Expected expected)
    : expected_(expected), block_(request_block(request)) {
    if (std::max(request.authority.size(), request.path.size()) > text_bytes_max) {
        wrong("HTTP/2: host and path may have 126 bytes each");
    }
    constexpr std::uint32_t header_table_size = 1;
    constexpr std::uint32_t enable_push = 2;
    constexpr std::uint32_t initial_window_size = 4;
    output_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
              frame(settings,
                    0,
                    0,
                    setting(header_table_size, 0) + setting(enable_push, 0) +
                        setting(initial_window_size, window_max)) +
              frame(window_update, 0, 0, number(window_max - window_default, 4));
}

void H2Client::request(std::size_t tag) {
    auto stream = next_stream_;
    if (stream > stream_last) {
        wrong("HTTP/2: this connection has used all of its streams");
    }
    next_stream_ += 2;
    output_ += frame(headers, end_stream | end_headers, stream, block_);
    live_.push_back({.stream = stream, .tag = tag});
}

void H2Client::drop_output(std::size_t bytes) {
    sent_ += bytes;
    if (sent_ == output_.size()) {
        output_.clear();
        sent_ = 0;
    }
}

bool H2Client::feed(std::string_view data, const OnReply& on_reply) {
    std::string_view text = data;
    if (!input_.empty()) {
        input_.append(data);
        text = input_;
    }
    while (error_.empty() && text.size() >= frame_head_bytes) {
        auto length = number_at(text, 0, 3);
        if (length > frame_bytes_max) {
            return wrong("HTTP/2: a frame longer than 16 KiB");
        }
        if (text.size() < frame_head_bytes + length) {
            break;
        }
        Frame next{static_cast<std::uint8_t>(text[3]),
                   static_cast<std::uint8_t>(text[4]),
                   number_at(text, 5, 4) & window_max,
                   text.substr(frame_head_bytes, length)};
        text.remove_prefix(frame_head_bytes + length);
        on_frame(next, on_reply);
    }
    input_ = std::string(text);
    return error_.empty();
}

bool H2Client::on_frame(const Frame& frame_, const OnReply& on_reply) {
    switch (frame_.type) {
    case settings:
        return on_settings(frame_);
    case ping:
        if ((frame_.flags & ack) == 0) {
            output_ += frame(ping, ack, 0, frame_.payload);
        }
        return true;
    case goaway:
        return wrong("HTTP/2: GOAWAY of the peer");
    case continuation:
        return wrong("HTTP/2: a reply's head does not fit one frame");
    case headers:
    case data:
    case rst_stream:
        break;
    default:
        return true;  // windows and what we do not know
    }
    Live* live = find(frame_.stream);
    if (live == nullptr) {
        return wrong("HTTP/2: a frame of a stream that is not open");
    }
    if (frame_.type == rst_stream) {
        return wrong("HTTP/2: the peer reset a stream");
    }
    bool fine = frame_.type == headers ? on_head(frame_, *live) : on_data(frame_, *live);
    return fine && finish(frame_, *live, on_reply);
}

bool H2Client::on_head(const Frame& frame_, Live& live) {
    auto block = frame_.payload;
    if (!strip(block, frame_.flags)) {
        return wrong("HTTP/2: broken HEADERS");
    }
    if ((frame_.flags & end_headers) == 0) {
        return wrong("HTTP/2: a reply's head does not fit one frame");
    }
    if (live.has_head) {
        return true;  // trailers
    }
    while (!block.empty() && (static_cast<std::uint8_t>(block[0]) & 0xe0) == 0x20) {
        block.remove_prefix(1);  // "the table is empty now"
    }
    if (block.empty() || block[0] != status_200) {
        return wrong("HTTP/2: reply is not a 200");
    }
    live.has_head = true;
    return true;
}

bool H2Client::on_data(const Frame& frame_, Live& live) {
    auto body = frame_.payload;
    if (!live.has_head || !strip(body, frame_.flags & padded)) {
        return wrong("HTTP/2: broken DATA");
    }
    credit(frame_.payload.size());
    if (expected_.content == Content::checked && !matches_pattern(body, live.received)) {
        return wrong("wrong byte after byte " + std::to_string(live.received));
    }
    live.received += static_cast<std::int64_t>(body.size());
    return live.received <= expected_.bytes || wrong("more bytes than the reply has");
}

bool H2Client::finish(const Frame& frame_, Live& live, const OnReply& on_reply) {
    if ((frame_.flags & end_stream) == 0) {
        return true;
    }
    if (!live.has_head || live.received != expected_.bytes) {
        return wrong("a reply of " + std::to_string(live.received) + " bytes, wanted " +
                     std::to_string(expected_.bytes));
    }
    auto tag = live.tag;
    live = live_.back();
    live_.pop_back();
    on_reply(tag);
    return true;
}

bool H2Client::on_settings(const Frame& frame_) {
    if ((frame_.flags & ack) != 0) {
        return true;
    }
    constexpr std::uint32_t max_concurrent_streams = 3;
    for (std::size_t at = 0; at + 6 <= frame_.payload.size(); at += 6) {
        if (number_at(frame_.payload, at, 2) == max_concurrent_streams) {
            streams_max_ = number_at(frame_.payload, at + 2, 4);
        }
    }
    output_ += frame(settings, ack, 0, "");
    return true;
}

// Streams have the largest window there is; the connection's is filled up now and then.
void H2Client::credit(std::size_t bytes) {
    uncredited_ += static_cast<std::int64_t>(bytes);
    if (uncredited_ >= credit_every) {
        output_ += frame(window_update, 0, 0, number(static_cast<std::uint32_t>(uncredited_), 4));
        uncredited_ = 0;
    }
}

H2Client::Live* H2Client::find(std::uint32_t stream) {
    auto found = std::ranges::find(live_, stream, &Live::stream);
    return found == live_.end() ? nullptr : &*found;
}

bool H2Client::wrong(std::string reason) {
    if (error_.empty()) {
        error_ = std::move(reason);
    }
    return false;
}

}  // namespace orlop::bench
