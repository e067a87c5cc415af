// Two HTTP/2 sessions joined in memory, and handlers that write down what they are told.
#pragma once

#include "daemon/codec/h2/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace orlop::h2 {

struct Recorder : Handler {
    Session* session = nullptr;
    std::string log;  // "request 1 CONNECT a:1;" ...
    std::map<std::int32_t, std::string> data;
    std::map<std::int32_t, RequestKind> kinds;
    std::uint16_t answer = 200;     // 0: do not answer from within the event
    std::size_t consume_share = 1;  // 0: leave all bytes unconsumed
    std::vector<StreamId> writable;

    void note(std::string_view what, StreamId id, const std::string& more = "") {
        log += std::string(what) + " " + std::to_string(static_cast<std::int32_t>(id)) + more + ";";
    }
    void on_request(StreamId id, const RequestEvent& request) override {
        note("request",
             id,
             " " + std::string(request.method) + " " + std::string(request.authority));
        for (const Field& field : request.fields) {
            log += std::string(field.name) + "=" + std::string(field.value) + ";";
        }
        kinds[static_cast<std::int32_t>(id)] = request.kind;
        if (answer != 0) {
            const bool tunnel = request.kind == RequestKind::tunnel && answer == 200;
            EXPECT_TRUE(session->respond(
                id, tunnel ? answer : 400, {}, tunnel ? StreamEnd::open : StreamEnd::ended));
        }
    }
    void on_response(StreamId id, const ResponseEvent& response) override {
        note("response", id, " " + std::to_string(response.status));
    }
    void on_data(StreamId id, std::span<const std::uint8_t> bytes) override {
        data[static_cast<std::int32_t>(id)].append(reinterpret_cast<const char*>(bytes.data()),
                                                   bytes.size());
        if (consume_share != 0) {
            session->consume(id, bytes.size());
        }
    }
    void on_trailers(StreamId id, std::span<const Field>) override { note("trailers", id); }
    void on_stream_end(StreamId id) override { note("end", id); }
    void on_closed(StreamId id) override { note("closed", id); }
    void on_reset(StreamId id, ErrorCode code) override {
        note("reset", id, " " + std::to_string(static_cast<std::uint32_t>(code)));
    }
    void on_writable(StreamId id) override { writable.push_back(id); }
    void on_goaway(StreamId last, ErrorCode code) override {
        note("goaway", last, " " + std::to_string(static_cast<std::uint32_t>(code)));
    }
    void on_ping_ack(std::uint64_t payload) override {
        log += "pong " + std::to_string(payload) + ";";
    }
    std::string take_log() { return std::exchange(log, {}); }
};

// One side with its recorder.
struct End {
    Recorder events;
    std::unique_ptr<Session> session;

    explicit End(Role role, const SessionOptions& options = {}) {
        session = std::move(*Session::create(role, events, options));
        events.session = session.get();
    }
};

struct Pair {
    End client;
    End server;
    Instant now{};

    explicit Pair(const SessionOptions& client_options = {},
                  const SessionOptions& server_options = {})
        : client(Role::client, client_options), server(Role::server, server_options) {
        settle();
    }

    bool move_bytes(End& from, End& to, std::size_t piece) const {
        std::vector<std::uint8_t> bytes;
        from.session->take_output(bytes, piece);
        if (!bytes.empty()) {
            EXPECT_TRUE(to.session->feed(bytes, now)) << "by pieces of " << piece;
        }
        return !bytes.empty();
    }
    // Moves bytes both ways until neither has any.
    void settle(std::size_t piece = 64 * 1024) {
        for (int turn = 0; turn < 100'000; ++turn) {
            const bool forth = move_bytes(client, server, piece);
            const bool back = move_bytes(server, client, piece);
            if (!forth && !back) {
                return;
            }
        }
        ADD_FAILURE() << "the sessions never fall silent";
    }
    StreamId open() {
        const auto id = client.session->open_connect_stream("10.0.0.1:80", {});
        EXPECT_TRUE(id);
        return id ? *id : StreamId::none;
    }
};

// Frames by hand, for what no well-behaved session would send.
inline std::vector<std::uint8_t>
frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload = {}) {
    const auto length = static_cast<std::uint32_t>(payload.size());
    std::vector<std::uint8_t> bytes = {static_cast<std::uint8_t>(length >> 16),
                                       static_cast<std::uint8_t>(length >> 8),
                                       static_cast<std::uint8_t>(length),
                                       type,
                                       flags,
                                       static_cast<std::uint8_t>(stream >> 24),
                                       static_cast<std::uint8_t>(stream >> 16),
                                       static_cast<std::uint8_t>(stream >> 8),
                                       static_cast<std::uint8_t>(stream)};
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
}
inline std::string literal(std::string_view name, std::string_view value) {
    std::string field("\0", 1);  // HPACK: literal without indexing, new name, no Huffman
    const auto length = [&field](std::size_t size) {
        if (size < 127) {
            field += static_cast<char>(size);
            return;
        }
        field += static_cast<char>(127);
        std::size_t rest = size - 127;
        while (rest >= 128) {
            field += static_cast<char>(rest % 128 + 128);
            rest /= 128;
        }
        field += static_cast<char>(rest);
    };
    length(name.size());
    field += name;
    length(value.size());
    field += value;
    return field;
}
inline const std::string connect_block =
    literal(":method", "CONNECT") + literal(":authority", "10.0.0.1:80");

enum : std::uint8_t {
    data_frame = 0,
    headers_frame = 1,
    priority_frame = 2,
    rst_frame = 3,
    settings_frame = 4,
    ping_frame = 6,
    goaway_frame = 7,
    window_update_frame = 8,
    continuation_frame = 9,
};
enum : std::uint8_t { end_stream = 1, end_headers = 4 };

// A server fed by hand.
struct RawServer {
    End server;
    Instant now{};
    Result<void> last;

    explicit RawServer(const SessionOptions& options = {}) : server(Role::server, options) {
        feed_text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        feed(frame(settings_frame, 0, 0));
    }
    bool feed(const std::vector<std::uint8_t>& bytes) {
        last = server.session->feed(bytes, now);
        return last.has_value();
    }
    bool feed_text(std::string_view text) { return feed({text.begin(), text.end()}); }
    void drain() { server.session->drop_output(server.session->output().size()); }
    // The error code of a GOAWAY in the output; 999 when there is none.
    std::uint32_t goaway_code() { return code_of(goaway_frame, 0, 16); }
    // The error code of an RST_STREAM in the output; 999 when there is none.
    std::uint32_t reset_code(std::uint32_t stream) { return code_of(rst_frame, stream, 12); }
    std::uint32_t code_of(std::uint8_t type, std::uint32_t stream, std::size_t at) {
        auto out = server.session->output();
        while (out.size() > at) {
            const std::size_t length = static_cast<std::size_t>(out[0]) << 16 |
                                       static_cast<std::size_t>(out[1]) << 8 | out[2];
            if (out[3] == type && out[8] == stream) {
                return out[at];
            }
            out = out.subspan(std::min(out.size(), 9 + length));
        }
        return 999;
    }
};

}  // namespace orlop::h2
