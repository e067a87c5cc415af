#include "tests/unit/codec/h2_pair.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace orlop::h2 {
namespace {

constexpr std::uint32_t calm = 0xb;
constexpr std::uint32_t protocol_error = 1;

// Feeds `frames` until the server gives up; returns after how many, or `most`.
template <class Make> int feed_until_refused(RawServer& raw, int most, Make make) {
    for (int i = 0; i < most; ++i) {
        if (!raw.feed(make(i))) {
            return i;
        }
        raw.drain();
    }
    return most;
}

void expect_calm(RawServer& raw, std::string_view what) {
    ASSERT_FALSE(raw.last) << what;
    EXPECT_EQ(raw.last.error().kind, ErrorKind::limit_exceeded) << what;
    EXPECT_EQ(raw.goaway_code(), calm) << what;
    EXPECT_FALSE(raw.server.session->wants_read()) << what;
    raw.drain();
    EXPECT_TRUE(raw.server.session->finished()) << what;
    EXPECT_FALSE(raw.feed(frame(settings_frame, 0, 0))) << what << ": a failure is final";
}

TEST(Flood, of_control_frames_ends_the_connection) {
    const std::string_view window("\0\0\0\x01", 4);
    const std::string_view priority("\0\0\0\0\x10", 5);
    const struct {
        const char* what;
        std::vector<std::uint8_t> bytes;
    } floods[] = {
        {"PING", frame(ping_frame, 0, 0, "12345678")},
        {"PING ACK", frame(ping_frame, 1, 0, "12345678")},
        {"SETTINGS", frame(settings_frame, 0, 0)},
        {"PRIORITY", frame(priority_frame, 0, 1, priority)},
        {"WINDOW_UPDATE", frame(window_update_frame, 0, 0, window)},
        {"unknown type", frame(0x77, 0, 0, "x")},
    };
    for (const auto& flood : floods) {
        RawServer raw;
        const int taken = feed_until_refused(raw, 3000, [&](int) { return flood.bytes; });
        EXPECT_GE(taken, 900) << flood.what;
        EXPECT_LE(taken, 1001) << flood.what;
        expect_calm(raw, flood.what);
    }
}

TEST(Flood, is_counted_per_second) {
    RawServer raw;
    const int taken = feed_until_refused(raw, 3000, [&raw](int i) {
        raw.now = Instant(std::chrono::milliseconds(2) * i);
        return frame(ping_frame, 0, 0, "12345678");
    });
    EXPECT_EQ(taken, 3000) << "500 per second are no flood";
}

TEST(Flood, of_empty_data_ends_the_connection) {
    RawServer raw;
    raw.feed(frame(headers_frame, end_headers, 1, connect_block));
    const int taken = feed_until_refused(raw, 100, [](int) { return frame(data_frame, 0, 1); });
    EXPECT_LE(taken, 11);
    expect_calm(raw, "empty DATA");
}

TEST(Flood, of_rapid_resets_ends_the_connection) {
    RawServer raw;
    std::uint32_t id = 1;
    const int taken = feed_until_refused(raw, 2000, [&id](int i) {
        if (i % 2 == 0) {
            return frame(headers_frame, end_headers, id, connect_block);
        }
        const auto reset = frame(rst_frame, 0, id, std::string_view("\0\0\0\x08", 4));
        id += 2;
        return reset;
    });
    EXPECT_EQ(taken, 2 * static_cast<int>(limits::h2_early_resets_max) + 1);
    expect_calm(raw, "rapid reset");
    EXPECT_EQ(raw.server.session->open_streams(), 0U);
}

TEST(Flood, of_streams_that_make_us_reset_ends_the_connection) {
    RawServer raw;
    std::uint32_t id = 1;
    const std::string malformed = connect_block + literal("connection", "close");
    const int taken = feed_until_refused(raw, 2000, [&](int) {
        const auto bytes = frame(headers_frame, end_headers, id, malformed);
        id += 2;
        return bytes;
    });
    EXPECT_LE(taken, static_cast<int>(limits::h2_early_resets_max) + 1);
    expect_calm(raw, "malformed requests");
    EXPECT_EQ(raw.server.events.log, "") << "none of them reached the handler";
}

TEST(Flood, is_not_a_tunnel_that_is_cut_after_it_has_lived) {
    RawServer raw;
    for (std::uint32_t i = 0; i < 2 * limits::h2_early_resets_max; ++i) {
        const std::uint32_t id = 2 * i + 1;
        ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, id, connect_block)));
        raw.now += std::chrono::milliseconds(1001);
        ASSERT_TRUE(raw.feed(frame(rst_frame, 0, id, std::string_view("\0\0\0\x08", 4))));
        raw.drain();
    }
    EXPECT_EQ(raw.server.session->stats().streams_reset_early, 0U);
}

