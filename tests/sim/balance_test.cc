// Load balancing through the whole proxy: consistentHash keys, cookies, warm-up, localities.
#include "tests/sim/world.h"

#include <fmt/core.h>

#include <functional>
#include <set>

namespace orlop::sim {
namespace {

void balance(World& world, const std::string& text) {
    world.apply("dr",
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                "metadata: {name: shop, namespace: default}\nspec:\n  host: shop\n"
                "  trafficPolicy:\n    " +
                    text + "\n");
}

// Four endpoints that answer with their own number.
struct Shop {
    Shop() {
        for (int i = 1; i <= 4; ++i) {
            const std::string ip = fmt::format("10.0.0.{}", i);
            world.pod(fmt::format("shop-{}", i), ip, "shop");
            apps.push_back(
                std::make_unique<App>(world, ip + ":9090", [i](const Request&, std::size_t) {
                    return Reply{response(200, std::to_string(i)), {}, Reply::Then::keep};
                }));
        }
    }
    std::set<std::string> who(const std::string& path, const std::string& fields, int times = 8) {
        std::set<std::string> seen;
        for (int i = 0; i < times; ++i) {
            seen.insert(world.get(path, fields).body);
        }
        return seen;
    }
    World world;
    std::vector<std::unique_ptr<App>> apps;
};

struct Row {
    const char* what;
    const char* rule;
    const char* path;
    std::function<std::string(int)> fields;  // of caller `n`
    std::function<std::string(int)> paths;
};

TEST(ConsistentHash, keeps_a_key_at_one_endpoint_and_spreads_the_keys) {
    const auto none = [](int) { return std::string(); };
    const auto root = [](int) { return std::string("/"); };
    for (const Row& row : {
             Row{"header",
                 "loadBalancer: {consistentHash: {httpHeaderName: X-User}}",
                 "/",
                 [](int n) { return fmt::format("x-user: u{}\r\n", n); },
                 root},
             Row{"cookie",
                 "loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 0s}}}",
                 "/",
                 [](int n) { return fmt::format("cookie: a=b; user=u{}; c=d\r\n", n); },
                 root},
             Row{"query parameter",
                 "loadBalancer: {consistentHash: {httpQueryParameterName: id}}",
                 "/",
                 none,
                 [](int n) { return fmt::format("/x?a=b&id=u{}", n); }},
             Row{"Maglev",
                 "loadBalancer: {consistentHash: {httpHeaderName: x-user, "
                 "maglev: {tableSize: 1021}}}",
                 "/",
                 [](int n) { return fmt::format("x-user: u{}\r\n", n); },
                 root},
         }) {
        Shop shop;
        balance(shop.world, row.rule);
        std::set<std::string> all;
        for (int caller = 0; caller < 12; ++caller) {
            const auto seen = shop.who(row.paths(caller), row.fields(caller), 4);
            EXPECT_EQ(seen.size(), 1u) << row.what << " of caller " << caller;
            all.insert(seen.begin(), seen.end());
        }
        EXPECT_GE(all.size(), 2u) << row.what;
        shop.world.finish();
    }
}

TEST(ConsistentHash, without_a_key_chance_decides) {
    Shop shop;
    balance(shop.world, "loadBalancer: {consistentHash: {httpHeaderName: x-user}}");
    EXPECT_GE(shop.who("/", "", 40).size(), 2u);
    EXPECT_NE(shop.world.explain("test").find("random (no hash key)"), std::string::npos);
    shop.world.finish();
}

TEST(ConsistentHash, the_source_address_is_a_key) {
    Shop shop;
    balance(shop.world, "loadBalancer: {consistentHash: {useSourceIp: true}}");
    EXPECT_EQ(shop.who("/", "", 10).size(), 1u);
    shop.world.finish();
}

// Tutorial 003-11.
TEST(ConsistentHash, a_session_begins_with_a_cookie) {
    Shop shop;
    balance(shop.world,
            "loadBalancer: {consistentHash: {httpCookie: {name: user, path: /shop, ttl: 1800s}}}");
    std::set<std::string> values;
    for (int session = 0; session < 4; ++session) {
        const Answer first = shop.world.get();
        const std::string cookie = first.field("set-cookie");
        EXPECT_TRUE(cookie.starts_with("user=\"")) << cookie;
        EXPECT_TRUE(cookie.ends_with("\"; Max-Age=1800; Path=/shop; HttpOnly")) << cookie;
        const std::string pair = cookie.substr(0, cookie.find(';'));
        values.insert(pair);
        const auto seen = shop.who("/", "cookie: " + pair + "\r\n");
        EXPECT_EQ(seen, std::set<std::string>{first.body}) << "the first request's endpoint";
        EXPECT_EQ(shop.world.get("/", "cookie: " + pair + "\r\n").field("set-cookie"), "");
    }
    EXPECT_EQ(values.size(), 4u) << "each session has its own";
    shop.world.finish();
}

TEST(ConsistentHash, a_cookie_without_ttl_is_never_made) {
    Shop shop;
    balance(shop.world, "loadBalancer: {consistentHash: {httpCookie: {name: user}}}");
    EXPECT_EQ(shop.world.get().field("set-cookie"), "");
    shop.world.finish();
}

TEST(ConsistentHash, a_retry_stays_with_its_endpoint) {
    Shop shop;
    balance(shop.world, "loadBalancer: {consistentHash: {httpHeaderName: x-user}}");
    shop.world.apply("vs",
                     "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                     "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n"
                     "  http:\n  - route: [{destination: {host: shop}}]\n"
                     "    retries: {attempts: 2, retryOn: retriable-4xx}\n");
    const std::string home = shop.world.get("/", "x-user: me\r\n").body;
    const std::string explained = shop.world.explain("test");
    EXPECT_NE(explained.find("chosen by consistent_hash"), std::string::npos) << explained;
    EXPECT_EQ(shop.who("/", "x-user: me\r\n"), std::set<std::string>{home});
    shop.world.finish();
}

TEST(Warmup, a_new_endpoint_gets_its_share_slowly) {
    World world;
    const auto answer = [](const Request&, std::size_t) { return Reply{}; };
    world.pod("shop-1", "10.0.0.1", "shop");
    App old(world, "10.0.0.1:9090", answer);
    balance(world,
            "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 100s, minimumPercent: 10}}");
    EXPECT_EQ(world.get().status, 200);
    world.run_for(seconds(200));
    world.pod("shop-2", "10.0.0.2", "shop");
    App fresh(world, "10.0.0.2:9090", answer);
    for (int i = 0; i < 44; ++i) {
        world.get();
    }
    EXPECT_NEAR(static_cast<double>(fresh.requests.size()), 4, 1) << "one in eleven";
    const std::size_t before = fresh.requests.size();
    world.run_for(seconds(100));
    for (int i = 0; i < 40; ++i) {
        world.get();
    }
    EXPECT_NEAR(static_cast<double>(fresh.requests.size() - before), 20, 1);
    world.finish();
}

TEST(Locality, the_nearest_zone_serves_until_it_fails) {
    World world;
    for (const char* name : {"n1", "n2", "n3"}) {
        world.apply(fmt::format("node-{}", name),
                    fmt::format("apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n  labels: "
                                "{{topology.kubernetes.io/region: eu, "
                                "topology.kubernetes.io/zone: {}}}\n",
                                name,
                                name[1] == '3' ? "b" : "a"));
    }
    world.pod("near", "10.0.0.1", "shop", "n2");
    world.pod("far", "10.0.0.2", "shop", "n3");
    App near(world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
        return Reply{response(number < 10 ? 200 : 500, "near"), {}, Reply::Then::keep};
    });
    App far(world, "10.0.0.2:9090", [](const Request&, std::size_t) {
        return Reply{response(200, "far"), {}, Reply::Then::keep};
    });
    balance(world, "outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100}");
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(world.get().body, "near");
    }
    EXPECT_NE(world.explain("test").find("the nearest locality"), std::string::npos);
    EXPECT_EQ(world.get().status, 500);
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(world.get().body, "far");
    }
    world.finish();
}

}  // namespace
}  // namespace orlop::sim
