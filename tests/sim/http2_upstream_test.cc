// HTTP/2 to the application, and gRPC: istio-semantics §3, §5 and §16 in virtual time.
#include "tests/sim/http2_peer.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::sim {
namespace {

using telemetry::ClusterCounter;

constexpr const char* cluster = "outbound|80||shop.default.svc.cluster.local";

void answer_ok(Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
    peer.respond(id, 200, {{"x-app", "two"}}, message.method + " " + message.path + message.body);
}

std::string grpc_frame(const std::string& message) {
    std::string frame(5, '\0');
    frame[4] = static_cast<char>(message.size());
    return frame + message;
}

// A shop whose port has this name, and one pod.
struct Shop {
    explicit Shop(const std::string& port_name = "http2", FakeOptions options = {})
        : world(options) {
        world.service("shop", 1, port_name);
        world.pod("shop-1", "10.0.0.1", "shop");
    }
    void pool(const std::string& http, const std::string& tcp = "{}") {
        world.apply("dr",
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                    "metadata: {name: shop, namespace: default}\nspec:\n  host: shop\n"
                    "  trafficPolicy: {connectionPool: {http: " +
                        http + ", tcp: " + tcp + "}}\n");
    }
    void route(const std::string& more) {
        world.apply("vs",
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                    "metadata: {name: shop, namespace: default}\nspec:\n  hosts: [shop]\n"
                    "  http:\n  - route: [{destination: {host: shop}}]\n" +
                        more);
    }
    std::vector<Answer> ask_together(int count) {
        std::vector<Answer> answers(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            world.scope().spawn(
                &ask_once,
                &world,
                fmt::format("GET /{} HTTP/1.1\r\nhost: shop\r\nx-request-id: r{}\r\n\r\n", i, i),
                std::string("10.96.0.1:80"),
                &answers[static_cast<std::size_t>(i)]);
        }
        EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        return answers;
    }
    std::uint64_t counter(ClusterCounter which) {
        return world.metrics.core(0).cluster(cluster)->value(which);
    }
    World world;
};

int with_status(const std::vector<Answer>& answers, int status) {
    return static_cast<int>(std::ranges::count(answers, status, &Answer::status));
}

TEST(Http2Upstream, an_http1_caller_reaches_an_application_that_speaks_only_http2) {
    for (const char* port : {"http2", "grpc", "http2-web"}) {
        for (std::uint64_t seed = 1; seed <= 5; ++seed) {
            Shop shop(port, {.seed = seed});
            Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
            Answer answer = shop.world.ask("POST /a HTTP/1.1\r\nhost: shop\r\nX-Mixed: Case\r\n"
                                           "connection: x-hop\r\nx-hop: 1\r\n"
                                           "content-length: 4\r\n\r\nbody");
            EXPECT_EQ(answer.status, 200) << port;
            EXPECT_EQ(answer.body, "POST /abody");
            EXPECT_EQ(answer.field("x-app"), "two");
            ASSERT_EQ(app.requests.size(), 1U);
            EXPECT_EQ(app.requests[0].authority, "shop");
            EXPECT_EQ(app.requests[0].fields["x-mixed"], "Case");
            EXPECT_FALSE(app.requests[0].fields.contains("x-hop"));
            EXPECT_FALSE(app.requests[0].fields.contains("connection"));
            shop.world.finish();
        }
    }
}

TEST(Http2Upstream, many_callers_share_one_connection) {
    Shop shop;
    Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
    auto answers = shop.ask_together(50);
    EXPECT_EQ(with_status(answers, 200), 50);
    EXPECT_EQ(app.connections(), 1U);
    EXPECT_EQ(app.requests.size(), 50U);
    shop.world.finish();
}

TEST(Http2Upstream, bodies_pass_both_ways_whole) {
    const std::string body(700'000, 'b');
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        Shop shop("http2", {.seed = seed});
        Http2App app(shop.world,
                     "10.0.0.1:9090",
                     [](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                         peer.respond(id, 200, {}, message.body);
                     });
        Answer answer = shop.world.ask(fmt::format(
            "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n{}", body.size(), body));
        EXPECT_EQ(answer.status, 200);
        EXPECT_TRUE(answer.body == body) << answer.body.size();
        auto got = talk(shop.world, [&](Http2Peer& peer) { ask(peer, "POST", "/", {}, body); });
        EXPECT_TRUE(got.at(0).body == body) << got[0].body.size();
        shop.world.finish();
    }
}

TEST(Http2Upstream, the_version_follows_port_upgrade_policy_and_caller) {
    struct Case {
        const char* port;
        const char* http;
        bool http2_caller;
        bool http2_upstream;
    };
    const std::vector<Case> cases = {
        {"http", "{}", false, false},
        {"http", "{}", true, false},
        {"http", "{h2UpgradePolicy: UPGRADE}", false, true},
        {"http", "{h2UpgradePolicy: DO_NOT_UPGRADE}", true, false},
        {"http", "{useClientProtocol: true}", true, true},
        {"http", "{useClientProtocol: true}", false, false},
        {"http2", "{}", true, true},
        {"http2", "{useClientProtocol: true}", false, false},
        {"grpc", "{}", false, true},
        {"web", "{}", true, true},
        {"web", "{}", false, false},
    };
    for (const Case& one : cases) {
        Shop shop(one.port);
        shop.pool(one.http);
        std::optional<Http2App> two;
        std::optional<App> plain;
        if (one.http2_upstream) {
            two.emplace(shop.world, "10.0.0.1:9090", answer_ok);
        } else {
            plain.emplace(
                shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
        }
        int status =
            one.http2_caller
                ? talk(shop.world, [](Http2Peer& peer) { ask(peer, "GET", "/"); }).at(0).status
                : shop.world.get().status;
        EXPECT_EQ(status, 200) << one.port << " " << one.http << " " << one.http2_caller;
        EXPECT_EQ(two ? two->requests.size() : plain->requests.size(), 1U);
        shop.world.finish();
    }
}

TEST(Http2Upstream, an_upgrade_goes_upstream_in_http1) {
    Shop shop("http");
    shop.pool("{h2UpgradePolicy: UPGRADE}");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) {
        return Reply{"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                     "connection: upgrade\r\n\r\n",
                     {},
                     Reply::Then::close};
    });
    Answer answer = shop.world.ask("GET / HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\n"
                                   "connection: upgrade\r\n\r\n");
    EXPECT_EQ(answer.status, 101);
    shop.world.finish();
}

