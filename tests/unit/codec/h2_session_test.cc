#include "tests/unit/codec/h2_pair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace orlop::h2 {
namespace {

TEST(Tunnel, opens_carries_bytes_both_ways_and_closes_in_order) {
    Pair pair;
    const Field fields[] = {{"baggage", "k8s.cluster.name=a"}};
    const StreamId id = *pair.client.session->open_connect_stream("10.1.2.3:8080", fields);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(),
              "request 1 CONNECT 10.1.2.3:8080;baggage=k8s.cluster.name=a;");
    EXPECT_EQ(pair.server.events.kinds[1], RequestKind::tunnel);
    EXPECT_EQ(pair.client.events.take_log(), "response 1 200;");
    EXPECT_EQ(*pair.client.session->write(id, "hello"), 5U);
    EXPECT_EQ(*pair.server.session->write(id, "world"), 5U);
    pair.settle();
    EXPECT_EQ(pair.server.events.data[1], "hello");
    EXPECT_EQ(pair.client.events.data[1], "world");
    pair.client.session->end(id);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "end 1;");
    EXPECT_EQ(*pair.server.session->write(id, "still here"), 10U) << "half closed";
    EXPECT_FALSE(pair.client.session->write(id, "x")) << "after end()";
    pair.server.session->end(id);
    pair.settle();
    EXPECT_EQ(pair.client.events.data[1], "worldstill here");
    EXPECT_EQ(pair.client.events.take_log(), "end 1;closed 1;");
    EXPECT_EQ(pair.server.events.take_log(), "closed 1;");
    EXPECT_EQ(pair.client.session->open_streams(), 0U);
    EXPECT_EQ(pair.server.session->open_streams(), 0U);
}

TEST(Tunnel, closes_the_same_when_the_server_ends_first_and_bytes_come_one_by_one) {
    Pair pair;
    const StreamId id = pair.open();
    pair.settle(1);
    EXPECT_EQ(*pair.server.session->write(id, "bye"), 3U);
    pair.server.session->end(id);
    pair.settle(1);
    EXPECT_EQ(pair.client.events.take_log(), "response 1 200;end 1;");
    EXPECT_EQ(pair.client.events.data[1], "bye");
    pair.client.session->end(id);
    pair.settle(1);
    EXPECT_EQ(pair.client.events.take_log(), "closed 1;");
    EXPECT_EQ(pair.server.events.take_log(), "request 1 CONNECT 10.0.0.1:80;end 1;closed 1;");
}

// Writes until nothing is accepted, moving bytes in between. Returns what was accepted.
std::size_t write_all(Pair& pair, End& from, StreamId id, std::string_view bytes) {
    std::size_t sent = 0;
    for (int turn = 0; turn < 1000 && sent < bytes.size(); ++turn) {
        const auto accepted = from.session->write(id, bytes.substr(sent));
        EXPECT_TRUE(accepted);
        sent += accepted ? *accepted : 0;
        pair.settle();
        if (accepted && *accepted == 0) {
            break;
        }
    }
    return sent;
}

TEST(FlowControl, stalls_at_the_window_and_resumes_when_the_reader_consumes) {
    Pair pair;
    pair.server.events.consume_share = 0;
    const StreamId id = pair.open();
    pair.settle();
    const std::string bytes(400 * 1024, 'x');
    const std::size_t sent = write_all(pair, pair.client, id, bytes);
    EXPECT_EQ(sent, limits::h2_stream_window_bytes);
    EXPECT_EQ(pair.server.events.data[1].size(), sent);
    pair.client.events.writable.clear();
    pair.server.session->consume(id, 200 * 1024);
    pair.settle();
    ASSERT_EQ(pair.client.events.writable.size(), 1U);
    EXPECT_EQ(pair.client.events.writable[0], id);
    EXPECT_EQ(write_all(pair, pair.client, id, std::string_view(bytes).substr(sent)),
              bytes.size() - sent);
    EXPECT_EQ(pair.server.events.data[1], bytes);
}

TEST(FlowControl, lets_other_streams_pass_one_that_is_not_read) {
    Pair pair;
    const StreamId stuck = pair.open();
    const StreamId lively = pair.open();
    pair.settle();
    pair.server.events.consume_share = 0;
    write_all(pair, pair.client, stuck, std::string(300 * 1024, 'a'));
    pair.server.events.consume_share = 1;
    const std::string bytes(3 * 1024 * 1024, 'b');
    EXPECT_EQ(write_all(pair, pair.client, lively, bytes), bytes.size());
    EXPECT_EQ(pair.server.events.data[3].size(), bytes.size());
}

