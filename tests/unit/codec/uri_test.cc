#include "daemon/codec/uri.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace orlop::uri {
namespace {

std::string normal(std::string_view raw, Normalisation how = Normalisation::base) {
    std::array<char, 256> room;
    const auto path = normalise_path(raw, room, how);
    return path ? std::string(*path) : "fault: " + std::string(fault_text(path.error()));
}

TEST(Path, is_normalised_to_one_text) {
    const std::pair<const char*, const char*> cases[] = {
        {"/", "/"},
        {"*", "*"},
        {"/a/b", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/a/..", "/"},
        {"/a/.", "/a/"},
        {"/a/b/..", "/a/"},
        {"/..", "/"},
        {"/../../x", "/x"},
        {"/a/%2e%2E/b", "/b"},
        {"/%61%7e%2D", "/a~-"},
        {"/a%2fb", "/a%2Fb"},
        {"/a%3fb", "/a%3Fb"},
        {"/a\\b", "/a/b"},
        {"/a%5c..%5Cb", "/b"},
        {"/a//b", "/a//b"},
        {"/a//../b", "/a/b"},
        {"/%252e%252e/b", "/%252e%252e/b"},
        {"/...", "/..."},
        {"/..a", "/..a"},
        {"/a;x/b", "/a;x/b"},
        {"/.well-known/x", "/.well-known/x"},
    };
    for (const auto& [raw, expected] : cases) {
        EXPECT_EQ(normal(raw), expected) << raw;
        EXPECT_EQ(normal(normal(raw)), normal(raw)) << raw;
    }
}

TEST(Path, merges_slashes_when_told_to) {
    EXPECT_EQ(normal("/a//b///c//", Normalisation::merge_slashes), "/a/b/c/");
    EXPECT_EQ(normal("//", Normalisation::merge_slashes), "/");
    EXPECT_EQ(normal("/a%2fb", Normalisation::merge_slashes), "/a%2Fb");
    EXPECT_EQ(normal("/a%2f%2Fb", Normalisation::decode_and_merge_slashes), "/a/b");
    EXPECT_EQ(normal("/a%2f..", Normalisation::decode_and_merge_slashes), "/");
    EXPECT_EQ(normal("/a/../%2e", Normalisation::none), "/a/../%2e");
}

TEST(Path, is_refused_when_it_cannot_be_made_safe) {
    using namespace std::string_view_literals;
    const std::string_view cases[] = {"",
                                      "a",
                                      "/a#b",
                                      "/a?b",
                                      "/a b",
                                      "/\0"sv,
                                      "/a\x80",
                                      "/%",
                                      "/%4",
                                      "/%zz",
                                      "/%00",
                                      "/..;/a",
                                      "/.;x/a",
                                      "/..%3b",
                                      "/a\r\n",
                                      "/%2e%2e;"};
    for (const std::string_view raw : cases) {
        EXPECT_TRUE(normal(raw).starts_with("fault: ")) << raw;
    }
    std::array<char, 3> small;
    EXPECT_EQ(normalise_path("/a/../b", small).error(), PathFault::too_long);
}

TEST(Path, that_is_normal_already_needs_no_room) {
    const std::string_view raw = "/products/1";
    EXPECT_EQ(normalise_path(raw, {})->data(), raw.data());
}

TEST(Authority, is_split_and_checked) {
    const auto plain = split_host_port("a.example");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->host, "a.example");
    EXPECT_EQ(plain->port, 0);
    EXPECT_EQ(split_host_port("a_b-c.d:65535")->port, 65535);
    const auto v6 = split_host_port("[fd00::1]:15008");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "fd00::1");
    EXPECT_TRUE(v6->ipv6_literal);
    EXPECT_EQ(v6->port, 15008);
    using namespace std::string_view_literals;
    for (const std::string_view bad :
         {""sv,      ":80"sv,  "a:"sv,   "a:0"sv,     "a:080"sv,     "a:65536"sv,
          "a:1:2"sv, "::1"sv,  "[::1"sv, "[::1]80"sv, "[1.2.3.4]"sv, "[fe80::1%25eth0]"sv,
          "u@a"sv,   "a b"sv,  "a/b"sv,  "a%20"sv,    "a,b"sv,       ".a"sv,
          "a\0"sv,   "a:+1"sv, "a:1 "sv, "[]"sv,      "[:]"sv}) {
        EXPECT_FALSE(split_host_port(bad)) << bad;
    }
}

TEST(Host, compares_without_case_and_final_dot) {
    EXPECT_TRUE(same_host("A.Example", "a.example."));
    EXPECT_FALSE(same_host("a.example", "b.example"));
    EXPECT_FALSE(same_host("a", "a.example"));
    EXPECT_FALSE(same_host("[", "{")) << "only letters have case";
    EXPECT_TRUE(same_host("ABCDEFGHIJKLMNOPQRSTUVWXYZ-09", "abcdefghijklmnopqrstuvwxyz-09"));
    EXPECT_FALSE(same_host("aaaaaaaaaaaa@[", "aaaaaaaaaaaa`{"));
    EXPECT_FALSE(same_host("x-request-id", "x-request\rid"));
    EXPECT_FALSE(same_host("aaaaaaaa\xc1", "aaaaaaaa\xe1"));
}

TEST(Query, finds_the_first_parameter_of_a_name) {
    EXPECT_EQ(query_parameter("a=1&b=2&a=3", "a"), "1");
    EXPECT_EQ(query_parameter("a=1&b", "b"), "");
    EXPECT_EQ(query_parameter("aa=1&&a==x", "a"), "=x");
    EXPECT_EQ(query_parameter("a=1", "A"), std::nullopt);
    EXPECT_EQ(query_parameter("", ""), std::nullopt);
    EXPECT_TRUE(valid_query("a=%20&b"));
    EXPECT_FALSE(valid_query("a=%2"));
    EXPECT_FALSE(valid_query("a#b"));
}

}  // namespace
}  // namespace orlop::uri