TEST(Http2Upstream, limits_of_streams_and_requests_make_new_connections) {
    struct Case {
        const char* http;
        std::size_t connections;
    };
    for (const Case& one : {Case{"{maxConcurrentStreams: 4}", 3},
                            Case{"{maxRequestsPerConnection: 3}", 4},
                            Case{"{maxRequestsPerConnection: 1}", 12},
                            Case{"{}", 1}}) {
        Shop shop;
        shop.pool(one.http);
        Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
        EXPECT_EQ(with_status(shop.ask_together(12), 200), 12) << one.http;
        EXPECT_EQ(app.connections(), one.connections) << one.http;
        shop.world.finish();
    }
}

TEST(Http2Upstream, requests_wait_for_a_stream_when_no_connection_may_be_opened) {
    Shop shop;
    shop.pool("{maxConcurrentStreams: 1}", "{maxConnections: 1}");
    Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
    EXPECT_EQ(with_status(shop.ask_together(20), 200), 20);
    EXPECT_EQ(app.connections(), 1U);
    shop.world.finish();
}

TEST(Http2Upstream, the_peers_own_limit_is_kept) {
    Shop shop;
    shop.pool("{}", "{maxConnections: 1}");
    Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
    app.options.streams_max = 2;
    EXPECT_EQ(shop.world.get().status, 200);  // its SETTINGS are known from here on
    EXPECT_EQ(with_status(shop.ask_together(20), 200), 20);
    EXPECT_EQ(app.connections(), 1U);
    shop.world.finish();
}

TEST(Http2Upstream, overflow_is_told_as_for_http1) {
    Shop shop;
    shop.pool("{http2MaxRequests: 1}");
    Http2App app(shop.world,
                 "10.0.0.1:9090",
                 [&](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                     answer_ok(peer, id, message);
                 });
    auto answers = shop.ask_together(5);
    EXPECT_GE(with_status(answers, 200), 1);
    EXPECT_EQ(with_status(answers, 200) + with_status(answers, 503), 5);
    EXPECT_GE(with_status(answers, 503), 1);
    for (const Answer& answer : answers) {
        EXPECT_EQ(answer.field("x-envoy-overloaded"), answer.status == 503 ? "true" : "");
    }
    EXPECT_EQ(shop.counter(ClusterCounter::rq_pending_overflow),
              static_cast<std::uint64_t>(with_status(answers, 503)));
    shop.world.finish();
}