TEST(FlowControl, gives_the_connection_back_what_a_reset_stream_never_read) {
    Pair pair;
    pair.server.events.consume_share = 0;
    for (int round = 0; round < 12; ++round) {  // 3 MiB over a connection window of 1 MiB
        const StreamId id = pair.open();
        pair.settle();
        EXPECT_EQ(write_all(pair, pair.client, id, std::string(256 * 1024, 'a')), 256U * 1024);
        if (round % 2 == 0) {
            pair.client.session->reset(id, ErrorCode::cancel);
        } else {
            pair.server.session->reset(id, ErrorCode::cancel);
        }
        pair.settle();
    }
}

TEST(FlowControl, waits_at_a_window_of_zero_with_the_end_as_well) {
    Pair pair;
    pair.server.events.consume_share = 0;
    const StreamId id = pair.open();
    pair.settle();
    write_all(pair, pair.client, id, std::string(limits::h2_stream_window_bytes, 'x'));
    EXPECT_EQ(*pair.client.session->write(id, "more"), 0U);
    pair.client.session->end(id);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "request 1 CONNECT 10.0.0.1:80;");
    pair.server.session->consume(id, limits::h2_stream_window_bytes);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "end 1;");
}

TEST(FlowControl, opens_nothing_on_a_window_of_zero_from_the_start) {
    SessionOptions closed;
    closed.stream_window_bytes = 0;
    Pair pair({}, closed);
    const StreamId id = pair.open();
    pair.settle();
    EXPECT_EQ(*pair.client.session->write(id, "hello"), 0U);
    pair.settle();
    EXPECT_TRUE(pair.client.events.writable.empty());
    pair.client.session->reset(id, ErrorCode::cancel);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "request 1 CONNECT 10.0.0.1:80;reset 1 8;");
}

TEST(Output, is_bounded_and_says_when_there_is_room_again) {
    SessionOptions wide;
    wide.stream_window_bytes = 16 * 1024 * 1024;
    wide.connection_window_bytes = 32 * 1024 * 1024;
    Pair pair(wide, wide);
    const StreamId id = pair.open();
    pair.settle();
    const std::string bytes(1024 * 1024, 'x');
    const std::size_t accepted = *pair.client.session->write(id, bytes);
    EXPECT_GE(accepted, 128U * 1024);
    EXPECT_LT(accepted, 160U * 1024);
    EXPECT_EQ(*pair.client.session->write(id, bytes), 0U);
    EXPECT_TRUE(pair.client.events.writable.empty());
    pair.settle();
    EXPECT_EQ(pair.client.events.writable.size(), 1U);
    EXPECT_EQ(pair.server.events.data[1].size(), accepted);
}

TEST(Output, serves_blocked_streams_in_turn) {
    SessionOptions wide;
    wide.connection_window_bytes = 32 * 1024 * 1024;
    Pair pair(wide, wide);
    const StreamId first = pair.open();
    const StreamId second = pair.open();
    const StreamId third = pair.open();
    pair.settle();
    const std::string bytes(200 * 1024, 'x');
    EXPECT_GT(*pair.client.session->write(first, bytes), 0U);
    EXPECT_EQ(*pair.client.session->write(second, bytes), 0U);
    EXPECT_EQ(*pair.client.session->write(third, bytes), 0U);
    pair.client.session->drop_output(pair.client.session->output().size());
    const std::vector<StreamId> expected = {first, second, third};
    std::vector<StreamId> got = pair.client.events.writable;
    std::ranges::sort(got);
    EXPECT_EQ(got, expected);
}

