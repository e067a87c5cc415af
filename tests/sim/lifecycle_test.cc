// Ends of all kinds: callers that leave, drains, pods that leave, snapshots that change, cores that
// shut down, each in the middle of something.
#include "tests/sim/world.h"

namespace orlop::sim {
namespace {

App::AnswerFor always(Reply reply) {
    return [reply](const Request&, std::size_t) { return reply; };
}

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    void route(const std::string& lines) {
        world.apply("vs",
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                    "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n  http:\n"
                    "  - route: [{destination: {host: shop}}]\n" +
                        lines);
    }
    World world;
};

const std::string get_line = "GET / HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\n\r\n";

Task<void> ask_and_leave(World* world, std::string bytes, Duration patience, bool reset) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(std::move(bytes));
    co_await Sleep(world->loop, patience);
    if (reset) {
        peer.reset();
    }
}

// --- the caller leaves ---------------------------------------------------------------------------

TEST(CallerLeaves, the_upstream_is_cut_and_the_record_says_DC) {
    for (bool reset : {false, true}) {
        for (std::uint64_t seed = 1; seed <= 10; ++seed) {
            Shop shop({.seed = seed});
            struct Watching {
                static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
                    (void)co_await peer->receive_until("\r\n\r\n");
                    (void)co_await peer->receive_all();  // ends only because we are cut
                    *static_cast<Instant*>(app->context) = app->world().network.virtual_now();
                }
            };
            Instant cut{};
            App app(shop.world, "10.0.0.1:9090", &Watching::serve);
            app.context = &cut;
            Instant begun = shop.world.network.virtual_now();
            shop.world.scope().spawn(
                &ask_and_leave, &shop.world, get_line, Duration(milliseconds(100)), reset);
            ASSERT_TRUE(shop.world.run_until([&] { return cut != Instant{}; }, seconds(5)))
                << "the upstream was not told, seed " << seed;
            EXPECT_LT(cut - begun, milliseconds(130));
            EXPECT_EQ(shop.world.flags("test"), "DC");
            EXPECT_EQ(shop.world.details("test"), "downstream_remote_disconnect");
            shop.world.finish();
        }
    }
}

Task<void> ask_and_hang_up(World* world, int* answered) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(get_line);
    auto got = co_await peer.receive_until("hello");
    *answered += got.ends_with("hello") ? 1 : 0;
    peer.close();
}

// The end of the caller may be told in the same turn as the end of the last write to it.
TEST(CallerLeaves, with_its_answer_in_hand_and_the_upstream_connection_is_kept) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Shop shop({.seed = seed, .latency_max = std::chrono::microseconds(1)});
        App app(shop.world, "10.0.0.1:9090", always({response(200, "hello")}));
        constexpr int calls = 10;
        int answered = 0;
        for (int i = 0; i < calls; ++i) {
            shop.world.scope().spawn(&ask_and_hang_up, &shop.world, &answered);
            ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        }
        EXPECT_EQ(answered, calls);
        EXPECT_EQ(app.connections, 1u) << "seed " << seed;
        EXPECT_EQ(shop.world.flags("test"), "-") << "seed " << seed;
        shop.world.finish();
    }
}

TEST(CallerLeaves, during_a_fault_delay_a_back_off_and_connecting) {
    struct Wait {
        std::string route;
        bool endpoint;
    };
    for (const Wait& wait : {
             Wait{"    fault: {delay: {percentage: {value: 100}, fixedDelay: 600s}}\n", true},
             Wait{"    retries: {attempts: 5, retryOn: connect-failure, backoff: 600s}\n", false},
         }) {
        Shop shop;
        shop.route(wait.route);
        std::unique_ptr<App> app;
        if (wait.endpoint) {
            app = std::make_unique<App>(shop.world, "10.0.0.1:9090", always({}));
        }
        shop.world.scope().spawn(
            &ask_and_leave, &shop.world, get_line, Duration(milliseconds(100)), false);
        ASSERT_TRUE(
            shop.world.run_until([&] { return !shop.world.explain("test").empty(); }, seconds(5)))
            << wait.route;
        EXPECT_NE(shop.world.flags("test").find("DC"), std::string::npos) << wait.route;
        shop.world.finish();
    }
}

TEST(CallerLeaves, while_an_interim_answer_and_the_answer_arrive_together) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        Shop shop({.seed = seed, .pipe_bytes_min = 64, .pipe_bytes_max = 256});
        App app(shop.world,
                "10.0.0.1:9090",
                always({"HTTP/1.1 103 Early Hints\r\nlink: " + std::string(900, 'l') + "\r\n\r\n" +
                        response(200, std::string(2000, 'b'))}));
        shop.world.scope().spawn(&ask_and_leave,
                                 &shop.world,
                                 get_line,
                                 Duration(std::chrono::microseconds(seed * 150)),
                                 seed % 2 == 0);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        shop.world.finish();
    }
}