TEST(Http2Upstream, goaway_ends_a_connection_and_no_request) {
    Shop shop;
    Http2App app(shop.world,
                 "10.0.0.1:9090",
                 [](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                     answer_ok(peer, id, message);
                     peer.session().goaway();
                     peer.session().goaway();
                 });
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(shop.world.get().status, 200) << i;
    }
    EXPECT_EQ(app.connections(), 5U);
    shop.world.finish();
}

TEST(Http2Upstream, a_refused_stream_is_tried_again) {
    Shop shop;
    shop.route("    retries: {attempts: 2, retryOn: refused-stream}\n");
    int refusals = 2;
    Http2App app(shop.world,
                 "10.0.0.1:9090",
                 [&](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                     if (refusals-- > 0) {
                         peer.session().reset(id, h2::ErrorCode::refused_stream);
                     } else {
                         answer_ok(peer, id, message);
                     }
                 });
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(shop.counter(ClusterCounter::rq_retry), 2U);
    shop.world.finish();
}

TEST(Http2Upstream, a_reset_before_the_head_is_an_upstream_reset) {
    Shop shop;
    shop.route("    retries: {attempts: 0}\n");
    Http2App app(shop.world, "10.0.0.1:9090", [](Http2Peer& peer, h2::StreamId id, const auto&) {
        peer.session().reset(id, h2::ErrorCode::internal_error);
    });
    Answer answer = shop.world.ask("GET / HTTP/1.1\r\nhost: shop\r\nx-request-id: one\r\n\r\n");
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(shop.world.flags("one"), "UR");
    shop.world.finish();
}

TEST(Http2Upstream, an_application_without_http2_is_a_clear_failure) {
    Shop shop;
    shop.route("    retries: {attempts: 0}\n");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) {
        return Reply{"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"};
    });
    EXPECT_EQ(shop.world.get().status, 503);
    shop.world.finish();
}

TEST(Http2Upstream, a_connection_ends_when_it_was_idle_for_too_long) {
    Shop shop;
    shop.pool("{idleTimeout: 5s}");
    Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
    EXPECT_EQ(shop.world.get().status, 200);
    shop.world.run_for(seconds(4));
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(app.connections(), 1U);
    shop.world.run_for(seconds(6));
    EXPECT_EQ(shop.world.get().status, 200);
    EXPECT_EQ(app.connections(), 2U);
    shop.world.finish();
}

TEST(Http2Upstream, a_mirror_speaks_what_its_destination_speaks) {
    Shop shop("http");
    shop.world.service("copy", 2, "http2");
    shop.world.pod("copy-1", "10.0.0.2", "copy");
    shop.route("    mirror: {host: copy}\n");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; });
    Http2App copy(shop.world, "10.0.0.2:9090", answer_ok);
    Answer answer = shop.world.ask("POST /m HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: "
                                   "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(shop.world.settle(), FakeEnd::done);
    ASSERT_EQ(copy.requests.size(), 1U);
    EXPECT_EQ(copy.requests[0].body, "abc");
    EXPECT_EQ(copy.requests[0].authority, "shop-shadow");
    shop.world.finish();
}

TEST(Http2Upstream, one_stream_that_is_reset_again_and_again_is_no_reason_to_repeat) {
    Shop shop;
    shop.route("    retries: {attempts: 0}\n");
    Http2App app(shop.world, "10.0.0.1:9090", [](Http2Peer& peer, h2::StreamId id, const auto& of) {
        if (of.path == "/warm") {
            answer_ok(peer, id, of);
        } else {
            peer.session().reset(id, h2::ErrorCode::internal_error);
        }
    });
    EXPECT_EQ(shop.world.get("/warm").status, 200);
    EXPECT_EQ(shop.world.get("/cold").status, 503);
    EXPECT_EQ(app.requests.size(), 2U);
    shop.world.finish();
}

// Answers after `delay`, when the connection still lives.
Task<void> answer_later(World* world, Http2Peer* peer, h2::StreamId id, Duration delay) {
    co_await Sleep(world->loop, delay);
    peer->respond(id, 200, {}, "late");
    co_await peer->say();
}

