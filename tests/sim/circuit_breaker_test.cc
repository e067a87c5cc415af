// connectionPool in virtual time: istio-semantics §5, the table included.
#include "tests/sim/world.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::sim {
namespace {

using telemetry::ClusterCounter;
using telemetry::ClusterGauge;

constexpr const char* cluster = "outbound|80||shop.default.svc.cluster.local";

void limit(World& world, const std::string& pool) {
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: shop, namespace: default}\nspec:\n  host: shop\n"
                "  trafficPolicy: {connectionPool: " +
                    pool + "}\n");
}

void retry_never(World& world) {
    world.apply("vs",
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n  http:\n"
                "  - route: [{destination: {host: shop}}]\n    retries: {attempts: 0}\n");
}

App::AnswerFor after(Duration delay) {
    return [delay](const Request&, std::size_t) {
        return Reply{response(200, "ok"), delay, Reply::Then::keep};
    };
}

std::string get(const std::string& id) {
    return "GET / HTTP/1.1\r\nhost: shop\r\nx-request-id: " + id + "\r\n\r\n";
}

// `count` requests at once, each on its own connection; their answers in the order of asking.
std::vector<Answer> ask_together(World& world, int count) {
    std::vector<Answer> answers(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        world.scope().spawn(&ask_once,
                            &world,
                            get(fmt::format("r{}", i)),
                            std::string("10.96.0.1:80"),
                            &answers[static_cast<std::size_t>(i)]);
    }
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    return answers;
}

int with_status(const std::vector<Answer>& answers, int status) {
    return static_cast<int>(std::ranges::count(answers, status, &Answer::status));
}

std::uint64_t counter(World& world, ClusterCounter which) {
    return world.metrics.core(0).cluster(cluster)->value(which);
}

std::int64_t gauge(World& world, ClusterGauge which) {
    return world.metrics.core(0).cluster(cluster)->value(which);
}

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    World world;
};

TEST(CircuitBreaker, an_overflow_answers_as_envoy_does) {
    Shop shop;
    limit(shop.world, "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}");
    App app(shop.world, "10.0.0.1:9090", after(seconds(1)));
    const auto answers = ask_together(shop.world, 2);  // cold: the first holds the pending slot
    ASSERT_EQ(with_status(answers, 503), 1);
    const std::size_t lost = answers[0].status == 503 ? 0 : 1;
    const Answer& answer = answers[lost];
    const std::string id = fmt::format("r{}", lost);
    EXPECT_EQ(answer.body,
              "upstream connect error or disconnect/reset before headers. reset reason: overflow");
    EXPECT_EQ(answer.field("x-envoy-overloaded"), "true");
    EXPECT_EQ(shop.world.flags(id), "UO");
    EXPECT_EQ(shop.world.details(id), "upstream_reset_before_response_started{overflow}");
    EXPECT_NE(shop.world.explain(id).find("http1MaxPendingRequests"), std::string::npos);
    EXPECT_EQ(counter(shop.world, ClusterCounter::rq_pending_overflow), 1u);
    EXPECT_EQ(counter(shop.world, ClusterCounter::rq_retry), 0u) << "an overflow is never retried";
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_pending_active), 0);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_active), 0);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_pending_open), 0);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_open), 1) << "its one connection stays idle";
    shop.world.finish();
}

// The table of §5: one connection, one pending request, warm.
TEST(CircuitBreaker, a_warm_pool_admits_one_and_queues_one) {
    for (const int count : {2, 3, 8, 20}) {
        Shop shop;
        limit(shop.world, "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}");
        App app(shop.world, "10.0.0.1:9090", after(seconds(1)));
        ASSERT_EQ(ask_together(shop.world, 1)[0].status, 200);
        const auto answers = ask_together(shop.world, count);
        EXPECT_EQ(with_status(answers, 200), 2) << count;
        EXPECT_EQ(with_status(answers, 503), count - 2) << count;
        EXPECT_EQ(app.connections, 1u);
        EXPECT_EQ(counter(shop.world, ClusterCounter::rq_pending_overflow),
                  static_cast<std::uint64_t>(count - 2));
        shop.world.finish();
    }
}

