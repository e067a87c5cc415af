// What routes do to requests besides sending them somewhere: headers, paths, mirrors, CORS, limits.
#include "tests/sim/world.h"

#include <fmt/core.h>

namespace orlop::sim {
namespace {

App::AnswerFor always(Reply reply) {
    return [reply](const Request&, std::size_t) { return reply; };
}

struct Shop {
    explicit Shop(FakeOptions options = {}) : world(options) {
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    void http(const std::string& lines) {
        world.apply("vs",
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                    "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n"
                    "  http:\n" +
                        lines);
    }
    World world;
};

const std::string to_shop = "    route: [{destination: {host: shop}}]\n";

// --- headers and paths ---------------------------------------------------------------------------

TEST(Actions, header_values_are_filled_in_from_the_request_and_the_response) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({response(201, "", "x-version: v2\r\n")}));
    shop.http("  - name: canary\n" + to_shop + R"(
    headers:
      request:
        set: {x-from: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% as %REQ(x-user)%", x-half: "50%%"}
        add: {x-none: "%REQ(x-missing)%", x-route: "%ROUTE_NAME%"}
      response:
        set: {x-said: "%RESPONSE_CODE% by %UPSTREAM_HOST% %RESP(x-version)%"}
        remove: [x-version]
)");
    Answer answer = shop.world.get("/", "x-user: jason\r\nx-from: a lie\r\n");
    EXPECT_EQ(answer.status, 201);
    ASSERT_EQ(app.requests.size(), 1u);
    EXPECT_EQ(app.requests[0].field("x-from"), "10.0.9.1 as jason");
    EXPECT_EQ(app.requests[0].count("x-from"), 1u);
    EXPECT_EQ(app.requests[0].field("x-half"), "50%");
    EXPECT_EQ(app.requests[0].field("x-route"), "canary");
    EXPECT_EQ(app.requests[0].count("x-none"), 0u);
    EXPECT_EQ(answer.field("x-said"), "201 by 10.0.0.1:9090 v2");
    EXPECT_EQ(answer.count("x-version"), 0u);
    shop.world.finish();
}

// Envoy applies a weighted destination's operations before the route's, which hence win; those of a
// sole destination come last.
TEST(Actions, a_route_overrides_its_weighted_destinations_but_not_its_sole_one) {
    const std::string route_headers = "    headers: {request: {set: {x-who: route}}}\n";
    const std::string own = "headers: {request: {set: {x-who: destination}, add: {x-n: '1'}}}";
    const std::pair<std::string, std::string> rows[] = {
        {"    route: [{destination: {host: shop}, " + own + "}]\n", "destination"},
        {"    route:\n    - {destination: {host: shop}, weight: 100, " + own +
             "}\n    - {destination: {host: nowhere}, weight: 0}\n",
         "route"},
    };
    for (const auto& [destinations, who] : rows) {
        Shop shop;
        App app(shop.world, "10.0.0.1:9090", always({}));
        shop.http("  - name: one\n" + route_headers + destinations);
        EXPECT_EQ(shop.world.get().status, 200);
        ASSERT_EQ(app.requests.size(), 1u);
        EXPECT_EQ(app.requests[0].field("x-who"), who);
        EXPECT_EQ(app.requests[0].count("x-who"), 1u);
        EXPECT_EQ(app.requests[0].field("x-n"), "1");
        shop.world.finish();
    }
}

TEST(Actions, a_path_is_rewritten_by_regex_and_the_original_is_told) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    shop.http("  - name: one\n" + to_shop +
              "    rewrite: {uriRegexRewrite: {match: '^/v[0-9]+/(.*)$', rewrite: '/\\1'}}\n");
    EXPECT_EQ(shop.world.get("/v2/cart?x=1").status, 200);
    EXPECT_EQ(shop.world.get("/plain").status, 200);
    ASSERT_EQ(app.requests.size(), 2u);
    EXPECT_EQ(app.requests[0].line(), "GET /cart?x=1 HTTP/1.1");
    EXPECT_EQ(app.requests[0].field("x-envoy-original-path"), "/v2/cart?x=1");
    EXPECT_EQ(app.requests[1].line(), "GET /plain HTTP/1.1");
    shop.world.finish();
}

TEST(Actions, the_application_learns_how_long_it_has_and_strangers_cannot_say_so) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    shop.http("  - name: one\n" + to_shop +
              "    timeout: 3s\n    retries: {attempts: 1, "
              "perTryTimeout: 1s}\n");
    EXPECT_EQ(shop.world
                  .get("/",
                       "x-envoy-expected-rq-timeout-ms: 77\r\nx-envoy-max-retries: 9\r\n"
                       "x-envoy-attempt-count: 5\r\nx-envoy-original-path: /evil\r\n")
                  .status,
              200);
    ASSERT_EQ(app.requests.size(), 1u);
    EXPECT_EQ(app.requests[0].field("x-envoy-expected-rq-timeout-ms"), "1000");
    EXPECT_EQ(app.requests[0].count("x-envoy-expected-rq-timeout-ms"), 1u);
    EXPECT_EQ(app.requests[0].field("x-envoy-attempt-count"), "1");
    EXPECT_EQ(app.requests[0].count("x-envoy-attempt-count"), 1u);
    EXPECT_EQ(app.requests[0].count("x-envoy-max-retries"), 0u);
    EXPECT_EQ(app.requests[0].count("x-envoy-original-path"), 0u);
    shop.world.finish();
}

