// Timeouts, retries and local answers in virtual time: status, body, flags and details as
// Envoy's, waits as the API says.
#include "tests/sim/world.h"

#include <fmt/core.h>

namespace orlop::sim {
namespace {

// A VirtualService for `shop` with the given http[0] lines.
void route(World& world, const std::string& lines) {
    world.apply("vs",
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n  http:\n"
                "  - route: [{destination: {host: shop}}]\n" +
                    lines);
}

App::AnswerFor always(Reply reply) {
    return [reply](const Request&, std::size_t) { return reply; };
}

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    World world;
};

// --- answers of ours -----------------------------------------------------------------------------

TEST(LocalAnswer, no_endpoint_is_503_no_healthy_upstream) {
    World world;
    Answer answer = world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "no healthy upstream");
    EXPECT_EQ(world.flags("test"), "UH");
    EXPECT_EQ(world.details("test"), "no_healthy_upstream");
    world.finish();
}

TEST(LocalAnswer, an_unknown_destination_is_503_cluster_not_found) {
    World world;
    world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http: [{route: [{destination: {host: nowhere}}]}]
)");
    Answer answer = world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "");
    EXPECT_EQ(world.flags("test"), "NC");
    EXPECT_EQ(world.details("test"), "cluster_not_found");
    world.finish();
}

TEST(LocalAnswer, a_refused_connection_is_503_UF) {
    Shop shop;
    route(shop.world, "    retries: {attempts: 0}\n");
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_TRUE(answer.body.starts_with("upstream connect error or disconnect/reset before "
                                        "headers. reset reason: remote connection failure"))
        << answer.body;
    EXPECT_EQ(shop.world.flags("test"), "UF");
    EXPECT_EQ(shop.world.details("test"),
              "upstream_reset_before_response_started{remote_connection_failure}");
    shop.world.finish();
}

TEST(LocalAnswer, the_connection_stays_usable_after_one) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    shop.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {exact: /gone}}]
    directResponse: {status: 410, body: {string: bye}}
  - match: [{uri: {exact: /here}}]
    route: [{destination: {host: shop}}]
)");
    struct Script {
        static Task<void> run(World* world, std::vector<Answer>* answers) {
            ScriptedPeer peer(world->loop, world->network.socket());
            co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
            for (const char* path : {"/gone", "/nothing", "/here"}) {
                co_await peer.send("POST " + std::string(path) +
                                   " HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc");
                answers->push_back(co_await read_message(&peer, Of::response));
            }
        }
    };
    std::vector<Answer> answers;
    shop.world.scope().spawn(&Script::run, &shop.world, &answers);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    ASSERT_EQ(answers.size(), 3u);
    EXPECT_EQ(answers[0].status, 410);
    EXPECT_EQ(answers[0].body, "bye");
    EXPECT_EQ(answers[1].status, 404);
    EXPECT_EQ(answers[2].status, 200);
    shop.world.finish();
}

// --- timeouts ------------------------------------------------------------------------------------

TEST(Timeout, a_slow_upstream_is_504_at_the_routes_timeout) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        route(shop.world, "    timeout: 0.5s\n");
        App app(shop.world, "10.0.0.1:9090", always({response(200, "late"), seconds(5)}));
        Answer answer = shop.world.get();
        EXPECT_EQ(answer.status, 504);
        EXPECT_EQ(answer.body, "upstream request timeout");
        EXPECT_EQ(shop.world.flags("test"), "UT");
        EXPECT_EQ(shop.world.details("test"), "response_timeout");
        EXPECT_GE(shop.world.elapsed(), milliseconds(500));
        EXPECT_LT(shop.world.elapsed(), milliseconds(530));
        shop.world.finish();
    }
}

TEST(Timeout, begins_when_the_request_has_been_read_whole) {
    Shop shop;
    route(shop.world, "    timeout: 0.5s\n");
    App app(shop.world, "10.0.0.1:9090", always({response(200, "x"), milliseconds(300)}));
    struct Script {
        static Task<void> run(World* world, Answer* answer) {
            ScriptedPeer peer(world->loop, world->network.socket());
            co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
            co_await peer.send("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 6\r\n\r\nabc");
            co_await Sleep(world->loop, seconds(3));
            co_await peer.send("def");
            *answer = co_await read_message(&peer, Of::response);
        }
    };
    Answer answer;
    shop.world.scope().spawn(&Script::run, &shop.world, &answer);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(answer.status, 200);
    shop.world.finish();
}

TEST(Timeout, cuts_an_answer_that_has_begun) {
    Shop shop;
    route(shop.world, "    timeout: 0.5s\n");
    struct Slow {
        static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
            (void)co_await read_message(peer, Of::request);
            co_await peer->send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
            (void)co_await peer->receive_all();
        }
    };
    App app(shop.world, "10.0.0.1:9090", &Slow::serve);
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.complete);
    EXPECT_EQ(shop.world.flags("test"), "UT");
    EXPECT_LT(shop.world.elapsed(), milliseconds(530));
    shop.world.finish();
}