TEST(CircuitBreaker, the_queue_is_first_come_first_served) {
    Shop shop;
    limit(shop.world, "{tcp: {maxConnections: 1}}");
    App app(shop.world, "10.0.0.1:9090", after(milliseconds(100)));
    std::vector<Answer> answers(6);
    struct Script {
        static Task<void> run(World* world, int number, Answer* answer) {
            co_await Sleep(world->loop, milliseconds(5 * number));
            co_await ask_once(world, get(fmt::format("r{}", number)), "10.96.0.1:80", answer);
        }
    };
    for (int i = 0; i < 6; ++i) {
        shop.world.scope().spawn(&Script::run, &shop.world, i, &answers[static_cast<size_t>(i)]);
    }
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(with_status(answers, 200), 6);
    ASSERT_EQ(app.requests.size(), 6u);
    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(app.requests[i].field("x-request-id"), fmt::format("r{}", i));
    }
    EXPECT_EQ(app.connections, 1u);
    shop.world.finish();
}

// 003-12: two callers in a loop, one request at a time: the other one overflows.
TEST(CircuitBreaker, http2_max_requests_binds_http1_too) {
    Shop shop;
    limit(shop.world,
          "{tcp: {maxConnections: 2}, http: {http2MaxRequests: 1, maxRequestsPerConnection: 1}}");
    App app(shop.world, "10.0.0.1:9090", after(milliseconds(50)));
    const auto answers = ask_together(shop.world, 4);
    EXPECT_EQ(with_status(answers, 200), 1);
    EXPECT_EQ(with_status(answers, 503), 3);
    EXPECT_EQ(counter(shop.world, ClusterCounter::rq_pending_overflow), 3u);
    shop.world.finish();
}

TEST(CircuitBreaker, one_request_per_connection_when_asked) {
    Shop shop;
    limit(shop.world, "{http: {maxRequestsPerConnection: 1}}");
    App app(shop.world, "10.0.0.1:9090", after({}));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(shop.world.get().status, 200);
    }
    EXPECT_EQ(app.connections, 3u);
    EXPECT_EQ(counter(shop.world, ClusterCounter::cx_max_requests), 3u);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_active), 0);
    shop.world.finish();
}

TEST(CircuitBreaker, a_failed_connection_fails_every_waiting_request) {
    Shop shop;
    retry_never(shop.world);
    limit(shop.world, "{tcp: {maxConnections: 1}}");
    const auto answers = ask_together(shop.world, 5);  // nobody listens
    EXPECT_EQ(with_status(answers, 503), 5);
    EXPECT_EQ(shop.world.flags("r4"), "UF");
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_pending_active), 0);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_active), 0);
    shop.world.finish();
}

TEST(CircuitBreaker, a_caller_that_leaves_the_queue_makes_room) {
    Shop shop;
    limit(shop.world, "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}");
    App app(shop.world, "10.0.0.1:9090", after(seconds(1)));
    struct Script {
        static Task<void> leave(World* world) {
            co_await Sleep(world->loop, milliseconds(100));
            ScriptedPeer peer(world->loop,
                              world->network.socket({*IpAddress::parse("10.0.9.1"), 4001}));
            co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
            co_await peer.send(get("left"));
            co_await Sleep(world->loop, milliseconds(100));
        }
        static Task<void> come(World* world, Answer* answer) {
            co_await Sleep(world->loop, milliseconds(400));
            co_await ask_once(world, get("came"), "10.96.0.1:80", answer);
        }
    };
    ASSERT_EQ(ask_together(shop.world, 1)[0].status, 200);
    Answer first;
    Answer second;
    shop.world.scope().spawn(
        &ask_once, &shop.world, get("first"), std::string("10.96.0.1:80"), &first);
    shop.world.scope().spawn(&Script::leave, &shop.world);
    shop.world.scope().spawn(&Script::come, &shop.world, &second);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(second.status, 200);
    EXPECT_EQ(shop.world.flags("left"), "DC");
    EXPECT_EQ(app.requests.size(), 3u);
    shop.world.finish();
}

TEST(CircuitBreaker, a_timeout_ends_the_wait) {
    Shop shop;
    shop.world.apply("vs",
                     "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                     "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n"
                     "  http:\n  - route: [{destination: {host: shop}}]\n    timeout: 0.5s\n");
    limit(shop.world, "{tcp: {maxConnections: 1}}");
    App app(shop.world, "10.0.0.1:9090", after(milliseconds(400)));
    const auto answers = ask_together(shop.world, 3);
    EXPECT_EQ(with_status(answers, 200), 1);
    EXPECT_EQ(with_status(answers, 504), 2);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_pending_active), 0);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_active), 0);
    shop.world.finish();
}