TEST(Actions, a_redirect_derives_its_port) {
    const std::pair<std::string, std::string> rows[] = {
        {"{authority: 'other:8080', derivePort: FROM_PROTOCOL_DEFAULT}", "http://other/a"},
        {"{authority: 'other:8080', derivePort: FROM_REQUEST_PORT}", "http://other/a"},
        {"{scheme: https, derivePort: FROM_REQUEST_PORT}", "https://shop:80/a"},
        {"{port: 8443, scheme: https}", "https://shop:8443/a"},
    };
    for (const auto& [redirect, location] : rows) {
        Shop shop;
        shop.http("  - redirect: " + redirect +
                  "\n    headers: {response: {set: {x-by: route}}}\n");
        Answer answer = shop.world.get("/a");
        EXPECT_EQ(answer.status, 301);
        EXPECT_EQ(answer.field("location"), location);
        EXPECT_EQ(answer.field("x-by"), "route");
        shop.world.finish();
    }
}

TEST(Actions, a_grpc_abort_is_a_grpc_status) {
    Shop shop;
    shop.http("  - name: one\n" + to_shop +
              "    fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}\n");
    Answer answer = shop.world.get();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("content-type"), "application/grpc");
    EXPECT_EQ(answer.field("grpc-status"), "14");
    EXPECT_EQ(answer.body, "");
    EXPECT_EQ(shop.world.flags("test"), "FI");
    shop.world.finish();
}

TEST(Actions, a_seed_makes_faults_the_same_every_time) {
    std::string first;
    for (std::uint64_t seed : {1u, 2u}) {  // of the world; the mesh's own decides
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({}));
        shop.world.apply("mesh",
                         "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\n"
                         "spec: {faultSeed: 42}\n");
        shop.http("  - name: one\n" + to_shop +
                  "    fault: {abort: {httpStatus: 418, percentage: {value: 50}}}\n");
        std::string statuses;
        for (int i = 0; i < 40; ++i) {
            statuses += shop.world.get().status == 418 ? 'x' : '.';
        }
        // Neither all nor none of 40 coins: 2^-39.
        EXPECT_NE(statuses, std::string(40, 'x'));
        EXPECT_NE(statuses, std::string(40, '.'));
        EXPECT_EQ(first.empty() ? statuses : first, statuses);
        first = statuses;
        shop.world.finish();
    }
}

// --- CORS ----------------------------------------------------------------------------------------