TEST(CallerLeaves, in_the_middle_of_its_upload) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        Shop shop({.seed = seed});
        shop.route("    retries: {attempts: 3, retryOn: 5xx}\n");
        App app(shop.world, "10.0.0.1:9090", always({}));
        shop.world.scope().spawn(
            &ask_and_leave,
            &shop.world,
            "POST / HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\ncontent-length: 90000\r\n\r\n" +
                std::string(40'000, 'p'),
            Duration(milliseconds(seed)),
            seed % 2 == 0);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        ASSERT_TRUE(
            shop.world.run_until([&] { return !shop.world.explain("test").empty(); }, seconds(5)));
        EXPECT_EQ(shop.world.flags("test"), "DC") << "seed " << seed;
        EXPECT_TRUE(app.requests.empty());
        shop.world.finish();
    }
}

// --- drain and shut down -------------------------------------------------------------------------

Task<void> two_requests(World* world, std::vector<Answer>* answers, bool* ended) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    for (int i = 0; i < 2; ++i) {
        co_await peer.send(get_line);
        answers->push_back(co_await read_message(&peer, Of::response));
        if (!answers->back().complete || answers->back().field("connection") == "close") {
            break;
        }
    }
    (void)co_await peer.receive_all();
    *ended = peer.ended();
}

TEST(Drain, a_request_in_flight_ends_with_connection_close_and_idle_ones_end) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
            return Reply{response(200, "x"), number == 0 ? Duration() : Duration(seconds(2))};
        });
        std::vector<Answer> idle;
        std::vector<Answer> busy;
        bool idle_ended = false;
        bool busy_ended = false;
        struct Idle {
            static Task<void> run(World* world, std::vector<Answer>* answers, bool* ended) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                co_await peer.send(get_line);
                answers->push_back(co_await read_message(&peer, Of::response));
                (void)co_await peer.receive_all();
                *ended = peer.ended();
            }
            static Task<void> silent(World* world, bool* ended) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                (void)co_await peer.receive_all();
                *ended = peer.ended();
            }
        };
        bool silent_ended = false;
        shop.world.scope().spawn(&Idle::run, &shop.world, &idle, &idle_ended);
        shop.world.run_for(milliseconds(100));
        shop.world.scope().spawn(&two_requests, &shop.world, &busy, &busy_ended);
        shop.world.scope().spawn(&Idle::silent, &shop.world, &silent_ended);
        shop.world.run_for(milliseconds(100));
        bool drained = false;
        shop.world.node(0).core->drain([&] { drained = true; });
        shop.world.run_for(milliseconds(100));
        EXPECT_TRUE(idle_ended) << "seed " << seed;
        EXPECT_TRUE(silent_ended) << "seed " << seed;
        EXPECT_FALSE(drained);
        ASSERT_TRUE(shop.world.run_until([&] { return drained; }, seconds(10)));
        ASSERT_EQ(busy.size(), 1u);
        EXPECT_TRUE(busy[0].complete);
        EXPECT_EQ(busy[0].field("connection"), "close");
        EXPECT_LT(shop.world.elapsed(), seconds(4));
        shop.world.finish();
    }
}

TEST(Drain, refuses_connections_that_come_later) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    bool drained = false;
    shop.world.node(0).core->drain([&] { drained = true; });
    ASSERT_TRUE(shop.world.run_until([&] { return drained; }, seconds(5)));
    EXPECT_EQ(shop.world.get().status, 0);
    shop.world.finish();
}

TEST(ShutDown, ends_everything_whatever_it_waits_for) {
    struct Wait {
        const char* what;
        std::string route;
        Reply reply;
        std::string request;
    };
    const std::string two = get_line + get_line;
    for (const Wait& wait : {
             Wait{"an answer", "", {"", minutes(100)}, get_line},
             Wait{"an answer, with the next request already here", "", {"", minutes(100)}, two},
             Wait{"a fault delay",
                  "    fault: {delay: {percentage: {value: 100}, fixedDelay: 600s}}\n",
                  {},
                  get_line},
             Wait{"a back-off",
                  "    retries: {attempts: 5, retryOn: 5xx, backoff: 600s}\n",
                  {response(503, "")},
                  get_line},
             Wait{"the rest of an upload",
                  "",
                  {},
                  "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 9\r\n\r\nab"},
             Wait{"the rest of a head", "", {}, "GET / HTTP/1.1\r\nho"},
             Wait{"the first byte", "", {}, ""},
         }) {
        Shop shop;
        if (!wait.route.empty()) {
            shop.route(wait.route);
        }
        App app(
            shop.world, "10.0.0.1:9090", [&](const Request&, std::size_t) { return wait.reply; });
        struct Script {
            static Task<void> run(World* world, std::string bytes) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                if (!bytes.empty()) {
                    co_await peer.send(std::move(bytes));
                }
                (void)co_await peer.receive_all();
            }
        };
        shop.world.scope().spawn(&Script::run, &shop.world, wait.request);
        shop.world.run_for(seconds(2));
        bool down = false;
        shop.world.node(0).core->shut_down([&] { down = true; });
        EXPECT_TRUE(shop.world.run_until([&] { return down; }, seconds(2))) << wait.what;
        shop.world.node(0).down = down;
        shop.world.finish();
    }
}