TEST(CircuitBreaker, every_endpoint_gets_a_connection_whatever_the_limit) {
    Shop shop;
    shop.world.pod("shop-2", "10.0.0.2", "shop");
    limit(shop.world, "{tcp: {maxConnections: 1}}");
    App one(shop.world, "10.0.0.1:9090", after(milliseconds(10)));
    App two(shop.world, "10.0.0.2:9090", after(milliseconds(10)));
    const auto answers = ask_together(shop.world, 12);
    EXPECT_EQ(with_status(answers, 200), 12);
    EXPECT_EQ(one.connections, 1u);
    EXPECT_EQ(two.connections, 1u);
    shop.world.finish();
}

TEST(CircuitBreaker, idle_connections_end_when_the_policy_says) {
    Shop shop;
    limit(shop.world, "{http: {idleTimeout: 5s}}");
    App app(shop.world, "10.0.0.1:9090", after({}));
    EXPECT_EQ(shop.world.get().status, 200);
    shop.world.run_for(seconds(4));
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_active), 1);
    shop.world.run_for(seconds(2));
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_active), 0);
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(app.connections, 2u);
    shop.world.finish();
}

TEST(CircuitBreaker, an_old_connection_is_not_used_again) {
    Shop shop;
    limit(shop.world, "{tcp: {maxConnectionDuration: 3s}}");
    App app(shop.world, "10.0.0.1:9090", after(seconds(2)));
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(shop.world.get().status, 200);  // begins at 2 s, ends at 4 s: closed then
    EXPECT_EQ(gauge(shop.world, ClusterGauge::cx_active), 0);
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(app.connections, 2u);
    shop.world.finish();
}

TEST(CircuitBreaker, tcp_keepalive_is_asked_of_the_socket) {
    Shop shop;
    limit(shop.world, "{tcp: {tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}}}");
    App app(shop.world, "10.0.0.1:9090", after({}));
    EXPECT_EQ(shop.world.get().status, 200);
    ASSERT_TRUE(shop.world.sockets.last_keepalive.has_value());
    EXPECT_EQ(shop.world.sockets.last_keepalive->probes, 3u);
    EXPECT_EQ(shop.world.sockets.last_keepalive->time, seconds(7200));
    EXPECT_EQ(shop.world.sockets.last_keepalive->interval, seconds(75));
    shop.world.finish();
}

TEST(CircuitBreaker, connect_timeout_is_of_the_policy) {
    Shop shop({.backlog_max = 1});
    retry_never(shop.world);
    limit(shop.world, "{tcp: {connectTimeout: 30ms}}");
    // A listener that never accepts, its backlog full.
    const int listener = shop.world.network.listen(*SocketAddress::parse("10.0.0.1:9090"));
    struct Script {
        static Task<void> fill(World* world, ScriptedPeer* peer) {
            co_await peer->connect(*SocketAddress::parse("10.0.0.1:9090"));
        }
    };
    std::optional<ScriptedPeer> peer;
    peer.emplace(shop.world.loop, shop.world.network.socket());
    shop.world.scope().spawn(&Script::fill, &shop.world, &*peer);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    const Duration before = shop.world.elapsed();
    EXPECT_EQ(shop.world.get().status, 503);
    EXPECT_EQ(shop.world.flags("test"), "UF");
    EXPECT_GE(shop.world.elapsed() - before, milliseconds(30));
    EXPECT_LT(shop.world.elapsed() - before, milliseconds(100));
    EXPECT_EQ(counter(shop.world, ClusterCounter::cx_connect_timeout), 1u);
    peer.reset();
    shop.world.network.close(listener);
    shop.world.finish();
}