const std::string cors = R"(
    corsPolicy:
      allowOrigins: [{exact: https://a.example}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-token]
      maxAge: 24h
      allowCredentials: true
)";

TEST(Actions, a_preflight_is_answered_here_and_an_actual_request_gets_its_permission) {
    Shop shop;
    App app(shop.world,
            "10.0.0.1:9090",
            always({response(200, "hi", "access-control-allow-origin: *\r\n")}));
    shop.http("  - name: one\n" + to_shop + cors);
    auto ask = [&](const std::string& method, const std::string& origin) {
        return shop.world.ask(
            method + " / HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\norigin: " + origin +
            "\r\naccess-control-request-method: PUT\r\n\r\n");
    };
    Answer preflight = ask("OPTIONS", "https://a.example");
    EXPECT_EQ(preflight.status, 200);
    EXPECT_EQ(preflight.field("access-control-allow-origin"), "https://a.example");
    EXPECT_EQ(preflight.field("access-control-allow-methods"), "GET,PUT");
    EXPECT_EQ(preflight.field("access-control-allow-headers"), "x-token");
    EXPECT_EQ(preflight.field("access-control-max-age"), "86400");
    EXPECT_EQ(preflight.field("access-control-allow-credentials"), "true");
    EXPECT_EQ(shop.world.details("test"), "cors_response");
    EXPECT_EQ(app.requests.size(), 0u);

    Answer actual = ask("GET", "https://a.example");
    EXPECT_EQ(actual.body, "hi");
    EXPECT_EQ(actual.field("access-control-allow-origin"), "https://a.example");
    EXPECT_EQ(actual.count("access-control-allow-origin"), 1u);

    EXPECT_EQ(ask("OPTIONS", "https://evil").field("access-control-allow-methods"), "");
    EXPECT_EQ(app.requests.size(), 2u);  // forwarded: unmatchedPreflights is FORWARD
    shop.world.finish();
}

// --- mirrors -------------------------------------------------------------------------------------

struct Mirrored : Shop {
    explicit Mirrored(FakeOptions options = {}) : Shop(options) {
        world.service("copy", 2);
        world.pod("copy-1", "10.0.0.2", "copy");
    }
    void mirror(const std::string& more = "") {
        http("  - name: one\n" + to_shop + "    mirror: {host: copy}\n" + more);
    }
};

TEST(Mirror, gets_a_copy_with_its_body_under_a_shadow_host) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Mirrored shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({response(200, "primary")}));
        App copy(shop.world, "10.0.0.2:9090", always({response(500, "nobody reads this")}));
        shop.mirror();
        Answer answer = shop.world.ask("POST /a HTTP/1.1\r\nhost: shop:80\r\nx-request-id: test\r\n"
                                       "transfer-encoding: chunked\r\n\r\n"
                                       "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
        EXPECT_EQ(answer.body, "primary") << seed;
        ASSERT_TRUE(shop.world.run_until([&] { return copy.requests.size() == 1; })) << seed;
        EXPECT_EQ(copy.requests[0].body, "onetwo");
        EXPECT_EQ(copy.requests[0].field("host"), "shop-shadow:80");
        EXPECT_EQ(app.requests[0].field("host"), "shop:80");
        EXPECT_EQ(app.requests[0].body, "onetwo");
        EXPECT_NE(shop.world.explain("test").find("mirrored to outbound|80||copy"),
                  std::string::npos);
        EXPECT_EQ(shop.world.flags("test"), "-");
        shop.world.finish();
    }
}

TEST(Mirror, keeps_its_host_when_the_mesh_says_so) {
    Mirrored shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    App copy(shop.world, "10.0.0.2:9090", always({}));
    shop.world.apply("mesh",
                     "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\n"
                     "spec: {shadowHostSuffix: false}\n");
    shop.mirror();
    EXPECT_EQ(shop.world.get().status, 200);
    ASSERT_TRUE(shop.world.run_until([&] { return copy.requests.size() == 1; }));
    EXPECT_EQ(copy.requests[0].field("host"), "shop");
    shop.world.finish();
}

TEST(Mirror, that_hangs_fails_or_is_not_there_never_touches_the_primary) {
    const Reply ends[] = {
        {.bytes = "", .then = Reply::Then::reset},
        {.bytes = "garbage\r\n\r\n"},
        {.delay = minutes(30)},
    };
    for (const Reply& end : ends) {
        Mirrored shop;
        App app(shop.world, "10.0.0.1:9090", always({}));
        App copy(shop.world, "10.0.0.2:9090", always(end));
        shop.mirror("    timeout: 2s\n");
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(shop.world.get().status, 200);
            EXPECT_EQ(shop.world.flags("test"), "-");
        }
        EXPECT_LT(shop.world.elapsed(), seconds(1));
        shop.world.run_for(seconds(3));  // a hanging one is bounded by the route's timeout
        shop.world.finish();
    }
    Mirrored shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    shop.mirror();  // nobody listens at the mirror's address
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(shop.world.flags("test"), "-");
    shop.world.finish();
}

TEST(Mirror, gets_its_share_of_the_requests) {
    struct Row {
        const char* percent;
        std::size_t least;
        std::size_t most;
    };
    // 300 coins of 30 %: 90 on average, sigma 7.9; the bounds are 5 sigma away.
    const Row rows[] = {{"100", 300, 300}, {"0", 0, 0}, {"30", 50, 130}};
    for (const Row& row : rows) {
        Mirrored shop;
        App app(shop.world, "10.0.0.1:9090", always({}));
        App copy(shop.world, "10.0.0.2:9090", always({}));
        shop.mirror(fmt::format("    mirrorPercentage: {{value: {}}}\n", row.percent));
        for (int i = 0; i < 300; ++i) {
            ASSERT_EQ(shop.world.get().status, 200);
        }
        shop.world.run_for(seconds(1));
        EXPECT_GE(copy.requests.size(), row.least);
        EXPECT_LE(copy.requests.size(), row.most);
        EXPECT_EQ(app.requests.size(), 300u);
        shop.world.finish();
    }
}