TEST(Timeout, none_by_default_however_long_it_takes) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({response(200, "patience"), minutes(5)}));
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.body, "patience");
    shop.world.finish();
}

TEST(Timeout, a_per_try_timeout_cuts_each_try_and_the_next_one_may_answer) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        route(shop.world, "    retries: {attempts: 2, perTryTimeout: 0.2s, retryOn: 5xx}\n");
        App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
            return Reply{response(200, "x"), number < 2 ? Duration(seconds(10)) : Duration()};
        });
        Answer answer = shop.world.get();
        EXPECT_EQ(answer.status, 200) << "seed " << seed;
        EXPECT_EQ(app.requests.size(), 3u);
        EXPECT_EQ(app.requests.back().field("x-envoy-attempt-count"), "3");
        EXPECT_GE(shop.world.elapsed(), milliseconds(400));
        EXPECT_LT(shop.world.elapsed(), milliseconds(700));
        shop.world.finish();
    }
}

TEST(Timeout, when_every_try_is_late_the_answer_is_504_with_both_flags) {
    Shop shop;
    route(shop.world, "    retries: {attempts: 1, perTryTimeout: 0.2s, retryOn: 5xx}\n");
    App app(shop.world, "10.0.0.1:9090", always({response(200, "x"), seconds(10)}));
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 504);
    EXPECT_EQ(answer.body, "upstream request timeout");
    EXPECT_EQ(shop.world.flags("test"), "UT,URX");
    EXPECT_EQ(shop.world.details("test"), "upstream_per_try_timeout");
    shop.world.finish();
}

TEST(Timeout, a_late_upload_does_not_leave_a_timer_for_the_next_request) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        route(shop.world, "    retries: {attempts: 1, perTryTimeout: 0.2s, retryOn: 5xx}\n");
        struct Early {  // answers by the head, reads the body later, ends the answer last
            static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t connection) {
                std::string head = co_await peer->receive_until("\r\n\r\n");
                if (head.starts_with("POST /early")) {
                    co_await peer->send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
                    (void)co_await peer->receive_exactly(100'000);
                    co_await Sleep(app->world().loop, milliseconds(400));
                    co_await peer->send("67890");
                    head = co_await peer->receive_until("\r\n\r\n");
                }
                if (!head.empty()) {
                    co_await Sleep(app->world().loop, milliseconds(100));
                    co_await peer->send(response(200, "second"));
                }
                (void)co_await peer->receive_all();
            }
            static Task<void> ask(World* world, std::vector<Answer>* answers) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                co_await peer.send("POST /early HTTP/1.1\r\nhost: shop\r\n"
                                   "content-length: 100000\r\n\r\n" +
                                   std::string(100'000, 'u'));
                answers->push_back(co_await read_message(&peer, Of::response));
                ScriptedPeer other(world->loop, world->network.socket());
                co_await other.connect(*SocketAddress::parse("10.96.0.1:80"));
                co_await other.send("GET /second HTTP/1.1\r\nhost: shop\r\n\r\n");
                answers->push_back(co_await read_message(&other, Of::response));
            }
        };
        App app(shop.world, "10.0.0.1:9090", &Early::serve);
        std::vector<Answer> answers;
        shop.world.scope().spawn(&Early::ask, &shop.world, &answers);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        ASSERT_EQ(answers.size(), 2u);
        EXPECT_EQ(answers[0].body, "1234567890") << "seed " << seed;
        EXPECT_TRUE(answers[0].complete);
        EXPECT_EQ(answers[1].body, "second") << "seed " << seed;
        shop.world.finish();
    }
}

// --- retries: what makes one ---------------------------------------------------------------------

struct Condition {
    std::string on;
    Reply first;
    bool retried;
    std::string flags = "-";  // when not retried
};

