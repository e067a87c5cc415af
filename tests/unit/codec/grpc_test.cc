#include "daemon/codec/grpc.h"

#include <gtest/gtest.h>

namespace orlop::grpc {
namespace {

TEST(GrpcCall, is_known_by_its_content_type) {
    for (const char* yes : {"application/grpc",
                            "application/grpc+proto",
                            "Application/GRPC",
                            "application/grpc; charset=utf-8"}) {
        EXPECT_TRUE(is_call(yes)) << yes;
    }
    for (const char* no : {"", "application/grpc-web", "application/json", "application/grp"}) {
        EXPECT_FALSE(is_call(no)) << no;
    }
}

TEST(GrpcMessages, are_counted_however_the_body_is_cut) {
    const std::string body = std::string("\0\0\0\0\3abc", 8) + std::string("\1\0\0\0\0", 5) +
                             std::string("\0\0\0\1\0", 5) + std::string(256, 'x') +
                             std::string("\0\0\0", 3);
    for (std::size_t step = 1; step <= body.size(); ++step) {
        GrpcMessages seen;
        for (std::size_t at = 0; at < body.size(); at += step) {
            seen.feed(std::string_view(body).substr(at, step));
        }
        EXPECT_EQ(seen.count(), 3U) << step;
    }
}

TEST(GrpcMessages, a_message_that_has_not_ended_does_not_count) {
    GrpcMessages seen;
    seen.feed(std::string("\0\xff\xff\xff\xff", 5));
    seen.feed(std::string(100'000, 'x'));
    EXPECT_EQ(seen.count(), 0U);
}

TEST(GrpcStatus, of_an_http_status_is_the_one_of_the_mapping) {
    struct Case {
        std::uint16_t http;
        std::uint32_t grpc;
    };
    for (const Case& one : {Case{400, 13},
                            Case{401, 16},
                            Case{403, 7},
                            Case{404, 12},
                            Case{429, 14},
                            Case{502, 14},
                            Case{503, 14},
                            Case{504, 14},
                            Case{500, 2},
                            Case{200, 2}}) {
        EXPECT_EQ(status_of_http(one.http), one.grpc) << one.http;
    }
}

TEST(GrpcMessageValue, holds_only_what_a_field_may_hold) {
    EXPECT_EQ(message_value("no healthy upstream"), "no healthy upstream");
    EXPECT_EQ(message_value("100%\r\nx: y\xc3\xa9"), "100%25%0D%0Ax: y%C3%A9");
}

}  // namespace
}  // namespace orlop::grpc
