// The index of a host with many routes never changes which route a request takes.
#include "daemon/decide/match_route.h"
#include "daemon/model/route_index.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace orlop::decide {
namespace {

using Kind = model::StringMatch::Kind;

model::HttpRoute route_for(Kind kind, const std::string& text, const std::string& method = "") {
    model::HttpRoute route;
    model::HttpMatch match;
    match.uri = model::StringMatch{.kind = kind, .text = text};
    if (!method.empty()) {
        match.method = model::StringMatch{.kind = Kind::exact, .text = method};
    }
    route.matches.push_back(std::move(match));
    return route;
}

// The number of the route taken, or -1.
std::ptrdiff_t taken(const model::VirtualHost& host, const RequestView& request) {
    const model::HttpRoute* found = match_route(host, request, nullptr);
    return found == nullptr ? -1 : found - host.routes.data();
}

std::ptrdiff_t taken_in_turn(model::VirtualHost host, const RequestView& request) {
    host.index = nullptr;
    return taken(host, request);
}

TEST(RouteIndex, few_routes_need_none) {
    std::vector<model::HttpRoute> routes(3);
    EXPECT_EQ(model::make_route_index(routes), nullptr);
}

TEST(RouteIndex, a_request_takes_the_route_it_takes_without_an_index) {
    std::mt19937 random(20240607);  // fixed: a failure repeats itself
    const std::string pieces[] = {"/", "/a", "/a/b", "/ab", "/b", "/a/b/c", "", "/A", "/c/"};
    const char* methods[] = {"", "GET", "POST"};
    auto pick = [&](auto& from) -> const auto& { return from[random() % std::size(from)]; };
    std::size_t found = 0;
    for (int round = 0; round < 300; ++round) {
        model::VirtualHost host;
        for (int i = 0; i < 40; ++i) {
            std::string text = pick(pieces) + pick(pieces);
            model::HttpRoute route =
                route_for(random() % 2 == 0 ? Kind::exact : Kind::prefix, text, pick(methods));
            if (random() % 5 == 0) {
                route.matches[0].uri->ignore_case = true;
            }
            if (random() % 8 == 0) {
                route.matches.push_back(route_for(Kind::exact, pick(pieces)).matches[0]);
            }
            if (random() % 40 == 0) {
                route.matches.clear();
            }
            host.routes.push_back(std::move(route));
        }
        host.index = model::make_route_index(host.routes);
        ASSERT_NE(host.index, nullptr);
        for (int i = 0; i < 40; ++i) {
            std::string path = pick(pieces) + pick(pieces) + pick(pieces);
            RequestView request{.method = pick(methods), .path = path};
            std::ptrdiff_t route = taken(host, request);
            ASSERT_EQ(route, taken_in_turn(host, request)) << path << " in round " << round;
            found += route >= 0 ? 1 : 0;
        }
    }
    EXPECT_GT(found, 1000u);  // the rounds do compare matches, not only misses
}

TEST(RouteIndex, more_nested_prefixes_than_it_has_lists_are_tried_in_turn) {
    model::VirtualHost host;
    std::string path;
    for (int i = 0; i < 60; ++i) {
        path += "/x";
        host.routes.push_back(route_for(Kind::prefix, path, "NEVER"));
    }
    host.routes.push_back(route_for(Kind::prefix, "/x", "GET"));
    host.index = model::make_route_index(host.routes);
    EXPECT_EQ(taken(host, {.method = "GET", .path = path}), 60);
    EXPECT_EQ(taken(host, {.method = "PUT", .path = path}), -1);
}

}  // namespace
}  // namespace orlop::decide
