// The load generator's HTTP/1.1 reader.
#include "bench/load/reply.h"

#include <gtest/gtest.h>

namespace orlop::bench {
namespace {

struct Row {
    const char* what;
    std::string_view bytes;
    Progress verdict;
};

TEST(ReplyReader, only_a_200_with_the_right_length_and_bytes_is_done) {
    const Row table[] = {
        {"right", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123", Progress::done},
        {"any case", "HTTP/1.1 200 OK\r\ncontent-length:4\r\n\r\n0123", Progress::done},
        {"half", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01", Progress::more},
        {"503", "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\n0123", Progress::wrong},
        {"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n01234", Progress::wrong},
        {"no length", "HTTP/1.1 200 OK\r\n\r\n0123", Progress::wrong},
        {"too much", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01234", Progress::wrong},
        {"content", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0124", Progress::wrong},
    };
    for (const auto& row : table) {
        ReplyReader reader({.bytes = 4, .content = Content::checked});
        EXPECT_EQ(reader.feed(row.bytes), row.verdict) << row.what;
        EXPECT_EQ(reader.error().empty(), row.verdict != Progress::wrong) << row.what;
    }
}

TEST(ReplyReader, a_reply_may_come_byte_by_byte) {
    ReplyReader reader({.bytes = 4, .content = Content::checked});
    std::string_view bytes = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123";
    for (char byte : bytes.substr(0, bytes.size() - 1)) {
        ASSERT_EQ(reader.feed({&byte, 1}), Progress::more);
    }
    EXPECT_EQ(reader.feed(bytes.substr(bytes.size() - 1)), Progress::done);
}

}  // namespace
}  // namespace orlop::bench
