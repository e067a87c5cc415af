// Tables name only the fields they are about.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include "daemon/decide/match_route.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

namespace orlop::decide {
namespace {

using Kind = model::StringMatch::Kind;

model::StringMatch exact(std::string text) {
    return {.kind = Kind::exact, .text = text};
}
model::StringMatch prefix(std::string text) {
    return {.kind = Kind::prefix, .text = text};
}
model::StringMatch present() {
    return {.kind = Kind::present};
}
model::StringMatch regex(std::string text) {
    return {.kind = Kind::regex, .text = text, .regex = Regex::compile(text).value()};
}
model::StringMatch any_case(model::StringMatch match) {
    match.ignore_case = true;
    return match;
}

const std::vector<HeaderField> some_headers = {{"End-User", "jason"},
                                               {"x-list", "a"},
                                               {"X-List", "b"},
                                               {"x-empty", ""},
                                               {"cookie", "lang=en;user=jason"},
                                               {"x-raw", "caf\xE9"},
                                               {"x-utf8", "caf\xC3\xA9"}};
const model::Labels some_labels = {{"app", "web"}, {"version", "v2"}};

RequestView a_request() {
    return RequestView{.method = "GET",
                       .path = "/Shop/Cart",
                       .query = "test=true&flag&empty=&twice=1&twice=2&p%61=x",
                       .scheme = "http",
                       .authority = "Pricing.shop:80",
                       .headers = HeaderSource::of(some_headers),
                       .port = 80,
                       .source_labels = &some_labels,
                       .source_namespace = "shop"};
}

struct MatchCase {
    const char* name;
    model::HttpMatch match;
    bool expected;
};

std::vector<MatchCase> match_cases() {
    using M = model::HttpMatch;
    return {
        {"an empty match takes all", M{}, true},
        {"uri exact", M{.uri = exact("/Shop/Cart")}, true},
        {"uri exact is case-sensitive", M{.uri = exact("/shop/cart")}, false},
        {"uri exact ignoring case", M{.uri = any_case(exact("/shop/CART"))}, true},
        {"uri exact is not a prefix", M{.uri = exact("/Shop")}, false},
        {"uri prefix", M{.uri = prefix("/Shop")}, true},
        {"uri prefix is plain text, not a path segment", M{.uri = prefix("/Sho")}, true},
        {"uri prefix longer than the path", M{.uri = prefix("/Shop/Cart/1")}, false},
        {"uri prefix ignoring case", M{.uri = any_case(prefix("/SHOP"))}, true},
        {"uri empty prefix", M{.uri = prefix("")}, true},
        {"uri regex matches whole", M{.uri = regex("/Shop/.*")}, true},
        {"uri regex must match the whole path", M{.uri = regex("/Shop")}, false},
        {"uri regex does not see the query", M{.uri = regex(".*test.*")}, false},
        {"ignoreUriCase leaves a regex alone", M{.uri = any_case(regex("/shop/.*"))}, false},
        {"method exact", M{.method = exact("GET")}, true},
        {"method is case-sensitive", M{.method = exact("get")}, false},
        {"scheme", M{.scheme = exact("https")}, false},
        {"authority is case-sensitive", M{.authority = exact("pricing.shop:80")}, false},
        {"authority prefix", M{.authority = prefix("Pricing.")}, true},
        {"authority regex", M{.authority = regex(".*:80")}, true},
        {"port", M{.port = 80}, true},
        {"another port", M{.port = 81}, false},
        {"header name in any case", M{.headers = {{"end-user", exact("jason")}}}, true},
        {"header value is case-sensitive", M{.headers = {{"end-user", exact("Jason")}}}, false},
        {"header prefix", M{.headers = {{"end-user", prefix("ja")}}}, true},
        {"header regex", M{.headers = {{"cookie", regex("^(.*?;)?(user=jason)(;.*)?$")}}}, true},
        {"header present though empty", M{.headers = {{"x-empty", present()}}}, true},
        {"header absent", M{.headers = {{"x-none", present()}}}, false},
        {"absent header is not empty text", M{.headers = {{"x-none", exact("")}}}, false},
        {"several values are joined", M{.headers = {{"x-list", exact("a,b")}}}, true},
        {"one of several values is not enough", M{.headers = {{"x-list", exact("a")}}}, false},
        {"all headers must hold",
         M{.headers = {{"end-user", present()}, {"x-none", present()}}},
         false},
        {"host stands for authority", M{.headers = {{"host", prefix("Pricing")}}}, true},
        {":method as a header", M{.headers = {{":method", exact("GET")}}}, true},
        {"withoutHeaders present", M{.without_headers = {{"end-user", present()}}}, false},
        {"withoutHeaders absent", M{.without_headers = {{"x-none", present()}}}, true},
        {"withoutHeaders other value", M{.without_headers = {{"end-user", exact("bob")}}}, true},
        {"withoutHeaders same value", M{.without_headers = {{"end-user", exact("jason")}}}, false},
        {"withoutHeaders absent reads as empty",
         M{.without_headers = {{"x-none", exact("")}}},
         false},
        {"regex over UTF-8", M{.headers = {{"x-utf8", regex("caf.")}}}, true},
        {"regex over other bytes never holds", M{.headers = {{"x-raw", regex("caf.*")}}}, false},
        {"nor does its negation", M{.without_headers = {{"x-raw", regex("tea.*")}}}, false},
        {"exact works on any bytes", M{.headers = {{"x-raw", exact("caf\xE9")}}}, true},
        {"query exact", M{.query_params = {{"test", exact("true")}}}, true},
        {"query name is case-sensitive", M{.query_params = {{"Test", exact("true")}}}, false},
        {"query present without value", M{.query_params = {{"flag", present()}}}, true},
        {"query exact empty matches ?flag", M{.query_params = {{"flag", exact("")}}}, true},
        {"query exact empty matches ?empty=", M{.query_params = {{"empty", exact("")}}}, true},
        {"query absent", M{.query_params = {{"none", present()}}}, false},
        {"query takes the first of two", M{.query_params = {{"twice", exact("1")}}}, true},
        {"query regex is whole", M{.query_params = {{"test", regex("tr")}}}, false},
        {"query prefix", M{.query_params = {{"test", prefix("tr")}}}, true},
        {"query names are not decoded", M{.query_params = {{"pa", exact("x")}}}, false},
        {"source labels", M{.source_labels = {{"app", "web"}}}, true},
        {"all source labels", M{.source_labels = {{"app", "web"}, {"version", "v1"}}}, false},
        {"source namespace", M{.source_namespace = "shop"}, true},
        {"another namespace", M{.source_namespace = "other"}, false},
    };
}

TEST(MatchRoute, judges_every_kind_of_condition) {
    const RequestView request = a_request();
    for (const MatchCase& one : match_cases()) {
        EXPECT_EQ(matches(one.match, request), one.expected) << one.name;
    }
}

TEST(MatchRoute, a_regex_that_was_never_compiled_matches_nothing) {
    const model::HttpMatch positive{.uri = model::StringMatch{.kind = Kind::regex, .text = ".*"}};
    const model::HttpMatch negative{
        .without_headers = {{"end-user", model::StringMatch{.kind = Kind::regex, .text = "x"}}}};
    EXPECT_FALSE(matches(positive, a_request()));
    EXPECT_FALSE(matches(negative, a_request()));
}

TEST(MatchRoute, a_caller_without_labels_fails_any_label) {
    RequestView request = a_request();
    request.source_labels = nullptr;
    EXPECT_FALSE(matches(model::HttpMatch{.source_labels = {{"app", "web"}}}, request));
}

TEST(MatchRoute, takes_the_first_route_that_matches_and_says_why) {
    model::VirtualHost host;
    host.routes.push_back(
        {.name = "tester",
         .matches = {{.uri = exact("/none")}, {.name = "m", .method = exact("GET")}}});
    host.routes.push_back({.name = "rest"});
    const model::HttpMatch* which = nullptr;
    const model::HttpRoute* route = match_route(host, a_request(), &which);
    ASSERT_NE(route, nullptr);
    EXPECT_EQ(route->name, "tester");
    ASSERT_NE(which, nullptr);
    EXPECT_EQ(which->name, "m");

    RequestView post = a_request();
    post.method = "POST";
    route = match_route(host, post, &which);
    ASSERT_NE(route, nullptr);
    EXPECT_EQ(route->name, "rest");
    EXPECT_EQ(which, nullptr);
    EXPECT_EQ(match_route(host, post, nullptr), route);
}

TEST(MatchRoute, no_route_is_null) {
    model::VirtualHost host;
    EXPECT_EQ(match_route(host, a_request(), nullptr), nullptr);
    host.routes.push_back({.matches = {{.uri = exact("/none")}}});
    EXPECT_EQ(match_route(host, a_request(), nullptr), nullptr);
}

TEST(MatchRoute, finds_headers_in_any_case) {
    std::string_view value;
    EXPECT_TRUE(find_header(HeaderSource::of(some_headers), "END-USER", &value));
    EXPECT_EQ(value, "jason");
    EXPECT_FALSE(find_header(HeaderSource{}, "a", &value));
}

model::HttpRoute route_of(std::vector<std::uint32_t> weights) {
    model::HttpRoute route;
    for (const std::uint32_t weight : weights) {
        route.destinations.push_back({.weight = weight});
        route.weight_total += weight;
    }
    return route;
}

TEST(PickWeighted, shares_follow_the_weights) {
    const model::HttpRoute route = route_of({10, 0, 10, 80});
    std::mt19937_64 random(7);
    std::array<int, 4> seen{};
    constexpr int picks = 100'000;
    for (int i = 0; i < picks; ++i) {
        ++seen.at(pick_weighted(route, random()));
    }
    EXPECT_NEAR(seen[0], picks * 0.1, picks * 0.01);
    EXPECT_EQ(seen[1], 0);
    EXPECT_NEAR(seen[2], picks * 0.1, picks * 0.01);
    EXPECT_NEAR(seen[3], picks * 0.8, picks * 0.01);
}

TEST(PickWeighted, edges) {
    EXPECT_EQ(pick_weighted(route_of({}), 1), no_destination);
    EXPECT_EQ(pick_weighted(route_of({0}), 1), 0u);
    EXPECT_EQ(pick_weighted(route_of({0, 0}), 1), no_destination);
    EXPECT_EQ(pick_weighted(route_of({1, 1}), 0), 0u);
    EXPECT_EQ(pick_weighted(route_of({1, 1}), ~std::uint64_t{0}), 1u);
    EXPECT_EQ(pick_weighted(route_of({4294967295u, 4294967295u}), ~std::uint64_t{0}), 1u);
}

TEST(Chance, holds_in_its_share_of_cases) {
    std::mt19937_64 random(3);
    int hits = 0;
    for (int i = 0; i < 100'000; ++i) {
        hits += chance(5.0, random()) ? 1 : 0;
    }
    EXPECT_NEAR(hits, 5000, 400);
    EXPECT_FALSE(chance(0, 0));
    EXPECT_FALSE(chance(-1, 0));
    EXPECT_TRUE(chance(100, 999'999));
    EXPECT_TRUE(chance(0.0001, 0));
    EXPECT_FALSE(chance(0.0001, 1));
}

}  // namespace
}  // namespace orlop::decide
