// The load generator's HTTP/2 reader: right replies end, everything else has a name.
#include "bench/load/h2_client.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace orlop::bench {
namespace {

using namespace std::string_literals;

enum Type : char { data = 0, headers = 1, reset = 3, settings = 4, ping = 6, goaway = 7, cont = 9 };
constexpr char end_stream = 0x1;
constexpr char end_headers = 0x4;
constexpr char padded = 0x8;

std::string frame(char type, char flags, char stream, const std::string& payload) {
    std::string head{'\0', '\0', static_cast<char>(payload.size()), type, flags, 0, 0, 0, stream};
    return head + payload;
}

const std::string status_200 = frame(headers, end_headers, 1, "\x88");
const std::string body = "0123";  // the backend's pattern

struct Caller {
    H2Client client{{.authority = "server", .path = "/"},
                    {.bytes = 4, .content = Content::checked}};
    std::vector<std::size_t> replies;

    Caller() { client.request(17); }
    bool feed(const std::string& bytes) {
        return client.feed(bytes, [this](std::size_t tag) { replies.push_back(tag); });
    }
};

TEST(H2Client, a_reply_of_200_and_the_right_bytes_ends_with_its_tag) {
    Caller caller;
    EXPECT_TRUE(caller.feed(frame(settings, 0, 0, "") + status_200));
    EXPECT_TRUE(caller.replies.empty());
    EXPECT_TRUE(caller.feed(frame(data, end_stream, 1, body)));
    EXPECT_EQ(caller.replies, std::vector<std::size_t>{17});
}

TEST(H2Client, frames_may_come_byte_by_byte) {
    Caller caller;
    for (char byte : frame(settings, 0, 0, "") + status_200 + frame(data, end_stream, 1, body)) {
        ASSERT_TRUE(caller.feed(std::string(1, byte)));
    }
    EXPECT_EQ(caller.replies.size(), 1U);
}

TEST(H2Client, padding_an_emptied_table_and_trailers_are_no_part_of_the_body) {
    Caller caller;
    EXPECT_TRUE(caller.feed(frame(headers, end_headers, 1, "\x20\x88") +
                            frame(data, padded, 1, "\x02"s + body + "zz"s) +
                            frame(headers, end_headers | end_stream, 1, "\x88")));
    EXPECT_EQ(caller.replies.size(), 1U);
}

struct Wrong {
    const char* what;
    std::string bytes;
    const char* error;
};

TEST(H2Client, every_wrong_reply_says_what_is_wrong) {
    const Wrong table[] = {
        {"status", frame(headers, end_headers, 1, "\x8d"), "HTTP/2: reply is not a 200"},
        {"short", status_200 + frame(data, end_stream, 1, "012"), "a reply of 3 bytes, wanted 4"},
        {"long", status_200 + frame(data, 0, 1, "01234"), "more bytes than the reply has"},
        {"content", status_200 + frame(data, 0, 1, "0124"), "wrong byte after byte 0"},
        {"reset", frame(reset, 0, 1, "\0\0\0\x02"s), "HTTP/2: the peer reset a stream"},
        {"goaway", frame(goaway, 0, 0, "\0\0\0\0\0\0\0\0"s), "HTTP/2: GOAWAY of the peer"},
        {"no head", frame(data, end_stream, 1, body), "HTTP/2: broken DATA"},
        {"stranger", frame(data, 0, 3, body), "HTTP/2: a frame of a stream that is not open"},
        {"cut head", frame(headers, 0, 1, "\x88"), "HTTP/2: a reply's head does not fit one frame"},
        {"padding", status_200 + frame(data, padded, 1, "\x09"), "HTTP/2: broken DATA"},
    };
    for (const auto& row : table) {
        Caller caller;
        EXPECT_FALSE(caller.feed(row.bytes)) << row.what;
        EXPECT_EQ(caller.client.error(), row.error) << row.what;
        EXPECT_TRUE(caller.replies.empty()) << row.what;
    }
}

TEST(H2Client, settings_and_pings_are_answered_and_the_bound_on_streams_is_known) {
    Caller caller;
    caller.client.drop_output(caller.client.output().size());
    EXPECT_TRUE(
        caller.feed(frame(settings, 0, 0, "\0\x03\0\0\0\x64"s) + frame(ping, 0, 0, "12345678")));
    EXPECT_EQ(caller.client.streams_max(), 100U);
    EXPECT_EQ(caller.client.output(), frame(settings, 1, 0, "") + frame(ping, 1, 0, "12345678"));
}

}  // namespace
}  // namespace orlop::bench
