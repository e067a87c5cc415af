// Outlier detection through the whole proxy, in virtual time (istio-semantics §6).
#include "tests/sim/world.h"

#include <fmt/core.h>

namespace orlop::sim {
namespace {

using telemetry::ClusterCounter;
using telemetry::ClusterGauge;

constexpr const char* cluster = "outbound|80||shop.default.svc.cluster.local";

void policy(World& world, const std::string& lines) {
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: shop, namespace: default}\nspec:\n  host: shop\n"
                "  trafficPolicy:\n" +
                    lines);
}

App::AnswerFor always(int status) {
    return [status](const Request&, std::size_t) {
        return Reply{response(status, "x"), {}, Reply::Then::keep};
    };
}

// Two endpoints, the first of which answers 500, and a policy of three errors in a row.
struct Shop {
    Shop() {
        world.pod("shop-1", "10.0.0.1", "shop");
        world.pod("shop-2", "10.0.0.2", "shop");
        policy(world,
               "    loadBalancer: {simple: ROUND_ROBIN}\n"
               "    outlierDetection: {consecutive5xxErrors: 3, interval: 10s, "
               "baseEjectionTime: 30s, maxEjectionPercent: 100}\n");
    }
    int ask(int count) {
        int good = 0;
        for (int i = 0; i < count; ++i) {
            good += world.get().status == 200 ? 1 : 0;
        }
        return good;
    }
    telemetry::ClusterSeries& series() { return *world.metrics.core(0).cluster(cluster); }
    World world;
};

TEST(OutlierDetection, takes_a_failing_endpoint_out_and_lets_it_back_for_longer_each_time) {
    Shop shop;
    std::vector<std::string> lines;
    shop.world.node(0).core->outliers().set_line_tap(
        [&lines](const IpAddress&, const SocketAddress&, std::string_view line) {
            lines.emplace_back(line);
        });
    App bad(shop.world, "10.0.0.1:9090", always(500));
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(20), 17) << "three tries of the bad one, then none";
    EXPECT_EQ(bad.requests.size(), 3u);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].starts_with("host 10.0.0.1:9090 in cluster outbound|80||shop.default.svc."
                                     "cluster.local was ejected by the outlier detector"))
        << lines[0];
    EXPECT_NE(lines[0].find("500, 500, 500"), std::string::npos) << lines[0];
    EXPECT_EQ(shop.series().value(ClusterGauge::outlier_ejections_active), 1);
    EXPECT_EQ(shop.series().value(ClusterCounter::outlier_ejections_enforced_total), 1u);
    EXPECT_EQ(shop.series().value(ClusterCounter::outlier_enforced_consecutive_5xx), 1u);
    const std::string why = shop.world.explain("test");
    EXPECT_NE(why.find("1 out of rotation"), std::string::npos) << why;
    EXPECT_NE(why.find("10.0.0.1:9090 (shop-1) after 500, 500, 500, back in"), std::string::npos)
        << why;

    shop.world.run_for(seconds(29));
    EXPECT_EQ(shop.ask(10), 10) << "still out";
    shop.world.run_for(seconds(5));  // the sweep at 30 s has passed, that at 40 s has not
    EXPECT_EQ(shop.series().value(ClusterGauge::outlier_ejections_active), 0);
    EXPECT_EQ(shop.ask(20), 17) << "back, and out again";
    shop.world.run_for(seconds(55));
    EXPECT_EQ(shop.ask(10), 10) << "for twice as long";
    shop.world.run_for(seconds(20));
    EXPECT_LT(shop.ask(4), 4);
    EXPECT_EQ(lines.size(), 4u);
    shop.world.finish();
}

TEST(OutlierDetection, a_verdict_survives_new_generations) {
    Shop shop;
    App bad(shop.world, "10.0.0.1:9090", always(500));
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(8), 5);
    shop.world.service("other", 9);
    shop.world.pod("shop-3", "10.0.0.3", "shop");
    App third(shop.world, "10.0.0.3:9090", always(200));
    EXPECT_EQ(shop.ask(9), 9);
    EXPECT_EQ(bad.requests.size(), 3u);
    EXPECT_EQ(shop.series().value(ClusterGauge::membership_total), 3);
    shop.world.finish();
}

