#include "daemon/base/ip.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace orlop {
namespace {

TEST(IpAddress, prints_what_it_parsed) {
    for (const char* text : {"10.0.0.1", "255.255.255.255", "fd00::1", "::1", "::"}) {
        auto ip = IpAddress::parse(text);
        ASSERT_TRUE(ip) << text;
        EXPECT_EQ(ip->to_string(), text);
    }
}

TEST(IpAddress, treats_a_v4_mapped_address_as_ipv4) {
    EXPECT_EQ(*IpAddress::parse("::ffff:10.1.2.3"), *IpAddress::parse("10.1.2.3"));
    EXPECT_TRUE(IpAddress::parse("::ffff:127.0.0.1")->is_loopback());
}

TEST(IpAddress, refuses_what_is_no_address) {
    for (const char* text : {"", "1.2.3", "1.2.3.4.5", "a.b.c.d", "1.2.3.256", "g::", " 1.2.3.4"}) {
        EXPECT_FALSE(IpAddress::parse(text)) << text;
    }
    EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(SocketAddress, survives_the_kernel_form) {
    for (const char* text : {"10.0.0.1:80", "[fd00::1]:15008"}) {
        auto address = SocketAddress::parse(text);
        ASSERT_TRUE(address) << text;
        sockaddr_storage storage;
        address->to_sockaddr(storage);
        EXPECT_EQ(SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), *address);
        EXPECT_EQ(address->to_string(), text);
    }
    EXPECT_FALSE(SocketAddress::parse("fd00::1:80"));
    EXPECT_FALSE(SocketAddress::parse("10.0.0.1"));
    EXPECT_FALSE(SocketAddress::parse("10.0.0.1:65536"));
}

TEST(Cidr, contains_only_its_own_family_and_prefix) {
    auto cidr = Cidr::parse("10.1.0.0/16");
    ASSERT_TRUE(cidr);
    EXPECT_TRUE(cidr->contains(*IpAddress::parse("10.1.255.1")));
    EXPECT_FALSE(cidr->contains(*IpAddress::parse("10.2.0.1")));
    EXPECT_FALSE(Cidr::parse("::/0")->contains(*IpAddress::parse("10.1.0.1")));
    EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("10.1.0.1")));
    EXPECT_FALSE(Cidr::parse("10.0.0.0/33"));
}

}  // namespace
}  // namespace orlop
