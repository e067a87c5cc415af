// HBONE between two nodes over real TLS on the fake network.
#include "daemon/proxy/tunnel.h"
#include "tests/sim/world.h"

namespace orlop::sim {
namespace {

const SpiffeId client_id{"cluster.local", "default", "client"};
const SpiffeId shop_id{"cluster.local", "default", "shop"};

App::AnswerFor always(Reply reply) {
    return [reply](const Request&, std::size_t) { return reply; };
}

// The caller's node n1 and the callee's n2, which has confirmed the capture of shop-1.
struct Pair {
    explicit Pair(FakeOptions options = {}, const std::string& port_name = "http")
        : world(options) {
        world.add_node("n2");
        world.service("shop", 1, port_name);
        world.pod("shop-1", "10.0.0.1", "shop", "n2", "ambient.istio.io/redirection: enabled");
        world.give_identity(world.node(0), client_id);
        world.give_identity(world.node(1), shop_id);
        world.open_callee(world.node(1), "shop-1", "10.0.0.1");
    }
    std::uint64_t handshakes() {
        return world.metrics.core(0).value(telemetry::CoreCounter::handshakes);
    }
    std::int64_t tunnels() {
        return world.metrics.core(1).value(telemetry::CoreGauge::tunnels_active);
    }
    World world;
};

TEST(Hbone, carries_requests_of_many_callers_over_one_tunnel) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Pair pair({.seed = seed});
        App app(pair.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, request.body + request.line())};
        });
        std::vector<Answer> answers(40);
        for (std::size_t i = 0; i < answers.size(); ++i) {
            pair.world.scope().spawn(&ask_once,
                                     &pair.world,
                                     "POST /" + std::to_string(i) +
                                         " HTTP/1.1\r\nhost: shop\r\ncontent-length: 4\r\n\r\nbody",
                                     std::string("10.96.0.1:80"),
                                     &answers[i]);
        }
        ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
        for (std::size_t i = 0; i < answers.size(); ++i) {
            EXPECT_EQ(answers[i].body, "bodyPOST /" + std::to_string(i) + " HTTP/1.1");
        }
        EXPECT_EQ(pair.handshakes(), 1u) << "seed " << seed;
        EXPECT_EQ(pair.world.metrics.core(0).value(telemetry::CoreCounter::path_hbone), 40u);
        pair.world.finish();
    }
}

TEST(Hbone, more_callers_than_a_tunnel_carries_get_a_second_one) {
    Pair pair({.backlog_max = 1000});
    App app(pair.world, "10.0.0.1:9090", always({response(200, "x"), seconds(1)}));
    std::vector<Answer> answers(150);
    for (auto& answer : answers) {
        pair.world.scope().spawn(&ask_once,
                                 &pair.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
    }
    ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
    for (auto& answer : answers) {
        EXPECT_EQ(answer.status, 200);
    }
    EXPECT_GE(pair.handshakes(), 2u);
    EXPECT_LE(pair.handshakes(), 3u);
    pair.world.finish();
}

Task<void> read_late(World* world, std::size_t wanted, std::size_t* got) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    co_await Sleep(world->loop, seconds(2));  // everything that fits has come as far as it can
    Answer answer = co_await read_message(&peer, Of::response);
    *got = answer.complete ? answer.body.size() : 0;
}

