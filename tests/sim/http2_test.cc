// HTTP/2 through the whole proxy: what a caller that speaks it gets, translated both ways.
#include "tests/sim/http2_peer.h"

#include <algorithm>

namespace orlop::sim {
namespace {

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    World world;
};

// A client that sends what `script` asks for and reads until everything has ended.
struct Client {
    World* world;
    std::function<void(Http2Peer&)> script;
    std::map<h2::StreamId, Http2Message> messages;
    bool goaway = false;
    Duration took{};

    static Task<void> run(Client* self) {
        ScriptedPeer transport(self->world->loop, self->world->network.socket());
        co_await transport.connect(*SocketAddress::parse("10.96.0.1:80"));
        Http2Peer peer(*self->world, transport, h2::Role::client);
        self->script(peer);
        runtime::Scope reading(self->world->loop);
        reading.spawn(&Http2Peer::run, &peer);
        while (!finished(peer)) {
            co_await Sleep(self->world->loop, milliseconds(1));
        }
        self->messages = peer.messages;
        self->goaway = peer.goaway;
        self->took = self->world->elapsed();
        peer.session().goaway();
        co_await peer.say();
        transport.end_sending();
        co_await reading.join();
    }
    static bool finished(const Http2Peer& peer) {
        return std::ranges::all_of(peer.messages, [](const auto& entry) {
            return entry.second.ended || entry.second.reset.has_value();
        });
    }
};

std::vector<Http2Message>
talk(World& world, std::function<void(Http2Peer&)> script, Duration* took = nullptr) {
    Client client{&world, [&](Http2Peer& peer) { script(peer); }, {}};
    world.scope().spawn(&Client::run, &client);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    if (took != nullptr) {
        *took = client.took;
    }
    std::vector<Http2Message> out;
    for (auto& [id, message] : client.messages) {
        out.push_back(std::move(message));
    }
    return out;
}

// Requests are known to the client before anything of them has come back.
void ask(Http2Peer& peer,
         const std::string& method,
         const std::string& path,
         const std::vector<Field>& fields = {},
         const std::string& body = "") {
    peer.messages[peer.request(method, path, fields, body)];
}

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