TEST(Retry, every_condition_fires_on_its_failure_and_on_no_other) {
    using Then = Reply::Then;
    const Reply silent_close{"", {}, Then::close};
    const Reply silent_reset{"", {}, Then::reset};
    const Reply garbage{"nonsense\r\n\r\n"};
    auto status = [](int code) { return Reply{response(code, "bad")}; };
    auto grpc = [](int code) {
        return Reply{response(200, "", "grpc-status: " + std::to_string(code) + "\r\n")};
    };
    for (const Condition& one : {
             Condition{"5xx", status(500), true},
             {"5xx", status(404), false},
             {"5xx", silent_close, true},
             {"5xx", silent_reset, true},
             {"5xx", garbage, true},
             {"gateway-error", status(502), true},
             {"gateway-error", status(503), true},
             {"gateway-error", status(504), true},
             {"gateway-error", status(500), false},
             {"gateway-error", silent_reset, true},
             {"reset", silent_reset, true},
             {"reset", silent_close, true},
             {"reset", status(503), false},
             {"connect-failure", silent_reset, false, "UR"},
             {"connect-failure", status(503), false},
             {"refused-stream", status(503), false},
             {"retriable-4xx", status(409), true},
             {"retriable-4xx", status(404), false},
             {"418", status(418), true},
             {"418", status(503), false},
             {"cancelled", grpc(1), true},
             {"deadline-exceeded", grpc(4), true},
             {"resource-exhausted", grpc(8), true},
             {"internal", grpc(13), true},
             {"unavailable", grpc(14), true},
             {"unavailable", grpc(13), false},
             {"5xx", Reply{response(503, "", "x-envoy-ratelimited: true\r\n")}, false},
             {"envoy-ratelimited", Reply{response(429, "", "x-envoy-ratelimited: true\r\n")}, true},
         }) {
        Shop shop;
        route(shop.world, "    retries: {attempts: 2, retryOn: \"" + one.on + "\"}\n");
        App app(shop.world, "10.0.0.1:9090", [&](const Request&, std::size_t number) {
            return number == 0 ? one.first : Reply{response(200, "healed")};
        });
        Answer answer = shop.world.get();
        std::string what = one.on + " on " + one.first.bytes;
        EXPECT_EQ(app.requests.size(), one.retried ? 2u : 1u) << what;
        if (one.retried) {
            EXPECT_EQ(answer.body, "healed") << what;
        }
        EXPECT_EQ(shop.world.flags("test"), one.flags) << what;
        shop.world.finish();
    }
}

TEST(Retry, a_refused_connection_goes_to_another_endpoint) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        shop.world.pod("shop-2", "10.0.0.2", "shop");
        App app(shop.world, "10.0.0.2:9090", always({}));
        // No VirtualService: the mesh's default policy heals a connect failure.
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(shop.world.get().status, 200) << "seed " << seed;
        }
        shop.world.finish();
    }
}

TEST(Retry, avoids_the_host_that_failed_while_there_are_others) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        route(shop.world, "    retries: {attempts: 2, retryOn: 5xx}\n");
        shop.world.pod("shop-2", "10.0.0.2", "shop");
        shop.world.pod("shop-3", "10.0.0.3", "shop");
        App bad(shop.world, "10.0.0.1:9090", always({response(503, "")}));
        App worse(shop.world, "10.0.0.2:9090", always({response(503, "")}));
        App good(shop.world, "10.0.0.3:9090", always({}));
        unsigned healed = 0;
        for (int i = 0; i < 10; ++i) {
            healed += shop.world.get().status == 200;
        }
        // Five picks may all meet tried hosts: rare, not never.
        EXPECT_GE(healed, 9u) << "seed " << seed;
        shop.world.finish();
    }
}

TEST(Retry, gives_the_last_answer_when_all_attempts_are_used) {
    Shop shop({.short_read = 0});
    route(shop.world, "    retries: {attempts: 3, retryOn: 5xx}\n");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
        return Reply{response(503, "try " + std::to_string(number))};
    });
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "try 3");
    EXPECT_EQ(app.requests.size(), 4u) << "attempts are retries, not tries";
    EXPECT_EQ(app.connections, 1u) << "an answer read whole keeps its connection";
    EXPECT_EQ(shop.world.flags("test"), "URX");
    EXPECT_EQ(shop.world.details("test"), "via_upstream");
    shop.world.finish();
}

TEST(Retry, backs_off_within_the_jittered_bounds) {
    Duration longest{};
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        Shop shop(
            {.seed = seed, .latency_max = Duration(1000), .completion_delay_max = Duration(10)});
        route(shop.world, "    retries: {attempts: 4, retryOn: 5xx}\n");
        App app(shop.world, "10.0.0.1:9090", always({response(503, "")}));
        shop.world.get();
        EXPECT_EQ(app.requests.size(), 5u);
        longest = std::max(longest, shop.world.elapsed());
        EXPECT_LT(shop.world.elapsed(), milliseconds(25 + 50 + 100 + 200 + 20)) << "seed " << seed;
        shop.world.finish();
    }
    EXPECT_GT(longest, milliseconds(100)) << "no back-off at all";
}

TEST(Retry, the_routes_timeout_bounds_all_tries_and_back_offs) {
    Shop shop;
    route(shop.world,
          "    timeout: 1s\n    retries: {attempts: 9, perTryTimeout: 0.3s, retryOn: 5xx}\n");
    App app(shop.world, "10.0.0.1:9090", always({response(200, ""), seconds(30)}));
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 504);
    EXPECT_EQ(shop.world.details("test"), "response_timeout");
    EXPECT_GE(shop.world.elapsed(), seconds(1));
    EXPECT_LT(shop.world.elapsed(), milliseconds(1030));
    shop.world.finish();
}