TEST(Reset, ends_a_stream_on_both_sides_and_a_stale_id_is_harmless) {
    Pair pair;
    const StreamId id = pair.open();
    pair.settle();
    pair.client.events.take_log();
    pair.client.session->reset(id, ErrorCode::cancel);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "request 1 CONNECT 10.0.0.1:80;reset 1 8;");
    EXPECT_EQ(pair.client.events.take_log(), "") << "nothing is told about an own reset";
    for (End* end : {&pair.client, &pair.server}) {
        EXPECT_FALSE(end->session->write(id, "x"));
        end->session->end(id);
        end->session->reset(id, ErrorCode::cancel);
        end->session->consume(id, 5);
        end->session->attach(id, end);
        EXPECT_EQ(end->session->attached(id), nullptr);
    }
    EXPECT_FALSE(pair.server.session->respond(id, 200, {}, StreamEnd::open));
    pair.settle();
    EXPECT_EQ(pair.client.session->open_streams(), 0U);
}

TEST(Reset, of_a_request_that_has_not_left_reaches_nobody) {
    End client(Role::client);
    const auto id = client.session->open_connect_stream("a:1", {});
    ASSERT_TRUE(id);
    client.session->reset(*id, ErrorCode::cancel);
    client.session->drop_output(client.session->output().size());
    EXPECT_EQ(client.events.log, "");
    EXPECT_EQ(client.session->open_streams(), 0U);
}

TEST(Attach, keeps_the_owner_with_the_stream) {
    Pair pair;
    const StreamId id = pair.open();
    int owner = 0;
    EXPECT_EQ(pair.client.session->attached(id), nullptr);
    pair.client.session->attach(id, &owner);
    EXPECT_EQ(pair.client.session->attached(id), &owner);
}

// Its last event is told with the next bytes: an owner that dies before must not be asked for.
TEST(Attach, forgets_the_owner_of_a_stream_that_has_just_ended_here) {
    Pair pair;
    const StreamId id = pair.open();
    pair.settle();
    pair.client.session->end(id);
    pair.settle();
    int owner = 0;
    pair.server.session->attach(id, &owner);
    pair.server.events.take_log();
    ASSERT_EQ(*pair.server.session->write(id, "bye", StreamEnd::ended), 3U);
    ASSERT_EQ(pair.server.events.log, "") << "not told yet";
    EXPECT_EQ(pair.server.session->attached(id), &owner);
    pair.server.session->attach(id, nullptr);
    EXPECT_EQ(pair.server.session->attached(id), nullptr);
    pair.settle();
    EXPECT_EQ(pair.server.events.take_log(), "closed 1;");
    EXPECT_EQ(pair.client.events.data[1], "bye");
}

TEST(Writing, with_the_end_needs_no_frame_of_its_own_and_waits_for_window_with_its_bytes) {
    Pair pair({.stream_window_bytes = 10});
    const StreamId id = pair.open();
    pair.settle();
    pair.client.events.consume_share = 0;
    EXPECT_EQ(*pair.server.session->write(id, "twelve bytes", StreamEnd::ended), 10U);
    pair.settle();
    EXPECT_EQ(pair.client.events.log.find("end"), std::string::npos) << "two bytes are left";
    pair.client.session->consume(id, 10);
    pair.settle();
    EXPECT_EQ(*pair.server.session->write(id, "es", StreamEnd::ended), 2U);
    EXPECT_FALSE(pair.server.session->write(id, "x")) << "it has ended";
    EXPECT_EQ(pair.server.session->output().size(), 9U + 2U);
    pair.settle();
    EXPECT_EQ(pair.client.events.data[1], "twelve bytes");
    EXPECT_NE(pair.client.events.log.find("end 1;"), std::string::npos);
}

TEST(Reset, behind_a_whole_answer_takes_nothing_of_it_back) {
    Pair pair;
    pair.server.events.answer = 0;
    const StreamId id = *pair.client.session->open_request_stream(
        {"POST", "http", "shop", "/"}, {}, StreamEnd::open);
    pair.settle();
    ASSERT_TRUE(pair.server.session->respond(id, 403, {}, StreamEnd::ended));
    pair.server.session->reset(id, ErrorCode::no_error);
    pair.settle();
    EXPECT_EQ(pair.client.events.take_log(), "response 1 403;end 1;reset 1 0;");
}

TEST(Refusal, is_an_answer_the_client_sees) {
    Pair pair;
    pair.server.events.answer = 503;
    const StreamId id = pair.open();
    pair.settle();
    EXPECT_EQ(pair.client.events.take_log(), "response 1 400;end 1;");
    pair.client.session->end(id);
    pair.settle();
    EXPECT_EQ(pair.client.events.take_log(), "closed 1;");
}

