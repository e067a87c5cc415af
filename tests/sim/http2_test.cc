// HTTP/2 through the whole proxy: what a caller that speaks it gets, translated both ways.
#include "tests/sim/http2_peer.h"

namespace orlop::sim {
namespace {

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    World world;
};

TEST(Http2, a_request_reaches_an_http1_application_and_comes_back) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, "for " + request.line(), "x-app: yes\r\n")};
        });
        auto got = talk(shop.world, [](Http2Peer& peer) {
            ask(peer, "GET", "/a?b=c", {{"cookie", "a=1"}, {"cookie", "b=2"}});
        });
        ASSERT_EQ(got.size(), 1U) << "seed " << seed;
        EXPECT_EQ(got[0].status, 200);
        EXPECT_EQ(got[0].body, "for GET /a?b=c HTTP/1.1");
        EXPECT_EQ(got[0].fields["x-app"], "yes");
        EXPECT_FALSE(got[0].fields.contains("connection"));
        ASSERT_EQ(app.requests.size(), 1U);
        EXPECT_EQ(app.requests[0].field("host"), "shop");
        EXPECT_EQ(app.requests[0].field("cookie"), "a=1; b=2");
        shop.world.finish();
    }
}

TEST(Http2, many_streams_of_one_connection_are_served_side_by_side) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
        return Reply{response(200, request.line()), milliseconds(100)};
    });
    auto ask_all = [](Http2Peer& peer) {
        for (int i = 0; i < 50; ++i) {
            ask(peer, "GET", "/" + std::to_string(i));
        }
    };
    Duration took{};
    auto got = talk(shop.world, ask_all, &took);
    ASSERT_EQ(got.size(), 50U);
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(got[static_cast<std::size_t>(i)].body, "GET /" + std::to_string(i) + " HTTP/1.1");
    }
    EXPECT_LT(took, milliseconds(1000));
    shop.world.finish();
}

TEST(Http2, bodies_pass_both_ways_under_flow_control) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, request.body)};
        });
        const std::string body(1'000'000, 'b');
        auto got = talk(shop.world, [&](Http2Peer& peer) {
            ask(peer, "POST", "/", {}, body);
            ask(peer, "POST", "/", {{"content-length", "1000000"}}, body);
        });
        ASSERT_EQ(got.size(), 2U);
        EXPECT_TRUE(got[0].body == body) << "seed " << seed << ": " << got[0].body.size();
        EXPECT_TRUE(got[1].body == body) << "seed " << seed << ": " << got[1].body.size();
        EXPECT_EQ(app.requests[0].field("transfer-encoding") +
                      app.requests[1].field("transfer-encoding"),
                  "chunked");
        shop.world.finish();
    }
}

TEST(Http2, trailers_of_an_http1_application_arrive_as_trailers) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) {
        return Reply{chunked(200, {"one", "two"}, "grpc-status: 0\r\n")};
    });
    auto got = talk(shop.world, [](Http2Peer& peer) { ask(peer, "GET", "/"); });
    EXPECT_EQ(got[0].body, "onetwo");
    EXPECT_EQ(got[0].trailers["grpc-status"], "0");
    shop.world.finish();
}

TEST(Http2, what_http1_cannot_say_is_refused_before_anybody_reads_it) {
    struct Case {
        const char* method;
        const char* path;
        std::vector<Field> fields;
    };
    const std::vector<Case> cases = {
        {"GET", "/a b", {}},
        {"GET", "no-slash", {}},
        {"GET", "*", {}},
        {"GET", "/", {{"host", "other"}}},
        {"G T", "/", {}},
    };
    for (const Case& bad : cases) {
        Shop shop;
        App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
        auto got = talk(shop.world, [&](Http2Peer& peer) {
            auto id = peer.session().open_request_stream(
                {bad.method, "http", "shop", bad.path}, bad.fields, h2::StreamEnd::ended);
            ASSERT_TRUE(id);
            peer.messages[*id];
        });
        ASSERT_EQ(got.size(), 1U);
        EXPECT_TRUE(got[0].status == 400 || got[0].reset) << bad.method << " " << bad.path;
        EXPECT_TRUE(app.requests.empty()) << bad.method << " " << bad.path;
        shop.world.finish();
    }
}

TEST(Http2, a_stream_that_is_reset_ends_its_exchange_and_no_other) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) {
        return Reply{response(200, "slow"), seconds(1)};
    });
    auto got = talk(shop.world, [](Http2Peer& peer) {
        auto first = peer.request("GET", "/first");
        ask(peer, "GET", "/second");
        peer.session().reset(first, h2::ErrorCode::cancel);
    });
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].body, "slow");
    shop.world.finish();
}

TEST(Http2, a_local_answer_is_an_answer_in_http2) {
    Shop shop;
    auto got = talk(shop.world, [](Http2Peer& peer) { ask(peer, "GET", "/"); });
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].status, 503) << "nobody listens";
    EXPECT_FALSE(got[0].body.empty());
    shop.world.finish();
}

}  // namespace
}  // namespace orlop::sim
