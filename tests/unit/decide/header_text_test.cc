#include "daemon/base/limits.h"
#include "daemon/decide/header_text.h"

#include <gtest/gtest.h>

namespace orlop::decide {
namespace {

using Operator = model::HeaderText::Operator;

model::HeaderText one(Operator op, std::string text = "", std::string other = "", int most = 0) {
    model::HeaderText out;
    out.pieces.push_back({op, std::move(text), std::move(other), static_cast<std::uint32_t>(most)});
    return out;
}

const std::vector<HeaderField> request_headers = {{"X-User", "jason"}, {"x-long", "abcdef"}};
const std::vector<HeaderField> response_headers = {{"x-version", "v2"}};

HeaderTextInput an_input() {
    HeaderTextInput input;
    input.request = HeaderSource::of(request_headers);
    input.response = HeaderSource::of(response_headers);
    input.method = "GET";
    input.target = "/a?b=c";
    input.authority = "shop:80";
    input.protocol = "HTTP/1.1";
    input.response_code = 201;
    input.flags = "DI";
    input.route_name = "canary";
    input.cluster = "outbound|80|v1|shop";
    input.hostname = "client-1";
    input.stream_id = "id-1";
    input.upstream_host = *SocketAddress::parse("10.0.0.1:9090");
    input.downstream_remote = *SocketAddress::parse("10.0.9.1:4000");
    input.downstream_local = *SocketAddress::parse("10.96.0.1:80");
    input.start_time = WallTime(std::chrono::milliseconds(1'772'368'496'789));
    input.attempts = 2;
    return input;
}

TEST(HeaderText, fills_every_operator_from_the_request) {
    const std::pair<model::HeaderText, std::string> rows[] = {
        {one(Operator::request_header, "x-user"), "jason"},
        {one(Operator::request_header, "x-none", "x-user"), "jason"},
        {one(Operator::request_header, "x-long", "", 3), "abc"},
        {one(Operator::request_header, ":path"), "/a?b=c"},
        {one(Operator::request_header, ":method"), "GET"},
        {one(Operator::request_header, ":authority"), "shop:80"},
        {one(Operator::response_header, "x-version"), "v2"},
        {one(Operator::protocol), "HTTP/1.1"},
        {one(Operator::response_code), "201"},
        {one(Operator::response_flags), "DI"},
        {one(Operator::route_name), "canary"},
        {one(Operator::upstream_cluster), "outbound|80|v1|shop"},
        {one(Operator::upstream_host), "10.0.0.1:9090"},
        {one(Operator::downstream_remote_address), "10.0.9.1:4000"},
        {one(Operator::downstream_remote_address_without_port), "10.0.9.1"},
        {one(Operator::downstream_local_address), "10.96.0.1:80"},
        {one(Operator::downstream_local_address_without_port), "10.96.0.1"},
        {one(Operator::start_time), "2026-03-01T12:34:56.789Z"},
        {one(Operator::start_time, "%s.%3f"), "1772368496.789"},
        {one(Operator::start_time, "%Y/%m %H%%"), "2026/03 12%"},
        {one(Operator::hostname), "client-1"},
        {one(Operator::stream_id), "id-1"},
        {one(Operator::attempt_count), "2"},
    };
    const HeaderTextInput input = an_input();
    for (const auto& [text, wanted] : rows) {
        std::string value;
        EXPECT_TRUE(fill_header_text(text, input, value)) << wanted;
        EXPECT_EQ(value, wanted);
    }
}

TEST(HeaderText, sends_nothing_when_the_value_is_empty) {
    std::string value;
    EXPECT_FALSE(fill_header_text(one(Operator::request_header, "x-none"), an_input(), value));
    EXPECT_FALSE(fill_header_text(one(Operator::requested_server_name), an_input(), value));
    EXPECT_FALSE(fill_header_text(one(Operator::response_code), HeaderTextInput{}, value));
}

TEST(HeaderText, refuses_a_value_that_outgrows_its_bound) {
    const std::string longest(limits::header_text_bytes_max, 'a');
    std::vector<HeaderField> large = {{"x", longest}};
    HeaderTextInput input;
    input.request = HeaderSource::of(large);
    model::HeaderText text = one(Operator::request_header, "x");
    std::string value;
    EXPECT_TRUE(fill_header_text(text, input, value));
    text.pieces.push_back({Operator::literal, "b", "", 0});
    EXPECT_FALSE(fill_header_text(text, input, value));
}

}  // namespace
}  // namespace orlop::decide
