#include "daemon/codec/h1/head.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace orlop::h1 {
namespace {

struct Parsed {
    ParseResult result;
    RequestHead head;
};

ParseResult parse(std::string_view text, RequestHead& head, const RequestOptions& options = {}) {
    HeadScan scan;
    return parse_request_head(text, head, scan, options);
}

Reason refusal(std::string_view text) {
    RequestHead head;
    const ParseResult result = parse(text, head);
    return result.state == ParseState::refused ? result.reason : Reason::none;
}

std::string with_fields(std::string_view fields) {
    return "POST /a HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n";
}

TEST(RequestHead, yields_views_of_an_ordinary_request) {
    const std::string text =
        "GET /p/a?q=1&r HTTP/1.1\r\nHost: Shop.example:8080\r\nUser-Agent:curl\r\n"
        "X-Request-Id:  abc \t\r\nempty:\r\n\r\nNEXT";
    RequestHead head;
    const ParseResult result = parse(text, head);
    ASSERT_EQ(result.state, ParseState::complete);
    EXPECT_EQ(result.consumed, text.size() - 4);
    EXPECT_EQ(head.method, "GET");
    EXPECT_EQ(head.method_kind, Method::get);
    EXPECT_EQ(head.path, "/p/a");
    EXPECT_EQ(head.query, "q=1&r");
    EXPECT_TRUE(head.has_query);
    EXPECT_EQ(head.authority, "Shop.example:8080");
    EXPECT_EQ(head.fields.value(Known::x_request_id), "abc");
    EXPECT_EQ(head.fields.value(Known::user_agent), "curl");
    ASSERT_NE(head.fields.find("EMPTY"), nullptr);
    EXPECT_EQ(head.fields.find("EMPTY")->value, "");
    EXPECT_EQ(head.fields.find("absent"), nullptr);
    EXPECT_EQ(head.fields.count, 4U);
    EXPECT_EQ(head.framing, Framing::none);
    EXPECT_TRUE(head.keep_alive);
}

struct Smuggling {
    const char* what;
    std::string_view text;
    Reason reason;
};

TEST(RequestHead, refuses_whatever_has_two_readings) {
    using namespace std::string_view_literals;
    const Smuggling corpus[] = {
        {"bare LF after the request line",
         "GET / HTTP/1.1\nHost: x\r\n\r\n",
         Reason::bare_line_feed},
        {"bare LF after a field", "GET / HTTP/1.1\r\nHost: x\n\r\n", Reason::bare_line_feed},
        {"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: x\r\n\n", Reason::bare_line_feed},
        {"CR within a value",
         "GET / HTTP/1.1\r\nHost: x\r\na: b\rc: d\r\n\r\n",
         Reason::bare_carriage_return},
        {"double CR", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", Reason::bare_carriage_return},
        {"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", Reason::space_before_colon},
        {"tab before colon",
         "GET / HTTP/1.1\r\nHost: x\r\na\t: b\r\n\r\n",
         Reason::space_before_colon},
        {"folded line", "GET / HTTP/1.1\r\nHost: x\r\na: b\r\n c\r\n\r\n", Reason::folded_line},
        {"folded first line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", Reason::folded_line},
        {"empty name", "GET / HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n", Reason::empty_field_name},
        {"no colon", "GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n", Reason::bad_field_name},
        {"quote in name", "GET / HTTP/1.1\r\nHost: x\r\na\"b: c\r\n\r\n", Reason::bad_field_name},
        {"NUL in name", "GET / HTTP/1.1\r\nHost: x\r\na\0b: c\r\n\r\n"sv, Reason::bad_field_name},
        {"non-ASCII name",
         "GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa9: c\r\n\r\n",
         Reason::bad_field_name},
        {"NUL in value",
         "GET / HTTP/1.1\r\nHost: x\r\na: 0123456789abcdef\0c\r\n\r\n"sv,
         Reason::bad_field_value},
        {"control in value",
         "GET / HTTP/1.1\r\nHost: x\r\na: b\x01\r\n\r\n",
         Reason::bad_field_value},
        {"DEL in value",
         "GET / HTTP/1.1\r\nHost: x\r\na: 0123456789abcde\x7f\r\n\r\n",
         Reason::bad_field_value},
        {"missing Host", "GET / HTTP/1.1\r\n\r\n", Reason::missing_host},
        {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", Reason::repeated_host},
        {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Reason::bad_host},
        {"Host list", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", Reason::bad_host},
        {"user info in Host", "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", Reason::bad_host},
        {"path in Host", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", Reason::bad_host},
        {"fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", Reason::fragment_in_target},
        {"space in target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_byte},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_byte},
        {"tab as separator", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_method},
        {"non-ASCII target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_byte},
        {"NUL in target", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"sv, Reason::bad_target_byte},
        {"relative target", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_form},
        {"foreign scheme", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_form},
        {"asterisk of GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_form},
        {"authority of GET", "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_target_form},
        {"path of CONNECT", "CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_authority},
        {"CONNECT without port", "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", Reason::bad_authority},
        {"user info in target",
         "GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n",
         Reason::bad_authority},
        {"HTTP/0.9", "GET /\r\n\r\n", Reason::http_0_9},
        {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", Reason::unsupported_version},
        {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", Reason::unsupported_version},
        {"lower-case version", "GET / http/1.1\r\nHost: x\r\n\r\n", Reason::malformed_request_line},
        {"space after version",
         "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
         Reason::malformed_request_line},
        {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::http_2_preface},
        {"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", Reason::http_1_0},
        {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", Reason::bad_method},
    };
    for (const Smuggling& attack : corpus) {
        EXPECT_EQ(reason_text(refusal(attack.text)), reason_text(attack.reason)) << attack.what;
    }
}

TEST(RequestHead, refuses_another_protocol_at_its_first_byte) {
    EXPECT_EQ(refusal("\x16\x03\x01"), Reason::bad_method);
    EXPECT_EQ(refusal("\x16"), Reason::bad_method);
}

TEST(RequestHead, refuses_ambiguous_framing) {
    const std::pair<const char*, Reason> corpus[] = {
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
         Reason::length_and_transfer_encoding},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
         Reason::length_and_transfer_encoding},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", Reason::repeated_content_length},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", Reason::repeated_content_length},
        {"Content-Length: 5, 5\r\n", Reason::bad_content_length},
        {"Content-Length:\r\n", Reason::bad_content_length},
        {"Content-Length: +5\r\n", Reason::bad_content_length},
        {"Content-Length: -5\r\n", Reason::bad_content_length},
        {"Content-Length: 0x5\r\n", Reason::bad_content_length},
        {"Content-Length: 5 5\r\n", Reason::bad_content_length},
        {"Content-Length: 05\r\n", Reason::bad_content_length},
        {"Content-Length: 18446744073709551616\r\n", Reason::bad_content_length},
        {"Content-Length: 9999999999999999999\r\n", Reason::bad_content_length},
        {"Transfer-Encoding: identity\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: gzip, chunked\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: chunked, chunked\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
         Reason::bad_transfer_encoding},
        {"Transfer-Encoding: xchunked\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: \"chunked\"\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: chunked;a\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding:\r\n", Reason::bad_transfer_encoding},
        {"Transfer-Encoding: \vchunked\r\n", Reason::bad_field_value},
        {"Connection: Content-Length\r\nContent-Length: 5\r\n", Reason::bad_connection_option},
        {"Connection: close, host\r\n", Reason::bad_connection_option},
        {"Connection: X-Forwarded-For\r\n", Reason::bad_connection_option},
        {"Connection: a b\r\n", Reason::bad_connection_option},
        {"Expect: 200-maybe\r\n", Reason::bad_expectation},
        {"Upgrade: web socket\r\nConnection: upgrade\r\n", Reason::bad_upgrade},
    };
    for (const auto& [fields, reason] : corpus) {
        EXPECT_EQ(reason_text(refusal(with_fields(fields))), reason_text(reason)) << fields;
    }
    EXPECT_EQ(refusal("CONNECT x:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"),
              Reason::framing_on_bodyless_status);
    RequestHead head;
    const ParseResult result = parse(
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", head, {Http10::allow});
    EXPECT_EQ(result.reason, Reason::transfer_encoding_on_1_0);
}

TEST(RequestHead, reads_the_accepted_framings) {
    RequestHead head;
    ASSERT_EQ(parse(with_fields("Content-Length: 999999999999999999\r\n"), head).state,
              ParseState::complete);
    EXPECT_EQ(head.framing, Framing::length);
    EXPECT_EQ(head.content_length, 999999999999999999U);
    ASSERT_EQ(parse(with_fields("Transfer-Encoding: Chunked\r\n"), head).state,
              ParseState::complete);
    EXPECT_EQ(head.framing, Framing::chunked);
    EXPECT_FALSE(head.has_content_length);
    ASSERT_EQ(parse(with_fields("Content-Length: 0\r\n"), head).state, ParseState::complete);
    EXPECT_EQ(head.framing, Framing::length);
    EXPECT_EQ(head.content_length, 0U);
}

TEST(RequestHead, understands_the_four_target_forms) {
    RequestHead head;
    ASSERT_EQ(parse("GET http://Real.example/a?b HTTP/1.1\r\nHost: other\r\n\r\n", head).state,
              ParseState::complete);
    EXPECT_EQ(head.form, TargetForm::absolute);
    EXPECT_EQ(head.authority, "Real.example") << "the target's authority replaces Host";
    EXPECT_EQ(head.path, "/a");
    EXPECT_EQ(head.query, "b");
    ASSERT_EQ(parse("GET http://x?b HTTP/1.1\r\nHost: x\r\n\r\n", head).state,
              ParseState::complete);
    EXPECT_EQ(head.path, "/");
    EXPECT_EQ(head.query, "b");
    ASSERT_EQ(parse("OPTIONS http://x:81 HTTP/1.1\r\nHost: x\r\n\r\n", head).state,
              ParseState::complete);
    EXPECT_EQ(head.path, "*");
    ASSERT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", head).state, ParseState::complete);
    EXPECT_EQ(head.form, TargetForm::asterisk);
    ASSERT_EQ(parse("CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", head).state,
              ParseState::complete);
    EXPECT_EQ(head.form, TargetForm::authority);
    EXPECT_EQ(head.authority, "[::1]:443");
    EXPECT_EQ(head.path, "");
}

TEST(RequestHead, decides_keep_alive_by_version_and_options) {
    const struct {
        const char* version;
        const char* fields;
        bool keep;
    } cases[] = {
        {"1.1", "", true},
        {"1.1", "Connection: close\r\n", false},
        {"1.1", "Connection: Keep-Alive, CLOSE\r\n", false},
        {"1.1", "Connection: foo\r\nConnection: close\r\n", false},
        {"1.0", "", false},
        {"1.0", "Connection: keep-alive\r\n", true},
        {"1.0", "Connection: keep-alive, close\r\n", false},
    };
    for (const auto& c : cases) {
        RequestHead head;
        const std::string text =
            std::string("GET / HTTP/") + c.version + "\r\nHost: x\r\n" + c.fields + "\r\n";
        ASSERT_EQ(parse(text, head, {Http10::allow}).state, ParseState::complete) << text;
        EXPECT_EQ(head.keep_alive, c.keep) << text;
    }
}

TEST(RequestHead, asks_for_an_upgrade_only_when_both_fields_agree_and_never_to_h2c) {
    const std::pair<const char*, bool> cases[] = {
        {"Connection: Upgrade\r\nUpgrade: websocket\r\n", true},
        {"Connection: keep-alive, upgrade\r\nUpgrade: foo/1, bar\r\n", true},
        {"Upgrade: websocket\r\n", false},
        {"Connection: upgrade\r\n", false},
        {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", false},
        {"Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", false},
    };
    for (const auto& [fields, upgrade] : cases) {
        RequestHead head;
        ASSERT_EQ(parse(with_fields(fields), head).state, ParseState::complete) << fields;
        EXPECT_EQ(head.upgrade_requested, upgrade) << fields;
    }
}

TEST(RequestHead, expects_continue_only_when_a_body_follows) {
    RequestHead head;
    parse(with_fields("Expect: 100-Continue\r\nContent-Length: 3\r\n"), head);
    EXPECT_TRUE(head.expect_continue);
    parse(with_fields("Expect: 100-continue\r\n"), head);
    EXPECT_FALSE(head.expect_continue);
}

TEST(RequestHead, ignores_one_empty_line_before_the_request) {
    RequestHead head;
    const std::string text = "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_EQ(parse(text, head).consumed, text.size());
}

TEST(RequestHead, reads_byte_by_byte_what_it_reads_at_once) {
    const std::string texts[] = {
        "GET /a?b HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 4\r\n\r\nbody",
        "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET /\r\n\r\n",
    };
    for (const std::string& text : texts) {
        RequestHead whole;
        const ParseResult expected = parse(text, whole);
        RequestHead head;
        HeadScan scan;
        ParseResult got;
        for (std::size_t n = 0; n <= text.size() && got.state == ParseState::need_more; ++n) {
            const std::string moved = text.substr(0, n);  // as if the buffer had moved
            got = parse_request_head(moved, head, scan);
        }
        EXPECT_EQ(got.state, expected.state) << text;
        EXPECT_EQ(got.reason, expected.reason) << text;
        EXPECT_EQ(got.consumed, expected.consumed) << text;
    }
}

TEST(RequestHead, enforces_limits_while_bytes_arrive) {
    RequestHead head;
    const std::string long_target = "GET /" + std::string(limits::http_request_line_bytes_max, 'a');
    EXPECT_EQ(refusal(long_target), Reason::target_too_long);
    EXPECT_EQ(refusal(long_target + " HTTP/1.1\r\n"), Reason::target_too_long);
    const std::string start = "GET / HTTP/1.1\r\nHost: x\r\n";
    std::string endless = start + "a: " + std::string(limits::http_head_bytes_max, 'b');
    EXPECT_EQ(refusal(endless), Reason::head_too_large);
    EXPECT_EQ(refusal(endless + "\r\n\r\n"), Reason::head_too_large);
    std::string many = start;
    for (std::size_t i = 1; i < limits::http_headers_max; ++i) {
        many += "a: b\r\n";
    }
    EXPECT_EQ(parse(many + "\r\n", head).state, ParseState::complete);
    EXPECT_EQ(refusal(many + "a: b\r\n"), Reason::too_many_fields) << "before the head is complete";
    EXPECT_EQ(suggested_status(Reason::too_many_fields), 431);
}

ParseResult
parse_response(std::string_view text, ResponseHead& head, const ResponseContext& context = {}) {
    HeadScan scan;
    return parse_response_head(text, context, head, scan);
}

TEST(ResponseHead, frames_the_body_as_rfc_9112_says) {
    const struct {
        const char* text;
        Method method;
        Framing framing;
        bool keep;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::get, Framing::length, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
         Method::get,
         Framing::chunked,
         true},
        {"HTTP/1.1 200 OK\r\n\r\n", Method::get, Framing::until_close, false},
        {"HTTP/1.0 200 OK\r\n\r\n", Method::get, Framing::until_close, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::head, Framing::none, true},
        {"HTTP/1.1 200 OK\r\n\r\n", Method::head, Framing::none, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
         Method::get,
         Framing::none,
         true},
        {"HTTP/1.1 204 No Content\r\n\r\n", Method::get, Framing::none, true},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Method::get, Framing::none, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", Method::post, Framing::none, true},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Method::get, Framing::length, true},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n",
         Method::connect,
         Framing::length,
         true},
    };
    for (const auto& c : cases) {
        ResponseHead head;
        ASSERT_EQ(parse_response(c.text, head, {c.method}).state, ParseState::complete) << c.text;
        EXPECT_EQ(head.framing, c.framing) << c.text;
        EXPECT_EQ(head.keep_alive, c.keep) << c.text;
    }
}

TEST(ResponseHead, switches_protocols_only_when_it_was_offered) {
    const char* switching = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    ResponseHead head;
    EXPECT_EQ(parse_response(switching, head).reason, Reason::unexpected_switch);
    ASSERT_EQ(parse_response(switching, head, {Method::get, true}).state, ParseState::complete);
    EXPECT_TRUE(head.switches_protocol);
    EXPECT_FALSE(head.interim);
    EXPECT_EQ(parse_response("HTTP/1.1 101 X\r\n\r\n", head, {Method::get, true}).reason,
              Reason::unexpected_switch);
    parse_response("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head, {Method::connect});
    EXPECT_TRUE(head.switches_protocol);
    EXPECT_EQ(head.framing, Framing::none);
    parse_response("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head, {Method::get, true});
    EXPECT_FALSE(head.switches_protocol) << "200 is no answer that switches";
    parse_response("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", head);
    EXPECT_TRUE(head.interim);
}

TEST(ResponseHead, refuses_what_it_cannot_frame) {
    const std::pair<const char*, Reason> cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         Reason::length_and_transfer_encoding},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::transfer_encoding_on_1_0},
        {"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n", Reason::framing_on_bodyless_status},
        {"HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n",
         Reason::framing_on_bodyless_status},
        {"HTTP/1.1 99 X\r\n\r\n", Reason::bad_status},
        {"HTTP/1.1 600 X\r\n\r\n", Reason::bad_status},
        {"HTTP/1.1 2x0 X\r\n\r\n", Reason::bad_status},
        {"HTTP/1.1 2000 X\r\n\r\n", Reason::malformed_status_line},
        {"HTTP/1.1\t200 X\r\n\r\n", Reason::malformed_status_line},
        {"HTTP/1.1 200 a\x01\r\n\r\n", Reason::malformed_status_line},
        {"HTTP/1.2 200 X\r\n\r\n", Reason::unsupported_version},
        {"ICY 200 OK\r\n\r\n", Reason::malformed_status_line},
        {"<html>", Reason::malformed_status_line},
        {"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Reason::bare_line_feed},
    };
    for (const auto& [text, reason] : cases) {
        ResponseHead head;
        EXPECT_EQ(reason_text(parse_response(text, head).reason), reason_text(reason)) << text;
    }
}

TEST(FirstBytes, tell_http_from_the_rest_without_waiting_for_long) {
    const std::pair<std::string_view, Looks> cases[] = {
        {"", Looks::undecided},
        {"G", Looks::undecided},
        {"GET ", Looks::undecided},
        {"GET /", Looks::http1},
        {"OPTIONS *", Looks::http1},
        {"CONNECT a", Looks::http1},
        {"PRI * HT", Looks::undecided},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Looks::http2},
        {"\x16\x03\x01", Looks::other},
        {"*3\r\n$3", Looks::other},
        {"HELO me", Looks::other},
        {"get /", Looks::other},
        {"SSH-2.0", Looks::other},
        {"PURGE /", Looks::http1},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Looks::other},
    };
    for (const auto& [bytes, looks] : cases) {
        EXPECT_EQ(look_at_first_bytes(bytes), looks) << bytes;
    }
}

}  // namespace
}  // namespace orlop::h1
