#include "daemon/codec/h1/writer.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace orlop::h1 {
namespace {

RequestHead request(std::string_view text) {
    RequestHead head;
    HeadScan scan;
    EXPECT_EQ(parse_request_head(text, head, scan).state, ParseState::complete) << text;
    return head;
}
ResponseHead response(std::string_view text, const ResponseContext& context = {}) {
    ResponseHead head;
    HeadScan scan;
    EXPECT_EQ(parse_response_head(text, context, head, scan).state, ParseState::complete) << text;
    return head;
}
std::string written(const RequestHead& head, const RequestRewrite& how) {
    std::array<char, 4096> room;
    const auto size = write_request_head(room, head, how);
    return size ? std::string(room.data(), *size) : "error: " + size.error().context;
}
std::string written(const ResponseHead& head, const ResponseRewrite& how) {
    std::array<char, 4096> room;
    const auto size = write_response_head(room, head, how);
    return size ? std::string(room.data(), *size) : "error: " + size.error().context;
}

TEST(RequestWriter, leaves_out_hop_by_hop_fields_and_writes_its_own_framing) {
    const std::string text =
        "POST http://a.example/x?y=1 HTTP/1.1\r\nHost: evil\r\nConnection: keep-alive, X-Secret\r\n"
        "Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nX-Secret: 1\r\nTE: gzip, trailers\r\n"
        "Transfer-Encoding: chunked\r\nUpgrade: websocket\r\nTrailer: x-sum\r\nAccept:  */* "
        "\r\n\r\n";
    EXPECT_EQ(written(request(text), {.framing = Framing::chunked}),
              "POST /x?y=1 HTTP/1.1\r\nhost: a.example\r\nTrailer: x-sum\r\nAccept: */*\r\n"
              "te: trailers\r\ntransfer-encoding: chunked\r\nconnection: te\r\n\r\n");
    EXPECT_EQ(written(request(text), {.framing = Framing::length, .content_length = 12}),
              "POST /x?y=1 HTTP/1.1\r\nhost: a.example\r\nAccept: */*\r\nte: trailers\r\n"
              "content-length: 12\r\nconnection: te\r\n\r\n");
}

TEST(RequestWriter, applies_rewrites_and_edits) {
    const RequestHead head =
        request("GET /a?q HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nb: 3\r\nX-Request-Id: r\r\n\r\n");
    const FieldEdit edits[] = {
        {FieldEdit::Kind::set, "B", "new"},
        {FieldEdit::Kind::add, "A", "more"},
        {FieldEdit::Kind::remove, "c", ""},
        {FieldEdit::Kind::set_if_absent, "x-request-id", "generated"},
        {FieldEdit::Kind::set_if_absent, "x-new", "yes"},
    };
    EXPECT_EQ(written(head,
                      {.authority = "y:81",
                       .path = "/b",
                       .query = "z",
                       .connection = ConnectionFate::close,
                       .edits = edits}),
              "GET /b?z HTTP/1.1\r\nhost: y:81\r\nA: 1\r\nX-Request-Id: r\r\nB: new\r\nA: more\r\n"
              "x-new: yes\r\nconnection: close\r\n\r\n");
    EXPECT_EQ(written(head, {.drop_query = true}).substr(0, 17), "GET /a HTTP/1.1\r\n");
}

TEST(RequestWriter, passes_an_upgrade_on_only_when_asked_to) {
    const RequestHead head =
        request("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    EXPECT_EQ(written(head, {.upgrading = Upgrading::yes}),
              "GET /ws HTTP/1.1\r\nhost: x\r\nUpgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    EXPECT_EQ(written(head, {}), "GET /ws HTTP/1.1\r\nhost: x\r\n\r\n");
    const RequestHead more = request(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, A\r\nA: 1\r\nUpgrade: ws\r\n\r\n");
    EXPECT_EQ(written(more, {.upgrading = Upgrading::yes}),
              "GET /ws HTTP/1.1\r\nhost: x\r\nUpgrade: ws\r\nconnection: upgrade\r\n\r\n");
}

TEST(RequestWriter, drops_an_expectation_that_means_nothing_in_1_0) {
    RequestHead head;
    HeadScan scan;
    const ParseResult result = parse_request_head(
        "GET / HTTP/1.0\r\nHost: x\r\nExpect: magic\r\n\r\n", head, scan, {Http10::allow});
    ASSERT_EQ(result.state, ParseState::complete);
    EXPECT_EQ(written(head, {}), "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    EXPECT_TRUE(written({}, {.path = "/", .method = "GET"}).starts_with("error: "))
        << "HTTP/1.1 needs a Host even where 1.0 had none";
}

TEST(RequestWriter, refuses_edits_that_would_break_the_message) {
    const RequestHead head = request("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const FieldEdit bad[] = {
        {FieldEdit::Kind::set, "a", "b\r\nc: d"},
        {FieldEdit::Kind::add, "a b", "c"},
        {FieldEdit::Kind::set, "", "c"},
        {FieldEdit::Kind::set, "content-length", "5"},
        {FieldEdit::Kind::add, "Transfer-Encoding", "chunked"},
        {FieldEdit::Kind::set, "Host", "z"},
    };
    for (const FieldEdit& edit : bad) {
        std::array<char, 512> room;
        const auto result = write_request_head(room, head, {.edits = {&edit, 1}});
        ASSERT_FALSE(result) << edit.name;
        EXPECT_EQ(result.error().kind, ErrorKind::invalid_input) << edit.name;
    }
    std::array<char, 512> room;
    EXPECT_FALSE(write_request_head(room, head, {.path = "/a b"}));
    EXPECT_FALSE(write_request_head(room, head, {.path = "/a\r\nx: y"}));
    EXPECT_FALSE(write_request_head(room, head, {.path = "/a?b"}));
    EXPECT_FALSE(write_request_head(room, head, {.authority = "a b"}));
    EXPECT_FALSE(write_request_head(room, head, {.framing = Framing::until_close}));
}

TEST(RequestWriter, reports_every_room_that_is_too_small) {
    const RequestHead head =
        request("GET /abc?d HTTP/1.1\r\nHost: x\r\nA: bcdef\r\nContent-Length: 3\r\n\r\n");
    const RequestRewrite how{.framing = Framing::length, .content_length = 3};
    const std::string whole = written(head, how);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        std::string room(size, '?');
        const auto result = write_request_head(room, head, how);
        ASSERT_FALSE(result) << size;
        EXPECT_EQ(result.error().kind, ErrorKind::limit_exceeded);
    }
    std::string room(whole.size(), '?');
    EXPECT_TRUE(write_request_head(room, head, how));
}

TEST(ResponseWriter, frames_each_kind_of_answer) {
    const struct {
        const char* text;
        ResponseContext context;
        ResponseRewrite how;
        const char* expected;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\n\r\n",
         {},
         {.framing = Framing::length, .content_length = 5},
         "HTTP/1.1 200 OK\r\nServer: s\r\ncontent-length: 5\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
         {Method::head},
         {},
         "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
         {},
         {},
         "HTTP/1.1 204 No Content\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n",
         {},
         {.framing = Framing::chunked},
         "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\n\r\n",
         {},
         {.framing = Framing::until_close},
         "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
         {},
         {.framing = Framing::length, .peer_version_minor = 0},
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
         {Method::connect},
         {},
         "HTTP/1.1 200 OK\r\n\r\n"},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n",
         {Method::get, true},
         {.upgrading = Upgrading::yes},
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\nconnection: upgrade\r\n\r\n"},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(written(response(c.text, c.context), c.how), c.expected);
    }
    const ResponseHead head = response("HTTP/1.1 200 OK\r\n\r\n");
    std::array<char, 512> room;
    EXPECT_FALSE(
        write_response_head(room, head, {.framing = Framing::chunked, .peer_version_minor = 0}))
        << "1.0 never gains chunked";
}

TEST(ChunkWriter, writes_what_the_decoder_reads) {
    std::string wire;
    std::array<char, chunk_header_bytes_max> header;
    for (const std::string& payload : {std::string("hello"), std::string(70000, 'x')}) {
        wire.append(header.data(), write_chunk_header(header, payload.size()));
        wire += payload;
        wire += chunk_crlf;
    }
    std::array<char, 128> room;
    const Field trailers[] = {{"x-sum", "1"}};
    wire.append(room.data(), *write_last_chunk(room, trailers));
    BodyDecoder body(Framing::chunked, 0);
    std::string_view input = wire;
    std::string payload;
    BodyStep step;
    for (int i = 0; i < 8 && step.state != BodyState::complete; ++i) {
        step = body.next(input);
        payload += step.payload;
        input.remove_prefix(step.consumed);
    }
    EXPECT_EQ(step.state, BodyState::complete);
    EXPECT_EQ(payload.size(), 70005U);
    ASSERT_EQ(body.trailers().size(), 1U);
    EXPECT_EQ(body.trailers()[0].value, "1");
    EXPECT_TRUE(input.empty());
    EXPECT_EQ(write_chunk_header(header, ~std::uint64_t{0}), chunk_header_bytes_max);
    EXPECT_FALSE(write_last_chunk(std::span(room).first(4), {}));
    const Field bad[] = {{"x", "a\nb"}};
    EXPECT_FALSE(write_last_chunk(room, bad));
}

TEST(LocalReply, is_a_complete_answer) {
    std::array<char, 512> room;
    const Field fields[] = {{"server", "orlop"}};
    const auto text = [&room](const LocalReply& reply) {
        const auto size = write_local_reply(room, reply);
        return size ? std::string(room.data(), *size) : "error: " + size.error().context;
    };
    EXPECT_EQ(text({.status = 503, .body = "no healthy upstream", .fields = fields}),
              "HTTP/1.1 503 Service Unavailable\r\nserver: orlop\r\ncontent-type: text/plain\r\n"
              "content-length: 19\r\n\r\nno healthy upstream");
    EXPECT_EQ(text({.status = 400, .connection = ConnectionFate::close}),
              "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    EXPECT_EQ(text({.status = 404, .body = "gone", .request_method = Method::head}),
              "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n");
    EXPECT_EQ(text({.status = 204}), "HTTP/1.1 204 No Content\r\n\r\n");
    EXPECT_FALSE(write_local_reply(std::span(room).first(20), {.status = 503, .body = "x"}));
}

// Whatever parses is written as something that parses to the same meaning.
TEST(RequestWriter, round_trips_what_the_parser_accepts) {
    const char* texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x:1\r\n\r\n",
        "OPTIONS http://x HTTP/1.1\r\nHost: y\r\n\r\n",
        "CONNECT [::1]:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://x/a??b HTTP/1.1\r\nHost: y\r\n\r\n",
        "GET /? HTTP/1.1\r\nHost: y\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        ("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nCookie: a\r\nCookie: "
         "b\r\n\r\n"),
    };
    for (const char* text : texts) {
        const RequestHead first = request(text);
        const std::string again =
            written(first, {.framing = first.framing, .content_length = first.content_length});
        const RequestHead second = request(again);
        EXPECT_EQ(first.method, second.method);
        EXPECT_EQ(first.path, second.path);
        EXPECT_EQ(first.query, second.query);
        EXPECT_EQ(first.has_query, second.has_query);
        EXPECT_EQ(first.authority, second.authority);
        EXPECT_EQ(first.framing, second.framing);
        EXPECT_EQ(first.content_length, second.content_length);
        EXPECT_EQ(first.expect_continue, second.expect_continue);
    }
}

}  // namespace
}  // namespace orlop::h1