TEST(Http2Upstream, the_last_request_of_a_connection_is_not_cut_by_its_idle_time) {
    for (const char* limits : {"{maxRequestsPerConnection: 1, idleTimeout: 5s}",
                               "{maxRequestsPerConnection: 2, idleTimeout: 5s}"}) {
        Shop shop;
        shop.pool(limits);
        shop.route("    retries: {attempts: 0}\n");
        Http2App app(shop.world,
                     "10.0.0.1:9090",
                     [&](Http2Peer& peer, h2::StreamId id, const Http2Message& message) {
                         if (message.path == "/soon") {
                             answer_ok(peer, id, message);
                         } else {
                             shop.world.scope().spawn(
                                 &answer_later, &shop.world, &peer, id, seconds(10));
                         }
                     });
        EXPECT_EQ(shop.world.get("/soon").status, 200);
        Answer answer = shop.world.get("/late");
        EXPECT_EQ(answer.status, 200) << limits;
        EXPECT_EQ(answer.body, "late");
        shop.world.finish();
    }
}

TEST(Http2Upstream, an_endpoint_that_goes_while_it_is_connected_to_serves_those_who_wait) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop("http2", {.seed = seed});
        Http2App app(shop.world, "10.0.0.1:9090", answer_ok);
        Answer answer;
        shop.world.scope().spawn(&ask_once,
                                 &shop.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
        shop.world.run_for(std::chrono::microseconds(20 * seed));
        shop.world.withdraw("pod-shop-1");
        EXPECT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        EXPECT_TRUE(answer.status == 200 || answer.status == 503) << answer.status;
        EXPECT_LE(app.connections(), 1U) << "seed " << seed;
        shop.world.finish();
    }
}

TEST(Http2Upstream, a_caller_that_says_goaway_still_gets_its_answers) {
    Shop shop("http");
    App app(shop.world, "10.0.0.1:9090", [](const Request&, std::size_t) {
        return Reply{response(200, "late"), milliseconds(200)};
    });
    auto got = talk(shop.world, [](Http2Peer& peer) {
        ask(peer, "GET", "/");
        peer.session().goaway();
    });
    EXPECT_EQ(got.at(0).status, 200);
    EXPECT_EQ(got.at(0).body, "late");
    shop.world.finish();
}

// --- gRPC ---

std::vector<Field> call_fields(std::string_view timeout = {}) {
    std::vector<Field> fields = {{"content-type", "application/grpc+proto"}, {"te", "trailers"}};
    if (!timeout.empty()) {
        fields.push_back({"grpc-timeout", timeout});
    }
    return fields;
}

TEST(Grpc, a_call_passes_with_its_trailers_and_is_counted_as_grpc) {
    Shop shop("grpc");
    Http2App app(
        shop.world, "10.0.0.1:9090", [](Http2Peer& peer, h2::StreamId id, const auto& message) {
            peer.respond(id,
                         200,
                         {{"content-type", "application/grpc"}},
                         message.body + grpc_frame("two"),
                         {{"grpc-status", "5"}, {"grpc-message", "none"}});
        });
    auto got = talk(shop.world, [](Http2Peer& peer) {
        auto fields = call_fields();
        fields.push_back({"x-request-id", "call-1"});
        ask(peer, "POST", "/s/M", fields, grpc_frame("a") + grpc_frame(""));
    });
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].status, 200);
    EXPECT_EQ(got[0].trailers["grpc-status"], "5");
    EXPECT_EQ(got[0].trailers["grpc-message"], "none");
    EXPECT_EQ(got[0].body, grpc_frame("a") + grpc_frame("") + grpc_frame("two"));
    ASSERT_EQ(app.requests.size(), 1U);
    EXPECT_EQ(app.requests[0].fields["te"], "trailers");
    std::string text = telemetry::prometheus_text(shop.world.metrics, {}, {});
    EXPECT_NE(text.find("request_protocol=\"grpc\""), std::string::npos);
    EXPECT_NE(shop.world.explain("call-1").find("result     200 grpc-status 5"), std::string::npos)
        << shop.world.explain("call-1");
    EXPECT_NE(text.find("grpc_response_status=\"5\""), std::string::npos);
    auto line = [&](const std::string& name) {
        auto at = text.find("\n" + name + "{");
        return at == std::string::npos ? std::string()
                                       : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    };
    EXPECT_TRUE(line("istio_request_messages_total").ends_with("} 2"));
    EXPECT_TRUE(line("istio_response_messages_total").ends_with("} 3"));
    shop.world.finish();
}