TEST(OutlierDetection, another_pod_with_the_same_address_starts_afresh) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
        return Reply{response(number < 3 ? 500 : 200, "x"), {}, Reply::Then::keep};
    });
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(8), 5);
    shop.world.withdraw("pod-shop-1");
    shop.world.pod("shop-9", "10.0.0.1", "shop");
    EXPECT_EQ(shop.ask(6), 6);
    EXPECT_EQ(app.requests.size(), 6u);
    shop.world.run_for(minutes(2));
    EXPECT_EQ(shop.series().value(ClusterGauge::outlier_ejections_active), 0);
    shop.world.finish();
}

TEST(OutlierDetection, with_everybody_out_the_answer_is_503_UH) {
    Shop shop;
    App bad(shop.world, "10.0.0.1:9090", always(503));
    App worse(shop.world, "10.0.0.2:9090", always(503));
    EXPECT_EQ(shop.ask(6), 0);
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "no healthy upstream");
    EXPECT_EQ(shop.world.flags("test"), "UH");
    const std::string why = shop.world.explain("test");
    EXPECT_NE(why.find("every endpoint is out of rotation"), std::string::npos) << why;
    EXPECT_NE(why.find("ejected: 10.0.0.1:9090 (shop-1)"), std::string::npos) << why;
    shop.world.finish();
}

TEST(OutlierDetection, min_health_percent_uses_all_when_too_few_are_left) {
    Shop shop;
    policy(shop.world,
           "    loadBalancer: {simple: ROUND_ROBIN}\n"
           "    outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100, "
           "minHealthPercent: 60}\n");
    App bad(shop.world, "10.0.0.1:9090", always(500));
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(20), 10);
    EXPECT_GT(shop.series().value(ClusterCounter::lb_healthy_panic), 0u);
    shop.world.finish();
}

// Tutorial 004-4: exactly one failure and one request in the broken pod's log.
TEST(OutlierDetection, one_error_is_enough_when_one_is_the_threshold) {
    Shop shop;
    policy(shop.world,
           "    outlierDetection: {consecutive5xxErrors: 1, interval: 10s, baseEjectionTime: 15m, "
           "maxEjectionPercent: 100}\n");
    App bad(shop.world, "10.0.0.1:9090", always(500));
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(50), 49);
    EXPECT_EQ(bad.requests.size(), 1u);
    EXPECT_EQ(shop.series().value(ClusterGauge::outlier_ejections_active), 1);
    shop.world.run_for(minutes(14));
    EXPECT_EQ(shop.ask(10), 10);
    shop.world.finish();
}

TEST(OutlierDetection, refused_connections_count_and_overflow_does_not) {
    Shop shop;
    shop.world.apply("vs",
                     "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                     "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n"
                     "  http:\n  - route: [{destination: {host: shop}}]\n"
                     "    retries: {attempts: 0}\n");
    App good(shop.world, "10.0.0.2:9090", always(200));
    EXPECT_EQ(shop.ask(10), 7);
    EXPECT_EQ(shop.series().value(ClusterGauge::outlier_ejections_active), 1);
    shop.world.finish();
}

// A connection of bytes shows as much as a request.
TEST(OutlierDetection, tcp_connections_that_fail_count) {
    World world;
    world.service("store", 5, "tcp");
    world.pod("store-1", "10.0.0.5", "store");
    world.pod("store-2", "10.0.0.6", "store");
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: store, namespace: default}\nspec:\n  host: store\n"
                "  trafficPolicy:\n    loadBalancer: {simple: ROUND_ROBIN}\n"
                "    outlierDetection: {consecutiveGatewayErrors: 2, maxEjectionPercent: 50}\n");
    struct Script {
        static Task<void> once(World* world, int* served) {
            ScriptedPeer peer(world->loop,
                              world->network.socket({*IpAddress::parse("10.0.9.1"), 4003}));
            co_await peer.connect(*SocketAddress::parse("10.96.0.5:80"));
            co_await peer.send("hello");
            *served += co_await peer.receive_exactly(5) == "hello" ? 1 : 0;
        }
        static Task<void> echo(App*, ScriptedPeer* peer, std::size_t) {
            co_await peer->send(co_await peer->receive_exactly(5));
        }
    };
    App app(world, "10.0.0.6:9090", &Script::echo);
    int served = 0;
    for (int i = 0; i < 12; ++i) {
        world.scope().spawn(&Script::once, &world, &served);
        ASSERT_EQ(world.settle(), FakeEnd::done);
    }
    EXPECT_EQ(served, 10);
    world.finish();
}

}  // namespace
}  // namespace orlop::sim