TEST(Flood, of_continuations_ends_the_connection) {
    RawServer raw;
    raw.feed(frame(headers_frame, 0, 1, connect_block));
    const int taken = feed_until_refused(raw, 1000, [](int i) {
        return frame(continuation_frame, 0, 1, literal("a" + std::to_string(i), "b"));
    });
    EXPECT_LE(taken, 16);
    ASSERT_FALSE(raw.last);
    EXPECT_NE(raw.goaway_code(), 999U);
    EXPECT_EQ(raw.server.events.log, "");
}

TEST(HeaderBlocks, are_bounded_in_decoded_bytes_and_in_number_cookies_included) {
    RawServer raw;
    std::string many = connect_block;
    for (std::size_t i = 0; i < limits::http_headers_max; ++i) {
        many += literal("cookie", "a=b");
    }
    ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 1, many)));
    EXPECT_EQ(raw.reset_code(1), calm);
    // One entry of the dynamic table of nearly 4 KiB, then references of one byte each.
    std::string bomb = connect_block;
    bomb += '\x40' + literal("x", std::string(3900, 'v')).substr(1);
    bomb += std::string(60, static_cast<char>(0x80 + 62));
    ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 3, bomb)));
    EXPECT_EQ(raw.reset_code(3), calm);
    EXPECT_EQ(raw.server.events.log, "");
    ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 5, connect_block)));
    EXPECT_EQ(raw.server.events.log, "request 5 CONNECT 10.0.0.1:80;");
}

TEST(Requests, that_are_malformed_are_reset_and_never_announced) {
    using namespace std::string_literals;
    const std::pair<const char*, std::string> cases[] = {
        {"NUL in a value", connect_block + literal("a", "b\0c"s)},
        {"CRLF in a value", connect_block + literal("a", "b\r\nc: d")},
        {"LF in a value", connect_block + literal("a", "b\n")},
        {"upper-case name", connect_block + literal("Abc", "b")},
        {"space in a name", connect_block + literal("a b", "b")},
        {"colon in a name", connect_block + literal("a:b", "b")},
        {"empty name", connect_block + literal("", "b")},
        {"connection", connect_block + literal("connection", "close")},
        {"transfer-encoding", connect_block + literal("transfer-encoding", "chunked")},
        {"keep-alive", connect_block + literal("keep-alive", "1")},
        {"proxy-connection", connect_block + literal("proxy-connection", "1")},
        {"upgrade", connect_block + literal("upgrade", "h2c")},
        {"te", connect_block + literal("te", "gzip")},
        {"CONNECT with :path", connect_block + literal(":path", "/")},
        {"CONNECT with :scheme", connect_block + literal(":scheme", "http")},
        {"extended CONNECT",
         literal(":method", "CONNECT") + literal(":scheme", "http") + literal(":path", "/") +
             literal(":protocol", "websocket") + literal(":authority", "a:1")},
        {"CONNECT to a bad host", literal(":method", "CONNECT") + literal(":authority", "a/b:1")},
        {"CONNECT without authority", literal(":method", "CONNECT")},
        {"two authorities", connect_block + literal(":authority", "b:1")},
        {"pseudo after regular",
         literal(":method", "CONNECT") + literal("a", "b") + literal(":authority", "a:1")},
        {"unknown pseudo", connect_block + literal(":foo", "b")},
        {"response pseudo", connect_block + literal(":status", "200")},
        {"no method", literal(":authority", "a:1")},
        {"nothing", ""},
    };
    for (const auto& [what, block] : cases) {
        RawServer raw;
        ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 1, block))) << what;
        EXPECT_EQ(raw.reset_code(1), protocol_error) << what;
        EXPECT_EQ(raw.server.events.log, "") << what;
        EXPECT_EQ(raw.server.session->open_streams(), 0U) << what;
        raw.drain();
        ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 3, connect_block))) << what;
        EXPECT_EQ(raw.server.events.take_log(), "request 3 CONNECT 10.0.0.1:80;") << what;
    }
}

