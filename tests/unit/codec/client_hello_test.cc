#include "daemon/base/limits.h"
#include "daemon/codec/client_hello.h"

#include <gtest/gtest.h>

namespace orlop::tls {
namespace {

std::string number(std::size_t value, std::size_t width) {
    std::string out;
    for (std::size_t i = width; i > 0; --i) {
        out += static_cast<char>((value >> (8 * (i - 1))) & 255);
    }
    return out;
}

std::string vector(std::string_view body, std::size_t width) {
    return number(body.size(), width) + std::string(body);
}

std::string extension(std::size_t kind, std::string_view body) {
    return number(kind, 2) + vector(body, 2);
}

std::string server_name(std::string_view name) {
    return extension(0, vector(number(0, 1) + vector(name, 2), 2));
}

std::string message(std::string_view extensions) {
    std::string body = number(0x0303, 2) + std::string(32, 'r') + vector("", 1) +
                       vector(number(0x1301, 2), 2) + vector(std::string(1, '\0'), 1) +
                       vector(extensions, 2);
    return number(1, 1) + vector(body, 3);
}

std::string record(std::string_view body) {
    return number(22, 1) + number(0x0301, 2) + vector(body, 2);
}

TEST(ClientHello, tells_name_and_protocols) {
    std::string protocols = vector("h2", 1) + vector("http/1.1", 1);
    auto hello = look_at_client_hello(
        record(message(server_name("Shop.Example.COM.") + extension(16, vector(protocols, 2)))));
    EXPECT_EQ(hello.state, HelloState::complete);
    EXPECT_EQ(hello.server_name, "shop.example.com");
    EXPECT_EQ(hello.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
}

TEST(ClientHello, is_incomplete_at_every_cut) {
    std::string whole = record(message(server_name("a.example")));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_EQ(look_at_client_hello(std::string_view(whole).substr(0, size)).state,
                  HelloState::need_more)
            << size;
    }
    EXPECT_EQ(look_at_client_hello(whole).state, HelloState::complete);
}

TEST(ClientHello, may_be_spread_over_records) {
    std::string whole = message(server_name("a.example"));
    std::string records;
    for (char c : whole) {
        records += record(std::string_view(&c, 1));
    }
    EXPECT_EQ(look_at_client_hello(records).server_name, "a.example");
}

TEST(ClientHello, has_no_name_when_none_was_sent_or_it_is_no_dns_name) {
    for (std::string_view name : {"", "a b", "evil/.example", "\xc3\xa9.example"}) {
        auto hello = look_at_client_hello(record(message(server_name(name))));
        EXPECT_EQ(hello.state, HelloState::complete) << name;
        EXPECT_EQ(hello.server_name, "") << name;
    }
    EXPECT_EQ(look_at_client_hello(record(message(""))).server_name, "");
}

TEST(ClientHello, refuses_what_is_no_hello) {
    struct Case {
        const char* what;
        std::string bytes;
        HelloState state;
    };
    std::string long_extension = number(0, 2) + number(500, 2) + "x";
    const Case cases[] = {
        {"plaintext HTTP", "GET / HTTP/1.1\r\n", HelloState::not_tls},
        {"one byte of HTTP", "G", HelloState::not_tls},
        {"an alert", number(21, 1) + number(0x0301, 2) + vector("xx", 2), HelloState::not_tls},
        {"SSL 2", number(22, 1) + number(0x0200, 2) + vector("xx", 2), HelloState::not_tls},
        {"a server's hello", record(number(2, 1) + vector("xxxx", 3)), HelloState::not_tls},
        {"an empty record", record(""), HelloState::refused},
        {"an extension longer than its list", record(message(long_extension)), HelloState::refused},
        {"a message beyond the bound",
         record(number(1, 1) + number(limits::tls_hello_bytes_max + 1, 3)),
         HelloState::refused},
        {"a record beyond the bound",
         number(22, 1) + number(0x0301, 2) + number(limits::tls_hello_bytes_max + 1, 2),
         HelloState::refused},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(look_at_client_hello(c.bytes).state, c.state) << c.what;
    }
}

}  // namespace
}  // namespace orlop::tls