// --- bodies of retried requests ------------------------------------------------------------------

TEST(Retry, sends_a_streamed_body_again_up_to_the_limit) {
    for (bool chunks : {false, true}) {
        for (std::uint64_t seed = 1; seed <= 10; ++seed) {
            Shop shop({.seed = seed});
            route(shop.world, "    retries: {attempts: 3, retryOn: 5xx}\n");
            App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t number) {
                return number < 2 ? Reply{"", {}, Reply::Then::reset}
                                  : Reply{response(200, request.body)};
            });
            std::string body(300'000, 'r');
            body[123'456] = 'X';
            Answer answer = shop.world.ask(
                chunks ? fmt::format("POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked"
                                     "\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                                     body.size(),
                                     body)
                       : "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 300000\r\n\r\n" + body);
            EXPECT_EQ(answer.status, 200) << "seed " << seed;
            EXPECT_TRUE(answer.body == body) << "seed " << seed;
            EXPECT_EQ(app.requests.size(), 3u);
            shop.world.finish();
        }
    }
}

TEST(Retry, abandons_retries_of_a_body_beyond_the_limit) {
    Shop shop({.pipe_bytes_min = 65'536, .pipe_bytes_max = 65'536});
    route(shop.world, "    retries: {attempts: 3, retryOn: 5xx}\n");
    App app(shop.world, "10.0.0.1:9090", always({response(503, "no")}));
    std::string body(1'200'000, 'b');
    Answer answer = shop.world.ask(
        "POST / HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\ncontent-length: 1200000\r\n\r\n" +
        body);
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "no");
    EXPECT_EQ(app.requests.size(), 1u);
    EXPECT_EQ(shop.world.flags("test"), "-");
    shop.world.finish();
}

// --- warm connections ----------------------------------------------------------------------------

TEST(Pool, a_connection_the_peer_closed_while_idle_is_not_used) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({response(200, "x"), {}, Reply::Then::close}));
        for (int i = 0; i < 5; ++i) {
            EXPECT_EQ(shop.world.get().status, 200) << "seed " << seed;
            shop.world.run_for(milliseconds(10));
        }
        EXPECT_EQ(app.connections, 5u);
        shop.world.finish();
    }
}

TEST(Pool, a_stale_connection_is_replaced_without_anybody_noticing) {
    // The application reads the second request and closes without a word: a keep-alive race.
    struct Race {
        static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t connection) {
            Request first = co_await read_message(peer, Of::request);
            if (first.complete) {
                app->requests.push_back(first);
                co_await peer->send(response(200, "fresh"));
                (void)co_await peer->receive_until("\r\n\r\n");
            }
        }
    };
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        route(shop.world, "    retries: {attempts: 0}\n");
        App app(shop.world, "10.0.0.1:9090", &Race::serve);
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(shop.world.get().status, 200) << "seed " << seed << " request " << i;
        }
        shop.world.finish();
    }
}

TEST(Pool, a_post_on_a_stale_connection_is_not_repeated_behind_the_callers_back) {
    struct Race {
        static Task<void> serve(App* app, ScriptedPeer* peer, std::size_t) {
            for (int i = 0; i < 2; ++i) {
                Request request = co_await read_message(peer, Of::request);
                if (!request.complete) {
                    co_return;
                }
                app->requests.push_back(request);
                if (i == 0) {
                    co_await peer->send(response(200, "paid"));
                }
            }
        }
    };
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", &Race::serve);
    const std::string pay = "POST /pay HTTP/1.1\r\nhost: shop\r\ncontent-length: 2\r\n\r\n10";
    EXPECT_EQ(shop.world.ask(pay).status, 200);
    EXPECT_EQ(shop.world.ask(pay).status, 503);
    EXPECT_EQ(app.requests.size(), 2u);
    shop.world.finish();
}

TEST(Pool, least_request_prefers_the_idle_endpoint) {
    Shop shop;
    shop.world.pod("shop-2", "10.0.0.2", "shop");
    App slow(shop.world, "10.0.0.1:9090", always({response(200, "slow"), seconds(20)}));
    App fast(shop.world, "10.0.0.2:9090", always({response(200, "fast"), milliseconds(1)}));
    std::vector<Answer> answers(60);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        shop.world.scope().spawn(&ask_once,
                                 &shop.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answers[i]);
        shop.world.run_for(milliseconds(20));
    }
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    // Two random picks may both be the slow one: a quarter of the requests.
    EXPECT_GE(fast.requests.size(), 36u);
    shop.world.finish();
}

}  // namespace
}  // namespace orlop::sim