TEST(Requests, that_are_no_tunnel_are_left_to_the_handler) {
    const std::pair<const char*, std::string> cases[] = {
        {"GET",
         literal(":method", "GET") + literal(":scheme", "http") + literal(":authority", "a") +
             literal(":path", "/")},
        {"CONNECT without port", literal(":method", "CONNECT") + literal(":authority", "a")},
    };
    for (const auto& [what, block] : cases) {
        RawServer raw;
        ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers | end_stream, 1, block))) << what;
        EXPECT_EQ(raw.server.events.kinds[1], RequestKind::request) << what;
        raw.drain();
        EXPECT_EQ(raw.server.session->open_streams(), 0U) << what << ": answered and ended";
        EXPECT_TRUE(raw.server.events.log.ends_with("end 1;closed 1;")) << raw.server.events.log;
    }
}

TEST(Connections, with_broken_framing_end_with_a_goaway) {
    const std::string_view huge_window("\x7f\xff\xff\xff", 4);
    const std::pair<const char*, std::vector<std::uint8_t>> cases[] = {
        {"DATA on stream 0", frame(data_frame, 0, 0, "x")},
        {"HEADERS on an even stream", frame(headers_frame, end_headers, 2, connect_block)},
        {"DATA on an idle stream", frame(data_frame, 0, 1, "x")},
        {"bad HPACK", frame(headers_frame, end_headers, 1, "\xff\xff\xff\xff\xff")},
        {"PING of 7 bytes", frame(ping_frame, 0, 0, "1234567")},
        {"window overflow", frame(window_update_frame, 0, 0, huge_window)},
        {"frame too large", frame(data_frame, 0, 1, std::string(20'000, 'x'))},
        {"lone CONTINUATION", frame(continuation_frame, 0, 1, "x")},
    };
    for (const auto& [what, bytes] : cases) {
        RawServer raw;
        EXPECT_FALSE(raw.feed(bytes)) << what;
        EXPECT_NE(raw.goaway_code(), 999U) << what;
        EXPECT_NE(raw.goaway_code(), 0U) << what;
    }
    End server(Role::server);
    const std::string_view http1 = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_FALSE(server.session->feed(
        {reinterpret_cast<const std::uint8_t*>(http1.data()), http1.size()}, Instant{}));
}

TEST(Connections, that_fail_report_every_stream_first) {
    RawServer raw;
    raw.feed(frame(headers_frame, end_headers, 1, connect_block));
    raw.feed(frame(headers_frame, end_headers, 3, connect_block));
    raw.server.events.take_log();
    EXPECT_FALSE(raw.feed(frame(data_frame, 0, 0, "x")));
    EXPECT_EQ(raw.server.events.take_log(), "reset 3 1;reset 1 1;");
}

TEST(Connections, of_peers_that_send_but_never_read_stay_bounded) {
    SessionOptions options;
    options.control_frames_max = 1'000'000;  // let the library's own bound show
    RawServer raw(options);
    bool refused = false;
    for (int i = 0; i < 200'000 && !refused; ++i) {
        refused =
            !raw.server.session->wants_read() || !raw.feed(frame(ping_frame, 0, 0, "12345678"));
    }
    EXPECT_TRUE(refused);
    EXPECT_LE(raw.server.session->output().size(), limits::h2_outbound_queue_bytes_max + 64 * 1024);
}

TEST(Streams, beyond_the_maximum_are_refused_and_others_go_on) {
    RawServer raw;
    for (std::uint32_t i = 0; i <= limits::h2_streams_max; ++i) {
        ASSERT_TRUE(raw.feed(frame(headers_frame, end_headers, 2 * i + 1, connect_block)));
    }
    EXPECT_EQ(raw.server.session->open_streams(), limits::h2_streams_max);
    EXPECT_EQ(raw.reset_code(2 * limits::h2_streams_max + 1), 7U) << "REFUSED_STREAM";
}

TEST(Streams, take_trailers_and_ends_in_odd_places) {
    RawServer raw;
    raw.feed(frame(headers_frame, end_headers, 1, connect_block));
    EXPECT_TRUE(raw.feed(frame(headers_frame, end_headers | end_stream, 1, literal("x", "y"))));
    EXPECT_EQ(raw.server.events.take_log(), "request 1 CONNECT 10.0.0.1:80;trailers 1;end 1;");
    raw.feed(frame(headers_frame, end_headers, 3, connect_block));
    raw.server.events.take_log();
    // Trailers without END_STREAM break the message.
    EXPECT_TRUE(raw.feed(frame(headers_frame, end_headers, 3, literal("x", "y"))));
    EXPECT_EQ(raw.server.events.take_log(), "reset 3 1;");
    EXPECT_TRUE(raw.feed(frame(rst_frame, 0, 3, std::string_view("\0\0\0\x08", 4))));
    EXPECT_EQ(raw.server.events.take_log(), "");
}

}  // namespace
}  // namespace orlop::h2
