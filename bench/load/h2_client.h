// The caller's side of one HTTP/2 connection by prior knowledge (RFC 9113), as little of it as a
// load needs: GET requests that are one constant header block, replies checked for status and
// length. Bytes in, verdicts out; no I/O. Not the daemon's codec, so that a fault of ours cannot
// flatter us.
//
// No dynamic table is offered (SETTINGS_HEADER_TABLE_SIZE 0), so a reply's block can be read
// without state: a status of 200 is the one byte 0x88 that every encoder uses for it.
//
//     H2Client client({.authority = "server", .path = "/"}, Expected{.bytes = 1024});
//     client.request(tag);
//     write(client.output()); client.drop_output(n);
//     client.feed(data, [](std::size_t tag) { ... });   // false: client.error() says why
#pragma once

#include "bench/load/reply.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::bench {

struct H2Request {
    std::string authority;
    std::string path;
};

class H2Client {
public:
    using OnReply = std::function<void(std::size_t tag)>;

    H2Client(const H2Request& request, Expected expected);

    void request(std::size_t tag);  // queues one; `tag` comes back with its reply
    bool feed(std::string_view data, const OnReply& on_reply);
    const std::string& error() const { return error_; }

    std::string_view output() const { return std::string_view(output_).substr(sent_); }
    void drop_output(std::size_t bytes);

    // The peer's bound on streams at once; it comes with its SETTINGS.
    std::uint32_t streams_max() const { return streams_max_; }

private:
    struct Frame {
        std::uint8_t type = 0;
        std::uint8_t flags = 0;
        std::uint32_t stream = 0;
        std::string_view payload;
    };
    struct Live {
        std::uint32_t stream = 0;
        std::size_t tag = 0;
        std::int64_t received = 0;
        bool has_head = false;
    };

    bool on_frame(const Frame& frame, const OnReply& on_reply);
    bool on_head(const Frame& frame, Live& live);
    bool on_data(const Frame& frame, Live& live);
    bool on_settings(const Frame& frame);
    bool finish(const Frame& frame, Live& live, const OnReply& on_reply);
    bool wrong(std::string reason);
    void credit(std::size_t bytes);
    Live* find(std::uint32_t stream);

    Expected expected_;
    std::string block_;
    std::string input_;  // a frame that has not come whole
    std::string output_;
    std::size_t sent_ = 0;
    std::string error_;
    std::vector<Live> live_;  // few: found by walking
    std::uint32_t next_stream_ = 1;
    std::uint32_t streams_max_ = 0xffffffff;
    std::int64_t uncredited_ = 0;
};

}  // namespace orlop::bench