TEST(Grpc, trailers_that_may_not_pass_are_left_out_and_the_status_stays) {
    Shop shop("grpc");
    Http2App app(
        shop.world, "10.0.0.1:9090", [](Http2Peer& peer, h2::StreamId id, const auto& message) {
            peer.respond(id,
                         200,
                         {{"content-type", "application/grpc"}, {"content-length", "6"}},
                         grpc_frame("x"),
                         {{"x-request-id", "of the app"}, {"grpc-status", "0"}, {"x-mine", "y"}});
        });
    auto got = talk(shop.world, [](Http2Peer& peer) {
        ask(peer, "POST", "/s/M", call_fields("100H"), grpc_frame("a"));
    });
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].body, grpc_frame("x"));
    EXPECT_EQ(got[0].trailers["grpc-status"], "0");
    EXPECT_EQ(got[0].trailers["x-mine"], "y");
    EXPECT_FALSE(got[0].trailers.contains("x-request-id"));
    EXPECT_EQ(app.requests.at(0).fields["grpc-timeout"], "360000S");
    shop.world.finish();
}

TEST(Grpc, an_answer_made_here_is_one_that_grpc_understands) {
    struct Case {
        const char* route;
        const char* status;
        const char* message;
    };
    const std::vector<Case> cases = {
        {"    fault: {abort: {httpStatus: 403, percentage: {value: 100}}}\n",
         "7",
         "fault filter abort"},
        {"    fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 100}}}\n",
         "5",
         "fault filter abort"},
        {"    retries: {attempts: 0}\n",  // nobody listens
         "14",
         nullptr},
    };
    for (const Case& one : cases) {
        Shop shop("grpc");
        shop.route(one.route);
        auto got = talk(shop.world, [](Http2Peer& peer) {
            ask(peer, "POST", "/s/M", call_fields(), grpc_frame("a"));
        });
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(got[0].status, 200) << one.route;
        EXPECT_EQ(got[0].fields["grpc-status"], one.status) << one.route;
        EXPECT_EQ(got[0].body, "");
        if (one.message != nullptr) {
            EXPECT_EQ(got[0].fields["grpc-message"], one.message);
        } else {
            EXPECT_NE(got[0].fields["grpc-message"], "");
        }
        shop.world.finish();
    }
}

TEST(Grpc, the_callers_timeout_is_kept_and_told_to_the_application) {
    struct Case {
        const char* route;
        const char* asked;
        int milliseconds;
    };
    for (const Case& one : {Case{"", "300m", 300},
                            Case{"    timeout: 0.1s\n", "2S", 100},
                            Case{"    timeout: 5s\n", "200m", 200}}) {
        Shop shop("grpc");
        shop.route(std::string("    retries: {attempts: 0}\n") + one.route);
        Http2App app(
            shop.world, "10.0.0.1:9090", [](Http2Peer&, h2::StreamId, const Http2Message&) {});
        Duration took{};
        auto got = talk(
            shop.world,
            [&](Http2Peer& peer) {
                ask(peer, "POST", "/s/M", call_fields(one.asked), grpc_frame("a"));
            },
            &took);
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(got[0].fields["grpc-status"], "14") << one.asked;
        EXPECT_GE(took, milliseconds(one.milliseconds));
        EXPECT_LT(took, milliseconds(one.milliseconds + 50));
        shop.world.finish();
    }
}

TEST(Grpc, a_status_in_the_head_is_retried_when_asked_for) {
    Shop shop("grpc");
    shop.route("    retries: {attempts: 2, retryOn: unavailable}\n");
    int failures = 1;
    Http2App app(shop.world, "10.0.0.1:9090", [&](Http2Peer& peer, h2::StreamId id, const auto&) {
        if (failures-- > 0) {
            peer.respond(
                id, 200, {{"content-type", "application/grpc"}, {"grpc-status", "14"}}, "");
        } else {
            peer.respond(id,
                         200,
                         {{"content-type", "application/grpc"}},
                         grpc_frame("x"),
                         {{"grpc-status", "0"}});
        }
    });
    auto got = talk(shop.world, [](Http2Peer& peer) {
        ask(peer, "POST", "/s/M", call_fields(), grpc_frame("a"));
    });
    EXPECT_EQ(got.at(0).trailers["grpc-status"], "0");
    EXPECT_EQ(app.requests.size(), 2U);
    EXPECT_EQ(app.requests.at(1).body, grpc_frame("a"));
    EXPECT_EQ(app.requests.at(1).fields["x-envoy-attempt-count"], "2");
    shop.world.finish();
}

}  // namespace
}  // namespace orlop::sim