TEST(Mirror, is_not_made_of_a_request_that_a_fault_ends_and_not_of_retries) {
    Mirrored shop;
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
        return Reply{response(number < 2 ? 503 : 200, "")};
    });
    App copy(shop.world, "10.0.0.2:9090", always({}));
    shop.mirror("    retries: {attempts: 3, retryOn: 5xx}\n");
    EXPECT_EQ(shop.world.get().status, 200);
    shop.world.run_for(seconds(1));
    EXPECT_EQ(app.requests.size(), 3u);
    EXPECT_EQ(copy.requests.size(), 1u);
    shop.mirror("    fault: {abort: {httpStatus: 400, percentage: {value: 100}}}\n");
    EXPECT_EQ(shop.world.get().status, 400);
    shop.world.run_for(seconds(1));
    EXPECT_EQ(copy.requests.size(), 1u);
    shop.world.finish();
}

// --- rate limits ---------------------------------------------------------------------------------

void limit(World& world, const std::string& spec) {
    world.apply("limit",
                "apiVersion: orlop.dev/v1\nkind: RateLimit\n"
                "metadata: {name: few, namespace: default}\nspec:\n  hosts: [shop]\n" +
                    spec);
}

TEST(RateLimit, answers_429_at_the_callers_node_and_says_why) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    limit(shop.world, "  requests: 2\n  interval: 10s\n  headers: true\n");
    Answer first = shop.world.get();
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(first.field("x-ratelimit-limit"), "2");
    EXPECT_EQ(first.field("x-ratelimit-remaining"), "1");
    EXPECT_EQ(first.field("x-ratelimit-reset"), "5");
    EXPECT_EQ(shop.world.get().status, 200);
    Answer refused = shop.world.get();
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.body, "local_rate_limited");
    EXPECT_EQ(refused.field("x-ratelimit-remaining"), "0");
    EXPECT_EQ(shop.world.flags("test"), "RL");
    EXPECT_EQ(shop.world.details("test"), "local_rate_limited");
    std::string why = shop.world.explain("test");
    EXPECT_NE(why.find("RateLimit default/few"), std::string::npos) << why;
    EXPECT_NE(why.find("refused, 2 in 10 s"), std::string::npos) << why;
    EXPECT_EQ(app.requests.size(), 2u);
    shop.world.run_for(seconds(5));
    EXPECT_EQ(shop.world.get().status, 200);
    shop.world.withdraw("limit");
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(shop.world.get().status, 200);
    }
    shop.world.finish();
}

TEST(RateLimit, counts_apart_what_its_key_tells_apart) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    limit(shop.world, "  requests: 1\n  interval: 1h\n  key: ['header:x-user', path]\n");
    struct Row {
        const char* path;
        const char* user;
        int status;
    };
    const Row rows[] = {
        {"/a", "x-user: ann\r\n", 200},
        {"/a?other=query", "x-user: ann\r\n", 429},
        {"/b", "x-user: ann\r\n", 200},
        {"/a", "x-user: bob\r\n", 200},
        {"/a", "", 200},
        {"/a", "", 429},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(shop.world.get(row.path, row.user).status, row.status) << row.path << row.user;
    }
    shop.world.finish();
}

TEST(RateLimit, holds_only_for_the_requests_and_callers_it_names) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    limit(shop.world,
          "  requests: 1\n  interval: 1h\n  match: [{uri: {prefix: /slow}}]\n"
          "  selector: {matchLabels: {app: client}}\n");
    EXPECT_EQ(shop.world.get("/fast").status, 200);
    EXPECT_EQ(shop.world.get("/fast").status, 200);
    EXPECT_EQ(shop.world.get("/slow").status, 200);
    EXPECT_EQ(shop.world.get("/slow").status, 429);
    limit(shop.world, "  requests: 1\n  interval: 1h\n  selector: {matchLabels: {app: else}}\n");
    EXPECT_EQ(shop.world.get("/slow").status, 200);
    EXPECT_EQ(shop.world.get("/slow").status, 200);
    shop.world.finish();
}

TEST(RateLimit, tells_grpc_callers_in_their_own_words) {
    for (const auto& [line, status] :
         {std::pair("", "14"), std::pair("  grpcStatus: RESOURCE_EXHAUSTED\n", "8")}) {
        Shop shop;
        App app(shop.world, "10.0.0.1:9090", always({}));
        limit(shop.world, std::string("  requests: 1\n  interval: 1h\n") + line);
        EXPECT_EQ(shop.world.get("/", "content-type: application/grpc\r\n").status, 200);
        Answer refused = shop.world.get("/", "content-type: application/grpc\r\n");
        EXPECT_EQ(refused.status, 200);
        EXPECT_EQ(refused.field("grpc-status"), status);
        EXPECT_EQ(refused.field("grpc-message"), "local_rate_limited");
        shop.world.finish();
    }
}

}  // namespace
}  // namespace orlop::sim
