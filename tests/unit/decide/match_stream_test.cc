#include "daemon/decide/match_stream.h"

#include <gtest/gtest.h>

namespace orlop::decide {
namespace {

model::StreamRoute route(model::StreamMatch match) {
    model::StreamRoute out;
    out.matches.push_back(std::move(match));
    return out;
}

TEST(MatchStream, every_condition_of_a_match_must_hold) {
    model::Labels labels{{"app", "web"}};
    StreamView view{
        "a.example.com", *SocketAddress::parse("10.0.0.7:443"), 443, &labels, "default"};
    struct Case {
        const char* name;
        model::StreamMatch match;
        bool holds;
    } cases[] = {
        {"nothing asked", {}, true},
        {"exact name", {.server_names = {"x.com", "a.example.com"}}, true},
        {"wildcard", {.server_names = {"*.example.com"}}, true},
        {"other name", {.server_names = {"b.example.com"}}, false},
        {"range", {.destinations = {*Cidr::parse("10.0.0.0/24")}}, true},
        {"other range", {.destinations = {*Cidr::parse("10.0.1.0/24")}}, false},
        {"port", {.port = 443}, true},
        {"other port", {.port = 444}, false},
        {"labels", {.source_labels = {{"app", "web"}}}, true},
        {"other labels", {.source_labels = {{"app", "api"}}}, false},
        {"missing label", {.source_labels = {{"v", "1"}}}, false},
        {"namespace", {.source_namespace = "default"}, true},
        {"other namespace", {.source_namespace = "x"}, false},
        {"one of two fails", {.server_names = {"*.example.com"}, .port = 1}, false},
    };
    for (const Case& one : cases) {
        EXPECT_EQ(match_stream({route(one.match)}, view) != nullptr, one.holds) << one.name;
    }
}

TEST(MatchStream, without_a_name_only_routes_that_ask_for_none_hold) {
    StreamView view{"", *SocketAddress::parse("10.0.0.7:443"), 443, nullptr, "default"};
    EXPECT_EQ(match_stream({route({.server_names = {"*"}})}, view), nullptr);
    EXPECT_EQ(match_stream({route({.source_labels = {{"a", "b"}}})}, view), nullptr);
    EXPECT_NE(match_stream({route({})}, view), nullptr);
    EXPECT_NE(match_stream({model::StreamRoute{}}, view), nullptr);
    EXPECT_EQ(match_stream({}, view), nullptr);
}

TEST(MatchStream, the_first_that_holds_is_taken) {
    StreamView view{"a.b", *SocketAddress::parse("10.0.0.7:443"), 443, nullptr, "default"};
    std::vector<model::StreamRoute> routes = {
        route({.port = 1}), route({.server_names = {"*.b"}}), route({})};
    EXPECT_EQ(match_stream(routes, view), &routes[1]);
}

}  // namespace
}  // namespace orlop::decide
