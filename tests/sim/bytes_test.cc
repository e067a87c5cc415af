// Connections that are bytes to the proxy, and plaintext that arrives at a pod.
#include "tests/sim/world.h"

namespace orlop::sim {
namespace {

struct Shop {
    explicit Shop(FakeOptions options = {}, const std::string& port_name = "tcp") : world(options) {
        world.service("shop", 1, port_name);
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    World world;
};

Task<void> echo(App* app, ScriptedPeer* peer, std::size_t) {
    while (true) {
        std::string some = co_await peer->receive_some();
        if (some.empty()) {
            break;
        }
        if (co_await peer->send(some) != 0) {
            co_return;
        }
    }
    co_await peer->send("|end seen");
}

struct Exchange {
    std::string sent;
    std::string got;
    bool ended = false;
    int error = 0;
};

Task<void> send_part(ScriptedPeer* peer, std::string bytes, bool* over) {
    co_await peer->send(std::move(bytes));
    peer->end_sending();
    *over = true;
}

Task<void> talk(World* world, Exchange* exchange, std::string to) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse(to));
    bool over = false;
    runtime::Scope sender(world->loop);
    sender.spawn(&send_part, &peer, exchange->sent, &over);
    exchange->got = co_await peer.receive_all();
    exchange->ended = peer.ended();
    exchange->error = peer.error();
    co_await sender.join();
}

std::string noise(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<char>((i * 131 + i / 251) & 0xff);
    }
    return bytes;
}

TEST(Bytes, pass_whole_both_ways_with_half_close) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", &echo);
        Exchange exchange{noise(300'000)};
        shop.world.scope().spawn(&talk, &shop.world, &exchange, std::string("10.96.0.1:80"));
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        EXPECT_TRUE(exchange.got == exchange.sent + "|end seen") << "seed " << seed;
        EXPECT_TRUE(exchange.ended);
        shop.world.finish();
    }
}

// A socket tells its error once, to a send or to a receive; the other one then sees an end. The
// kernel completes them in that order, which is what the streams rely on: no delays here.
TEST(Bytes, a_reset_of_either_side_reaches_the_other) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Shop shop({.seed = seed, .completion_delay_max = Duration(0)});
        struct Cut {
            static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
                (void)co_await peer->receive_exactly(10'000);
                peer->reset();
            }
        };
        App app(shop.world, "10.0.0.1:9090", &Cut::serve);
        Exchange exchange{noise(100'000)};
        shop.world.scope().spawn(&talk, &shop.world, &exchange, std::string("10.96.0.1:80"));
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        EXPECT_FALSE(exchange.ended) << "a reset became an orderly end, seed " << seed;
        shop.world.finish();
    }
}

TEST(Bytes, a_server_that_speaks_first_is_heard_on_an_undeclared_port) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed}, "unspoken");
        struct Greeter {
            static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
                co_await peer->send("220 hello\r\n");
                std::string line = co_await peer->receive_until("\r\n");
                co_await peer->send("250 " + line);
            }
            static Task<void> client(World* world, std::string* got) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                std::string hello = co_await peer.receive_until("\r\n");
                co_await peer.send("EHLO me\r\n");
                *got = hello + co_await peer.receive_all();
            }
        };
        App app(shop.world, "10.0.0.1:9090", &Greeter::serve);
        std::string got;
        shop.world.scope().spawn(&Greeter::client, &shop.world, &got);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        EXPECT_EQ(got, "220 hello\r\n250 EHLO me\r\n");
        shop.world.finish();
    }
}

TEST(Bytes, http_on_an_undeclared_port_is_seen_as_such) {
    Shop shop({}, "unspoken");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(app.requests[0].field("x-envoy-attempt-count"), "1");
    shop.world.finish();
}

TEST(Bytes, http_2_on_a_port_declared_tcp_passes_as_it_is) {
    Shop shop({}, "tcp");
    App app(shop.world, "10.0.0.1:9090", &echo);
    Exchange exchange{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes"};
    shop.world.scope().spawn(&talk, &shop.world, &exchange, std::string("10.96.0.1:80"));
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(exchange.got, exchange.sent + "|end seen");
    shop.world.finish();
}

TEST(Bytes, a_caller_that_resets_ends_the_connecting) {
    Shop shop({.seed = 3, .backlog_max = 1});
    // The only place of the application's backlog is taken: connecting waits.
    int listener = shop.world.network.listen(*SocketAddress::parse("10.0.0.1:9090"));
    struct Occupy {
        static Task<void> run(ScriptedPeer* peer) {
            co_await peer->connect(*SocketAddress::parse("10.0.0.1:9090"));
        }
        static Task<void> reset_soon(World* world) {
            ScriptedPeer peer(world->loop, world->network.socket());
            co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
            co_await Sleep(world->loop, milliseconds(50));
            peer.reset();
        }
    };
    auto occupant = std::make_unique<ScriptedPeer>(shop.world.loop, shop.world.network.socket());
    shop.world.scope().spawn(&Occupy::run, occupant.get());
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    shop.world.scope().spawn(&Occupy::reset_soon, &shop.world);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_TRUE(shop.world.run_until([&] { return shop.world.node(0).core->scope().live() == 0; },
                                     milliseconds(100)))
        << "still connecting for somebody who left";
    occupant.reset();
    runtime::ScriptedListener drain(shop.world.loop, listener);
    struct Stop {
        static Task<void> run(runtime::ScriptedListener* listener) { co_await listener->stop(); }
    };
    shop.world.scope().spawn(&Stop::run, &drain);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    shop.world.finish();
}

// --- plaintext that arrives ----------------------------------------------------------------------

// Delivery of permitted plaintext is a matter of namespaces (the application listens on the very
// address that is captured) and is proven where there are some: tests/netns.
TEST(Inbound, a_strict_pod_refuses_plaintext_with_a_reset_before_any_byte) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        World world({.seed = seed});
        world.pod("shop-1", "10.0.0.1", "shop", "n1", "ambient.istio.io/redirection: enabled");
        world.apply("pa",
                    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
                    "metadata: {name: default, namespace: default}\n"
                    "spec: {mtls: {mode: STRICT}}\n");
        world.open_callee(world.node(0), "shop-1", "10.0.0.1");
        Exchange exchange{"plain"};
        world.scope().spawn(&talk, &world, &exchange, std::string("10.0.0.1:9091"));
        ASSERT_EQ(world.settle(), FakeEnd::done);
        EXPECT_EQ(exchange.got, "");
        EXPECT_FALSE(exchange.ended) << "a refusal is a reset";
        EXPECT_EQ(world.metrics.core(0).value(telemetry::CoreCounter::refused_strict), 1u);
        world.finish();
    }
}

}  // namespace
}  // namespace orlop::sim