TEST(Hbone, a_slow_reader_loses_nothing_of_a_big_answer) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        Pair pair({.seed = seed, .pipe_bytes_min = 1024, .pipe_bytes_max = 16'384});
        App app(pair.world, "10.0.0.1:9090", always({response(200, std::string(900'000, 'v'))}));
        std::size_t got = 0;
        pair.world.scope().spawn(&read_late, &pair.world, std::size_t{900'000}, &got);
        ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
        EXPECT_EQ(got, 900'000u) << "seed " << seed;
        pair.world.finish();
    }
}

TEST(Hbone, callers_that_leave_early_do_not_starve_the_tunnel) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        Pair pair({.seed = seed, .pipe_bytes_min = 1024, .pipe_bytes_max = 16'384});
        App app(pair.world, "10.0.0.1:9090", always({response(200, std::string(600'000, 'v'))}));
        struct Leave {
            static Task<void> early(World* world) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
                co_await peer.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
                (void)co_await peer.receive_until("\r\n\r\n");
                co_await Sleep(world->loop, milliseconds(300));
                peer.reset();
            }
        };
        for (int round = 0; round < 12; ++round) {
            pair.world.scope().spawn(&Leave::early, &pair.world);
            pair.world.scope().spawn(&Leave::early, &pair.world);
            ASSERT_EQ(pair.world.settle(), FakeEnd::done);
        }
        Answer answer = pair.world.get();
        EXPECT_EQ(answer.body.size(), 600'000u) << "the connection's window has leaked away";
        EXPECT_EQ(pair.handshakes(), 1u);
        pair.world.finish();
    }
}

Task<void> upload_and_half_close(World* world, std::string bytes, std::string* got, bool* ended) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(std::move(bytes));
    peer.end_sending();
    *got = co_await peer.receive_all();
    *ended = peer.ended();
}

Task<void> count_then_answer(App* app, ScriptedPeer* peer, std::size_t) {
    std::string all = co_await peer->receive_all();
    co_await Sleep(app->world().loop, milliseconds(50));
    co_await peer->send(std::to_string(all.size()) + (peer->ended() ? " whole" : " cut"));
}

TEST(Hbone, passes_bulk_bytes_and_a_half_close) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Pair pair({.seed = seed}, "tcp");
        App app(pair.world, "10.0.0.1:9090", &count_then_answer);
        std::string got;
        bool ended = false;
        pair.world.scope().spawn(
            &upload_and_half_close, &pair.world, std::string(700'000, 'u'), &got, &ended);
        ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
        EXPECT_EQ(got, "700000 whole") << "seed " << seed;
        EXPECT_TRUE(ended);
        pair.world.finish();
    }
}

TEST(Hbone, a_reset_of_the_application_is_a_reset_for_the_caller) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Pair pair({.seed = seed}, "tcp");
        struct Cut {
            static Task<void> serve(App*, ScriptedPeer* peer, std::size_t) {
                (void)co_await peer->receive_some();
                peer->reset();
            }
        };
        App app(pair.world, "10.0.0.1:9090", &Cut::serve);
        std::string got;
        bool ended = true;
        pair.world.scope().spawn(
            &upload_and_half_close, &pair.world, std::string(90'000, 'u'), &got, &ended);
        ASSERT_EQ(pair.world.settle(), FakeEnd::done);
        EXPECT_FALSE(ended) << "seed " << seed;
        pair.world.finish();
    }
}

TEST(Hbone, an_application_that_refuses_is_503) {
    Pair pair;
    Answer answer = pair.world.get();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(pair.world.flags("test"), "UF,URX") << pair.world.explain("test");
    pair.world.finish();
}

TEST(Hbone, without_a_certificate_there_is_no_service) {
    for (std::size_t node : {0, 1}) {
        Pair pair;
        App app(pair.world, "10.0.0.1:9090", always({}));
        pair.world.node(node).core->remove_identity(node == 0 ? client_id : shop_id);
        EXPECT_EQ(pair.world.get().status, 503);
        EXPECT_TRUE(app.requests.empty());
        pair.world.finish();
    }
}

TEST(Hbone, a_server_of_another_identity_is_refused) {
    Pair pair;
    App app(pair.world, "10.0.0.1:9090", always({}));
    // The callee's node shows a good certificate, but of another service account.
    const SpiffeId other{"cluster.local", "default", "other"};
    pair.world.give_identity(pair.world.node(1), other);
    pair.world.node(1).core->set_identity(shop_id, pair.world.node(1).core->identity(other));
    EXPECT_EQ(pair.world.get().status, 503);
    EXPECT_TRUE(app.requests.empty());
    EXPECT_NE(pair.world.explain("test").find("other"), std::string::npos)
        << pair.world.explain("test");
    pair.world.finish();
}

TEST(Hbone, waiting_callers_share_one_failure_instead_of_queueing_for_their_own) {
    Pair pair({.backlog_max = 3});
    pair.world.apply("dr", R"(
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec: {host: shop, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 2s}}}}
)");
    pair.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec: {hosts: [shop], http: [{route: [{destination: {host: shop}}], retries: {attempts: 0}}]}
)");
    // 15008 is open but nobody takes connections: the node hangs.
    pair.world.node(1).core->close_pod("uid-shop-1");
    pair.world.run_for(milliseconds(10));
    int hanging = pair.world.network.listen(*SocketAddress::parse("10.0.0.1:15008"));
    std::vector<Answer> answers(20);
    for (auto& answer : answers) {
        pair.world.scope().spawn(&ask_once,
                                 &pair.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
        pair.world.run_for(milliseconds(10));
    }
    ASSERT_EQ(pair.world.settle(), FakeEnd::done);
    EXPECT_LT(pair.world.elapsed(), seconds(5)) << "callers waited behind one another";
    for (auto& answer : answers) {
        EXPECT_EQ(answer.status, 503);
    }
    pair.world.run_for(seconds(15));  // the handshake that hangs has its own bound
    runtime::ScriptedListener listener(pair.world.loop, hanging);
    struct Stop {
        static Task<void> run(runtime::ScriptedListener* listener) { co_await listener->stop(); }
    };
    pair.world.scope().spawn(&Stop::run, &listener);
    ASSERT_EQ(pair.world.settle(), FakeEnd::done);
    pair.world.finish();
}

TEST(Hbone, the_routes_timeout_ends_a_connect_nobody_answers) {
    Pair pair({}, "http");
    pair.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec: {hosts: [shop], http: [{route: [{destination: {host: shop}}], timeout: 1s}]}
)");
    // The application's backlog is full: the callee's node connects for ever.
    Pair full({.backlog_max = 1}, "http");
    full.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec: {hosts: [shop], http: [{route: [{destination: {host: shop}}], timeout: 1s}]}
)");
    int hanging = full.world.network.listen(*SocketAddress::parse("10.0.0.1:9090"));
    ScriptedPeer occupant(full.world.loop, full.world.network.socket());
    struct Occupy {
        static Task<void> run(ScriptedPeer* peer) {
            co_await peer->connect(*SocketAddress::parse("10.0.0.1:9090"));
        }
        static Task<void> stop(runtime::ScriptedListener* listener) { co_await listener->stop(); }
    };
    full.world.scope().spawn(&Occupy::run, &occupant);
    ASSERT_EQ(full.world.settle(), FakeEnd::done);
    Instant begun = full.world.network.virtual_now();
    Answer answer = full.world.get();
    EXPECT_EQ(answer.status, 504);
    EXPECT_LT(full.world.network.virtual_now() - begun, milliseconds(1100));
    full.world.run_for(seconds(11));
    occupant.close();
    runtime::ScriptedListener listener(full.world.loop, hanging);
    full.world.scope().spawn(&Occupy::stop, &listener);
    ASSERT_EQ(full.world.settle(), FakeEnd::done);
    full.world.finish();
    pair.world.finish();
}

// --- ends of tunnels -----------------------------------------------------------------------------

TEST(Hbone, a_tunnel_cut_in_mid_answer_never_looks_whole) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Pair pair({.seed = seed});
        App app(pair.world, "10.0.0.1:9090", always({response(200, std::string(400'000, 'c'))}));
        Answer answer;
        pair.world.scope().spawn(&ask_once,
                                 &pair.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
        pair.world.run_until([&] { return app.requests.size() == 1; }, seconds(5));
        pair.world.run_for(milliseconds(seed));
        pair.world.node(1).core->close_pod("uid-shop-1");  // the callee's side is cut
        ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
        EXPECT_TRUE(answer.body.size() == 400'000 || !answer.complete || answer.status == 503)
            << "seed " << seed << " " << answer.status << " " << answer.body.size();
        EXPECT_TRUE(pair.world.run_until([&] { return pair.tunnels() == 0; }, seconds(5)));
        pair.world.finish();
    }
}

TEST(Hbone, a_draining_callee_says_goaway_and_the_next_request_goes_elsewhere) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Pair pair({.seed = seed});
        App app(pair.world, "10.0.0.1:9090", always({response(200, "x"), milliseconds(500)}));
        EXPECT_EQ(pair.world.get().status, 200);
        Answer answer;
        pair.world.scope().spawn(&ask_once,
                                 &pair.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
        pair.world.run_for(milliseconds(50));
        bool drained = false;
        pair.world.node(1).core->drain([&] { drained = true; });
        ASSERT_EQ(pair.world.settle(), FakeEnd::done);
        EXPECT_EQ(answer.status, 200) << "a stream in flight ends in order, seed " << seed;
        EXPECT_TRUE(pair.world.run_until([&] { return drained; }, seconds(10)))
            << "the tunnel outlives its GOAWAY\n"
            << pair.world.network.describe();
        EXPECT_EQ(pair.tunnels(), 0);
        pair.world.finish();
    }
}

TEST(Hbone, an_idle_tunnel_ends_by_itself) {
    Pair pair;
    App app(pair.world, "10.0.0.1:9090", always({}));
    EXPECT_EQ(pair.world.get().status, 200);
    EXPECT_EQ(pair.tunnels(), 1);
    EXPECT_TRUE(pair.world.run_until([&] { return pair.tunnels() == 0; }, minutes(80)))
        << "idle connections or tunnels stay for ever";
    EXPECT_EQ(pair.world.get().status, 200);
    pair.world.finish();
}

TEST(Hbone, a_caller_pod_that_leaves_while_its_tunnel_is_being_made_leaves_nothing) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        Pair pair({.seed = seed});
        App app(pair.world, "10.0.0.1:9090", always({}));
        Answer answer;
        pair.world.scope().spawn(&ask_once,
                                 &pair.world,
                                 std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                                 std::string("10.96.0.1:80"),
                                 &answer);
        pair.world.run_for(std::chrono::microseconds(seed * 400));
        pair.world.node(0).core->close_pod("uid-client");
        ASSERT_EQ(pair.world.settle(), FakeEnd::done);
        EXPECT_TRUE(pair.world.run_until(
            [&] { return pair.world.node(0).core->scope().live() == 0 && pair.tunnels() == 0; },
            seconds(15)))
            << "seed " << seed << "\n"
            << pair.world.network.describe();
        pair.world.finish();
    }
}

TEST(Hbone, a_pod_that_is_gone_from_the_snapshot_ends_its_tunnels) {
    Pair pair;
    App app(pair.world, "10.0.0.1:9090", always({response(200, "x"), minutes(5)}));
    Answer answer;
    pair.world.scope().spawn(&ask_once,
                             &pair.world,
                             std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                             std::string("10.96.0.1:80"),
                             &answer);
    pair.world.run_for(milliseconds(100));
    EXPECT_EQ(pair.tunnels(), 1);
    pair.world.withdraw("pod-shop-1");
    EXPECT_TRUE(pair.world.run_until([&] { return pair.tunnels() == 0; }, seconds(5)));
    ASSERT_EQ(pair.world.settle(), FakeEnd::done);
    EXPECT_FALSE(answer.complete && answer.status == 200);
    pair.world.finish();
}

// --- foreign peers -------------------------------------------------------------------------------

// A hand-made HTTP/2 client with a good certificate.
struct Foreign final : h2::Handler {
    void on_response(h2::StreamId, const h2::ResponseEvent& response) override {
        status = response.status;
    }
    void on_data(h2::StreamId id, std::span<const std::uint8_t> data) override {
        bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
        session->consume(id, data.size());
    }
    void on_stream_end(h2::StreamId) override { over = true; }
    void on_closed(h2::StreamId) override { over = true; }
    void on_reset(h2::StreamId, h2::ErrorCode) override { over = true; }
    void on_writable(h2::StreamId) override {}
    std::unique_ptr<h2::Session> session;
    std::uint16_t status = 0;
    std::string bytes;
    bool over = false;

    static Task<void>
    pump(Foreign* self, net::TlsStream* tls, std::string authority, std::string payload) {
        auto id = self->session->open_connect_stream(authority, {});
        EXPECT_TRUE(id);
        bool sent = payload.empty();
        while (!self->over) {
            std::vector<std::uint8_t> ready;
            while (self->session->take_output(ready, 8192), !ready.empty()) {
                auto written = co_await tls->write(
                    std::string_view(reinterpret_cast<const char*>(ready.data()), ready.size()));
                if (!written) {
                    co_return;
                }
            }
            if (!sent && self->status == 200) {
                sent = true;
                (void)self->session->write(*id, payload);
                self->session->end(*id);
                continue;
            }
            auto arrived = co_await tls->more();
            if (!arrived || *arrived == 0) {
                break;
            }
            std::string_view input = tls->input();
            (void)self->session->feed(
                {reinterpret_cast<const std::uint8_t*>(input.data()), input.size()},
                tls->loop().now());
            tls->consume(input.size());
        }
    }
    static Task<void> run(Foreign* self,
                          World* world,
                          net::TlsIdentityPtr identity,
                          std::string authority,
                          std::string payload) {
        auto tcp = std::make_unique<net::TcpStream>(world->loop, world->network.socket());
        runtime::Operation operation;
        operation.code = runtime::OpCode::connect;
        operation.fd = tcp->fd();
        operation.address_length =
            SocketAddress::parse("10.0.0.1:15008")->to_sockaddr(operation.address);
        EXPECT_EQ(co_await runtime::Await(world->loop, operation), 0);
        auto tls = co_await net::tls_connect(std::move(tcp), *identity, shop_id, "");
        EXPECT_TRUE(tls);
        if (tls) {
            self->session = h2::Session::create(h2::Role::client, *self, {}).value();
            co_await pump(self, tls->get(), authority, payload);
            co_await (*tls)->close(net::Closing::orderly);
        }
    }
};

TEST(Hbone, a_foreign_client_with_a_certificate_reaches_the_pod_and_nothing_else) {
    struct Case {
        std::string authority;
        std::uint16_t status;
    };
    for (const Case& one : {
             Case{"10.0.0.1:9090", 200},
             Case{"10.0.0.1:9999", 503},  // nobody listens
             Case{"10.0.0.2:9090", 400},  // not this pod
             Case{"127.0.0.1:9090", 400},
             Case{"shop.default:9090", 400},  // a name is no address
         }) {
        Pair pair;
        App app(pair.world, "10.0.0.1:9090", &count_then_answer);
        Foreign foreign;
        pair.world.scope().spawn(&Foreign::run,
                                 &foreign,
                                 &pair.world,
                                 pair.world.node(0).core->identity(client_id),
                                 one.authority,
                                 std::string("hello"));
        ASSERT_EQ(pair.world.settle(), FakeEnd::done) << pair.world.network.describe();
        EXPECT_EQ(foreign.status, one.status) << one.authority;
        if (one.status == 200) {
            EXPECT_EQ(foreign.bytes, "5 whole");
        }
        pair.world.finish();
    }
}

TEST(Hbone, plaintext_and_silence_on_15008_get_nothing) {
    for (const std::string& bytes :
         {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string()}) {
        Pair pair;
        struct Stranger {
            static Task<void> run(World* world, std::string bytes, std::string* got) {
                ScriptedPeer peer(world->loop, world->network.socket());
                co_await peer.connect(*SocketAddress::parse("10.0.0.1:15008"));
                if (!bytes.empty()) {
                    co_await peer.send(std::move(bytes));
                }
                *got = co_await peer.receive_all();
            }
        };
        std::string got;
        pair.world.scope().spawn(&Stranger::run, &pair.world, bytes, &got);
        ASSERT_EQ(pair.world.settle(seconds(30)), FakeEnd::done);
        EXPECT_EQ(got.find("HTTP"), std::string::npos);
        EXPECT_EQ(pair.world.metrics.core(1).value(telemetry::CoreCounter::handshakes_failed), 1u);
        pair.world.finish();
    }
}

}  // namespace
}  // namespace orlop::sim