TEST(Goaway, of_a_server_lets_streams_in_flight_finish) {
    Pair pair;
    const StreamId id = pair.open();
    pair.settle();
    pair.client.events.take_log();
    pair.server.session->goaway();
    pair.settle();
    EXPECT_TRUE(pair.server.session->draining());
    EXPECT_FALSE(pair.client.session->can_open_stream());
    EXPECT_EQ(pair.client.session->open_connect_stream("a:1", {}).error().kind, ErrorKind::closed);
    pair.server.session->goaway();
    pair.settle();
    EXPECT_EQ(pair.client.events.take_log(), "goaway 2147483647 0;goaway 1 0;");
    EXPECT_EQ(*pair.client.session->write(id, "late"), 4U);
    pair.settle();
    EXPECT_EQ(pair.server.events.data[1], "late");
    EXPECT_FALSE(pair.server.session->finished());
    pair.client.session->end(id);
    pair.server.session->end(id);
    pair.settle();
    EXPECT_TRUE(pair.server.session->finished());
    EXPECT_TRUE(pair.client.session->finished());
}

TEST(Goaway, that_excludes_a_stream_says_it_is_safe_elsewhere) {
    End client(Role::client);
    const auto id = client.session->open_connect_stream("a:1", {});
    ASSERT_TRUE(id);
    client.session->drop_output(client.session->output().size());
    std::vector<std::uint8_t> bytes = frame(settings_frame, 0, 0);
    const auto goaway = frame(goaway_frame, 0, 0, std::string_view("\0\0\0\0\0\0\0\0", 8));
    bytes.insert(bytes.end(), goaway.begin(), goaway.end());
    ASSERT_TRUE(client.session->feed(bytes, Instant{}));
    EXPECT_EQ(client.events.log, "goaway 0 0;reset 1 7;");
}

TEST(Ping, is_answered) {
    Pair pair;
    pair.client.session->ping(42);
    pair.settle();
    EXPECT_EQ(pair.client.events.take_log(), "pong 42;");
}

TEST(Concurrency, is_bounded_by_what_the_peer_allows) {
    SessionOptions two;
    two.streams_max = 2;
    Pair pair({}, two);
    const StreamId first = pair.open();
    pair.open();
    EXPECT_FALSE(pair.client.session->can_open_stream());
    EXPECT_EQ(pair.client.session->open_connect_stream("a:1", {}).error().kind,
              ErrorKind::limit_exceeded);
    pair.client.session->reset(first, ErrorCode::cancel);
    pair.settle();
    EXPECT_TRUE(pair.client.session->can_open_stream());
}

TEST(Transport, that_ends_fails_every_stream_once) {
    Pair pair;
    const StreamId id = pair.open();
    pair.open();
    pair.settle();
    pair.client.events.take_log();
    pair.client.session->fail_streams(ErrorCode::cancel);
    pair.client.session->fail_streams(ErrorCode::cancel);
    EXPECT_EQ(pair.client.events.take_log(), "reset 3 8;reset 1 8;");
    EXPECT_FALSE(pair.client.session->write(id, "x"));
    EXPECT_FALSE(pair.client.session->feed({}, Instant{}));
    EXPECT_FALSE(pair.client.session->wants_read());
    EXPECT_FALSE(pair.client.session->open_connect_stream("a:1", {}));
}

TEST(Sending, refuses_fields_that_may_not_be_sent) {
    Pair pair;
    const Field bad[] = {
        {"Upper", "x"},
        {"", "x"},
        {"a b", "x"},
        {":path", "/"},
        {"connection", "x"},
        {"te", "gzip"},
        {"a", "b\r\nc: d"},
        {"a", {"b\0", 2}},
        {"transfer-encoding", "chunked"},
        {"keep-alive", "x"},
        {"upgrade", "x"},
        {"a", "\x7f"},
    };
    for (const Field& field : bad) {
        const auto id = pair.client.session->open_connect_stream("a:1", {&field, 1});
        ASSERT_FALSE(id) << field.name;
        EXPECT_EQ(id.error().kind, ErrorKind::invalid_input) << field.name;
    }
    for (const char* authority : {"", "a", "a:0", "u@a:1", "a b:1", "a:1\r\n"}) {
        EXPECT_FALSE(pair.client.session->open_connect_stream(authority, {})) << authority;
    }
}

}  // namespace
}  // namespace orlop::h2