TEST(CircuitBreaker, the_limit_of_another_caller_is_its_own) {
    // Counts are per source workload: what one subset or caller uses, another does not miss.
    Shop shop;
    shop.world.apply("dr", R"(
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec:
  host: shop
  subsets:
  - name: a
    labels: {app: shop}
    trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
  - name: b
    labels: {app: shop}
    trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
)");
    shop.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: shop, subset: a}}]
  - route: [{destination: {host: shop, subset: b}}]
)");
    App app(shop.world, "10.0.0.1:9090", after(seconds(1)));
    std::vector<Answer> answers(4);
    for (std::size_t i = 0; i < 4; ++i) {
        shop.world.scope().spawn(
            &ask_once,
            &shop.world,
            fmt::format("GET {} HTTP/1.1\r\nhost: shop\r\n\r\n", i % 2 == 0 ? "/a" : "/b"),
            std::string("10.96.0.1:80"),
            &answers[i]);
    }
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(with_status(answers, 200), 2);
    EXPECT_EQ(with_status(answers, 503), 2);
    shop.world.finish();
}

TEST(CircuitBreaker, a_gauge_says_that_no_further_retry_is_allowed) {
    Shop shop;
    limit(shop.world, "{http: {maxRetries: 1}}");
    shop.world.apply("vs",
                     "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                     "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n  http:\n"
                     "  - route: [{destination: {host: shop}}]\n"
                     "    retries: {attempts: 1, retryOn: 5xx}\n");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
        return number == 0 ? Reply{response(500, "")} : Reply{response(200, ""), seconds(1)};
    });
    Answer answer;
    shop.world.scope().spawn(
        &ask_once, &shop.world, get("r0"), std::string("10.96.0.1:80"), &answer);
    ASSERT_TRUE(shop.world.run_until([&] { return app.requests.size() == 2; }));
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_retry_open), 1) << "its one retry is at work";
    ASSERT_EQ(shop.world.settle(), FakeEnd::done);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(gauge(shop.world, ClusterGauge::rq_retry_open), 0);
    shop.world.finish();
}

// --- bytes ---------------------------------------------------------------------------------------

Task<void> hold(World* world, bool* served, Duration how_long) {
    ScriptedPeer peer(world->loop, world->network.socket({*IpAddress::parse("10.0.9.1"), 4002}));
    co_await peer.connect(*SocketAddress::parse("10.96.0.5:80"));
    co_await peer.send("hello");
    *served = co_await peer.receive_exactly(5) == "hello";
    co_await Sleep(world->loop, how_long);
}

Task<void> echo(App*, ScriptedPeer* peer, std::size_t) {
    while (true) {
        std::string bytes = co_await peer->receive_exactly(5);
        if (bytes.size() < 5) {
            co_return;
        }
        co_await peer->send(bytes);
    }
}

TEST(CircuitBreaker, a_tcp_connection_above_the_limit_is_closed_at_once) {
    World world;
    world.service("store", 5, "tcp");
    world.pod("store-1", "10.0.0.5", "store");
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: store, namespace: default}\nspec:\n  host: store\n"
                "  trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}\n");
    App app(world, "10.0.0.5:9090", &echo);
    bool served[3] = {};
    for (bool& one : served) {
        world.scope().spawn(&hold, &world, &one, seconds(2));
    }
    ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    EXPECT_EQ(std::ranges::count(served, true), 2);
    auto* series = world.metrics.core(0).cluster("outbound|80||store.default.svc.cluster.local");
    EXPECT_EQ(series->value(ClusterCounter::cx_overflow), 1u);
    world.run_for(seconds(1));
    EXPECT_EQ(series->value(ClusterGauge::cx_active), 0);
    world.finish();
}

TEST(CircuitBreaker, a_silent_tcp_connection_ends_after_its_idle_timeout) {
    World world;
    world.service("store", 5, "tcp");
    world.pod("store-1", "10.0.0.5", "store");
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: store, namespace: default}\nspec:\n  host: store\n"
                "  trafficPolicy: {connectionPool: {tcp: {idleTimeout: 3s}}}\n");
    App app(world, "10.0.0.5:9090", &echo);
    bool served = false;
    world.scope().spawn(&hold, &world, &served, seconds(30));
    auto* series = world.metrics.core(0).cluster("outbound|80||store.default.svc.cluster.local");
    world.run_for(seconds(2));
    EXPECT_EQ(series->value(ClusterGauge::cx_active), 1);
    world.run_for(seconds(2));
    EXPECT_EQ(series->value(ClusterGauge::cx_active), 0);
    EXPECT_TRUE(served);
    world.finish();
}

}  // namespace
}  // namespace orlop::sim