TEST(ShutDown, may_overtake_a_drain) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({response(200, ""), minutes(60)}));
        Answer answer;
        shop.world.scope().spawn(
            &ask_once, &shop.world, get_line, std::string("10.96.0.1:80"), &answer);
        shop.world.run_for(milliseconds(20));
        bool drained = false;
        bool down = false;
        shop.world.node(0).core->drain([&] { drained = true; });
        if (seed % 2 == 0) {
            shop.world.run_for(milliseconds(seed));
        }
        shop.world.node(0).core->shut_down([&] { down = true; });
        EXPECT_TRUE(shop.world.run_until([&] { return down && drained; }, seconds(2)));
        shop.world.node(0).down = down;
        shop.world.finish();
    }
}

// --- pods and snapshots come and go --------------------------------------------------------------

TEST(ClosePod, ends_its_connections_and_takes_no_new_ones) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({response(200, ""), minutes(60)}));
        std::vector<Answer> answers(5);
        for (auto& answer : answers) {
            shop.world.scope().spawn(
                &ask_once, &shop.world, get_line, std::string("10.96.0.1:80"), &answer);
        }
        shop.world.run_for(milliseconds(seed % 10));
        shop.world.node(0).core->close_pod("uid-client");
        ASSERT_EQ(shop.world.settle(seconds(10)), FakeEnd::done) << shop.world.network.describe();
        for (auto& answer : answers) {
            EXPECT_FALSE(answer.complete);
        }
        EXPECT_TRUE(shop.world.run_until(
            [&] { return shop.world.node(0).core->scope().live() == 0; }, seconds(5)));
        shop.world.finish();
    }
}

TEST(ClosePod, during_a_drain_hurts_nobody) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({response(200, ""), seconds(1)}));
    Answer answer;
    shop.world.scope().spawn(
        &ask_once, &shop.world, get_line, std::string("10.96.0.1:80"), &answer);
    shop.world.run_for(milliseconds(20));
    bool drained = false;
    shop.world.node(0).core->drain([&] { drained = true; });
    shop.world.node(0).core->close_pod("uid-client");
    EXPECT_TRUE(shop.world.run_until([&] { return drained; }, seconds(5)));
    shop.world.finish();
}

TEST(Snapshot, a_request_in_flight_keeps_the_one_it_began_with) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        shop.route("    retries: {attempts: 3, retryOn: 5xx}\n");
        shop.world.pod("shop-2", "10.0.0.2", "shop");
        shop.world.pod("shop-3", "10.0.0.3", "shop");
        Reply bad{response(503, ""), milliseconds(50)};
        App one(shop.world, "10.0.0.1:9090", always(bad));
        App two(shop.world, "10.0.0.2:9090", always(bad));
        App three(shop.world, "10.0.0.3:9090", always(bad));
        App four(shop.world, "10.0.0.4:9090", always({response(200, "new")}));
        Answer answer;
        shop.world.scope().spawn(
            &ask_once, &shop.world, get_line, std::string("10.96.0.1:80"), &answer);
        shop.world.run_for(milliseconds(20));  // the first try is on its way
        shop.world.withdraw("pod-shop-1");
        shop.world.withdraw("pod-shop-2");
        shop.world.withdraw("pod-shop-3");
        shop.world.pod("shop-4", "10.0.0.4", "shop");
        EXPECT_EQ(shop.world.ask("GET /second HTTP/1.1\r\nhost: shop\r\n\r\n").body, "new");
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        EXPECT_EQ(answer.status, 503) << "seed " << seed;
        EXPECT_EQ(one.requests.size() + two.requests.size() + three.requests.size(), 4u);
        shop.world.finish();
    }
}

TEST(Snapshot, the_destination_may_vanish_and_come_back_under_a_request) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({response(200, "whole"), milliseconds(100)}));
        Answer answer;
        shop.world.scope().spawn(
            &ask_once, &shop.world, get_line, std::string("10.96.0.1:80"), &answer);
        shop.world.run_for(milliseconds(20));
        shop.world.withdraw("service-shop");
        shop.world.run_for(milliseconds(20));
        shop.world.service("shop", 1);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        EXPECT_EQ(answer.body, "whole") << "seed " << seed;
        EXPECT_EQ(shop.world.get().body, "whole");
        shop.world.finish();
    }
}

TEST(Snapshot, pools_of_endpoints_that_stay_survive_a_new_generation) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    shop.world.get();
    shop.world.pod("shop-0", "10.0.0.77", "shop");
    shop.world.withdraw("pod-shop-0");
    shop.world.get();
    EXPECT_EQ(app.connections, 1u);
    shop.world.withdraw("pod-shop-1");
    shop.world.run_for(milliseconds(10));
    EXPECT_EQ(shop.world.metrics.core(0).value(telemetry::CoreGauge::upstream_idle), 0);
    shop.world.finish();
}

}  // namespace
}  // namespace orlop::sim
