// HTTP/1.1 through the whole proxy: framing, keep-alive, what is passed on and what is refused.
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
    World world;
};

const std::string get_line = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";

// --- several requests on one connection ----------------------------------------------------------

Task<void>
ask_in_turn(World* world, std::vector<std::string> requests, std::vector<Answer>* answers) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    for (auto& request : requests) {
        bool head = request.starts_with("HEAD ");
        co_await peer.send(std::move(request));
        answers->push_back(
            co_await read_message(&peer, head ? Of::response_to_head : Of::response));
        if (!answers->back().complete) {
            co_return;
        }
    }
}

TEST(Http, keeps_both_connections_over_many_requests) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, "for " + request.line())};
        });
        std::vector<std::string> requests;
        for (int i = 0; i < 20; ++i) {
            requests.push_back("GET /" + std::to_string(i) + " HTTP/1.1\r\nhost: shop\r\n\r\n");
        }
        std::vector<Answer> answers;
        shop.world.scope().spawn(&ask_in_turn, &shop.world, requests, &answers);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        ASSERT_EQ(answers.size(), 20u) << "seed " << seed;
        for (std::size_t i = 0; i < 20; ++i) {
            EXPECT_EQ(answers[i].body, "for GET /" + std::to_string(i) + " HTTP/1.1");
        }
        EXPECT_EQ(app.connections, 1u);
        shop.world.finish();
    }
}

Task<void>
pipeline(World* world, std::string bytes, std::size_t count, std::vector<Answer>* answers) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(std::move(bytes));
    for (std::size_t i = 0; i < count; ++i) {
        answers->push_back(co_await read_message(&peer, Of::response));
    }
}

TEST(Http, answers_pipelined_requests_in_order_bodies_included) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, request.body + "|" + request.line())};
        });
        std::string bytes;
        for (int i = 0; i < 6; ++i) {
            std::string n = std::to_string(i);
            bytes += "POST /" + n + " HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nbody" + n;
            bytes += "POST /c" + n +
                     " HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n" +
                     "3\r\nchu\r\n4\r\nnks" + n + "\r\n0\r\n\r\n";
        }
        std::vector<Answer> answers;
        shop.world.scope().spawn(&pipeline, &shop.world, bytes, std::size_t{12}, &answers);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        ASSERT_EQ(answers.size(), 12u);
        for (std::size_t i = 0; i < 6; ++i) {
            std::string n = std::to_string(i);
            EXPECT_EQ(answers[2 * i].body, "body" + n + "|POST /" + n + " HTTP/1.1") << seed;
            EXPECT_EQ(answers[2 * i + 1].body, "chunks" + n + "|POST /c" + n + " HTTP/1.1") << seed;
        }
        shop.world.finish();
    }
}

// --- bodies and framing --------------------------------------------------------------------------

TEST(Http, passes_chunked_bodies_and_trailers_both_ways) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world,
                "10.0.0.1:9090",
                always({chunked(200, {"hello ", std::string(9000, 'x'), "end"}, "x-sum: 7\r\n")}));
        Answer answer = shop.world.ask("POST /up HTTP/1.1\r\nhost: shop\r\n"
                                       "transfer-encoding: chunked\r\n\r\n"
                                       "5\r\nabcde\r\n1;ext=1\r\nf\r\n0\r\nx-check: 1\r\n\r\n");
        EXPECT_EQ(answer.status, 200);
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(answer.body, "hello " + std::string(9000, 'x') + "end");
        EXPECT_EQ(answer.trailers, "x-sum: 7\r\n");
        ASSERT_EQ(app.requests.size(), 1u);
        EXPECT_EQ(app.requests[0].body, "abcdef");
        EXPECT_EQ(app.requests[0].trailers, "x-check: 1\r\n");
        EXPECT_EQ(app.requests[0].field("transfer-encoding"), "chunked");
        shop.world.finish();
    }
}

struct Bodyless {
    std::string method;
    std::string reply;
    int status;
};

TEST(Http, knows_which_answers_have_no_body) {
    for (const Bodyless& one : {
             Bodyless{"HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", 200},
             Bodyless{"HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200},
             Bodyless{"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204},
             Bodyless{"GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n", 304},
         }) {
        Shop shop;
        App app(shop.world, "10.0.0.1:9090", always({one.reply}));
        std::string line = one.method + " / HTTP/1.1\r\nhost: shop\r\n\r\n";
        std::vector<Answer> answers;
        shop.world.scope().spawn(
            &ask_in_turn, &shop.world, std::vector<std::string>{line, line, line}, &answers);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        ASSERT_EQ(answers.size(), 3u) << one.reply;
        EXPECT_EQ(answers[2].status, one.status) << one.reply;
        EXPECT_TRUE(answers[2].complete);
        EXPECT_EQ(app.connections, 1u) << one.reply;
        if (one.reply.find("1000") != std::string::npos) {
            EXPECT_EQ(answers[0].field("content-length"), "1000");
        }
        shop.world.finish();
    }
}

TEST(Http, an_answer_that_ends_with_its_connection_ends_ours_too) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        std::string body(30'000, 'z');
        App app(shop.world,
                "10.0.0.1:9090",
                always({"HTTP/1.1 200 OK\r\n\r\n" + body, {}, Reply::Then::close}));
        Answer answer = shop.world.ask(get_line);
        EXPECT_EQ(answer.body, body);
        EXPECT_TRUE(answer.complete) << "seed " << seed;
        EXPECT_EQ(answer.field("connection"), "close");
        shop.world.finish();
    }
}

TEST(Http, a_truncated_answer_is_never_a_success) {
    struct Cut {
        std::string reply;
        Reply::Then then;
    };
    for (const Cut& cut : {
             Cut{"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", Reply::Then::close},
             Cut{"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", Reply::Then::reset},
             Cut{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                 Reply::Then::close},
             Cut{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
                 Reply::Then::close},
             Cut{"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloBAD",
                 Reply::Then::keep},
             Cut{"HTTP/1.1 200 OK\r\n\r\nuntil close", Reply::Then::reset},
         }) {
        for (std::uint64_t seed = 1; seed <= 10; ++seed) {
            Shop shop({.seed = seed});
            App app(shop.world, "10.0.0.1:9090", [&](const Request&, std::size_t) {
                return Reply{cut.reply, {}, cut.then};
            });
            Answer answer = shop.world.ask(get_line);
            EXPECT_FALSE(answer.complete && answer.status == 200)
                << cut.reply << " seed " << seed << "\n"
                << answer.head << answer.body;
            shop.world.finish();
        }
    }
}

TEST(Http, big_bodies_pass_whole_through_small_buffers) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        Shop shop({.seed = seed, .pipe_bytes_min = 1024, .pipe_bytes_max = 8192});
        std::string big(1'500'000, '\0');
        for (std::size_t i = 0; i < big.size(); ++i) {
            big[i] = static_cast<char>('a' + i * 31 % 26);
        }
        App app(shop.world, "10.0.0.1:9090", [](const Request& request, std::size_t) {
            return Reply{response(200, request.body)};
        });
        Answer answer = shop.world.ask("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: " +
                                       std::to_string(big.size()) + "\r\n\r\n" + big);
        EXPECT_TRUE(answer.complete);
        EXPECT_TRUE(answer.body == big) << "seed " << seed;
        shop.world.finish();
    }
}

Task<void> read_slowly(World* world, std::size_t* got, bool* whole) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(get_line);
    std::string head = co_await peer.receive_until("\r\n\r\n");
    while (!peer.ended() && peer.error() == 0) {
        std::string some = co_await peer.receive_some();
        *got += some.size();
        co_await Sleep(world->loop, milliseconds(5));
        if (*got == 400'000) {
            break;
        }
    }
    *whole = *got == 400'000;
}

TEST(Http, a_slow_reader_holds_the_upstream_back_instead_of_filling_memory) {
    Shop shop({.pipe_bytes_min = 4096, .pipe_bytes_max = 4096});
    App app(shop.world, "10.0.0.1:9090", always({response(200, std::string(400'000, 'q'))}));
    std::size_t got = 0;
    bool whole = false;
    shop.world.scope().spawn(&read_slowly, &shop.world, &got, &whole);
    std::uint32_t most = 0;
    while (shop.world.scope().live() != 0) {
        shop.world.run_for(milliseconds(1));
        most = std::max(most, static_cast<std::uint32_t>(shop.world.network.lent_buffers()));
    }
    EXPECT_TRUE(whole);
    EXPECT_LE(most, 4u);
    shop.world.finish();
}

// --- Expect, upgrade, HTTP/1.0 -------------------------------------------------------------------

Task<void> expect_client(World* world, Answer* answer, std::vector<std::string>* interim) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send("PUT /f HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n"
                       "content-length: 6\r\n\r\n");
    interim->push_back(co_await peer.receive_until("\r\n\r\n"));
    co_await peer.send("upload");
    *answer = co_await read_message(&peer, Of::response, interim);
}

Task<void> expect_server(App* app, ScriptedPeer* peer, std::size_t) {
    Request request;
    request.head = co_await peer->receive_until("\r\n\r\n");
    co_await peer->send("HTTP/1.1 100 Continue\r\n\r\n");
    request.body = co_await peer->receive_exactly(6);
    app->requests.push_back(request);
    co_await peer->send("HTTP/1.1 103 Early Hints\r\nlink: </s.css>\r\n\r\n" +
                        response(200, "done"));
    (void)co_await peer->receive_all();
}

TEST(Http, passes_100_continue_and_early_hints) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", &expect_server);
        Answer answer;
        std::vector<std::string> interim;
        shop.world.scope().spawn(&expect_client, &shop.world, &answer, &interim);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        ASSERT_EQ(interim.size(), 2u) << "seed " << seed;
        EXPECT_TRUE(interim[0].starts_with("HTTP/1.1 100"));
        EXPECT_TRUE(interim[1].starts_with("HTTP/1.1 103"));
        EXPECT_EQ(answer.body, "done");
        ASSERT_EQ(app.requests.size(), 1u);
        EXPECT_EQ(app.requests[0].body, "upload");
        shop.world.finish();
    }
}

TEST(Http, does_not_bother_a_client_with_a_100_it_did_not_ask_for) {
    Shop shop;
    App app(shop.world,
            "10.0.0.1:9090",
            always({"HTTP/1.1 100 Continue\r\n\r\n" + response(200, "x")}));
    std::vector<std::string> interim;
    Answer answer = shop.world.ask(get_line);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.head.find("100"), std::string::npos);
    shop.world.finish();
}

Task<void> upgrade_client(World* world, std::string request, std::string* got) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(std::move(request));
    std::string head = co_await peer.receive_until("\r\n\r\n");
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101")) << head;
    co_await peer.send("ping");
    peer.end_sending();
    *got = co_await peer.receive_all();
}

Task<void> upgrade_server(App* app, ScriptedPeer* peer, std::size_t) {
    Request request;
    request.head = co_await peer->receive_until("\r\n\r\n");
    if (!request.head.empty()) {
        app->requests.push_back(request);
        std::size_t length =
            request.count("content-length") ? std::stoul(request.field("content-length")) : 0;
        (void)co_await peer->receive_exactly(length);
        co_await peer->send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
                            "upgrade: websocket\r\n\r\nearly");
        std::string bytes = co_await peer->receive_all();
        co_await peer->send("pong:" + bytes);
    }
}

TEST(Http, an_upgrade_becomes_bytes_and_no_connection_returns_to_a_pool) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", &upgrade_server);
        std::string request = "GET /ws HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\n"
                              "upgrade: websocket\r\n\r\n";
        std::string got;
        std::string again;
        shop.world.scope().spawn(&upgrade_client, &shop.world, request, &got);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        shop.world.scope().spawn(&upgrade_client, &shop.world, request, &again);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done);
        EXPECT_EQ(got, "earlypong:ping");
        EXPECT_EQ(again, got);
        EXPECT_EQ(app.connections, 2u);
        shop.world.finish();
    }
}

TEST(Http, the_body_of_an_upgrade_request_reaches_the_application_once) {
    Shop shop({.short_read = 0});
    App app(shop.world, "10.0.0.1:9090", &upgrade_server);
    std::string got;
    shop.world.scope().spawn(
        &upgrade_client,
        &shop.world,
        std::string("POST /ws HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\n"
                    "upgrade: websocket\r\ncontent-length: 4\r\n\r\nBODY"),
        &got);
    ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
    EXPECT_EQ(got, "earlypong:ping");
    shop.world.finish();
}

TEST(Http, asks_http_1_0_clients_to_upgrade) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    Answer answer = shop.world.ask("GET / HTTP/1.0\r\nhost: shop\r\n\r\n");
    EXPECT_EQ(answer.status, 426);
    EXPECT_TRUE(answer.complete);
    EXPECT_TRUE(app.requests.empty());
    shop.world.finish();
}

// --- refusals ------------------------------------------------------------------------------------

Task<void> ask_and_see_the_end(World* world, std::string bytes, Answer* answer, bool* closed) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    co_await peer.send(std::move(bytes));
    *answer = co_await read_message(&peer, Of::response);
    std::string rest = co_await peer.receive_all();
    EXPECT_EQ(rest, "");
    *closed = peer.ended();
}

TEST(Http, every_ambiguous_framing_is_400_and_an_orderly_close) {
    const std::string host = "host: shop\r\n";
    for (const std::string& request : {
             "POST / HTTP/1.1\r\n" + host +
                 "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "content-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
             "POST / HTTP/1.1\r\n" + host + "content-length: +4\r\n\r\nabcd",
             "POST / HTTP/1.1\r\n" + host + "content-length: 4, 4\r\n\r\nabcd",
             "POST / HTTP/1.1\r\n" + host + "content-length : 4\r\n\r\nabcd",
             "POST / HTTP/1.1\r\n" + host + "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "x-a: b\r\n folded\r\ncontent-length: 4\r\n\r\nabcd",
             std::string("GET / HTTP/1.1\nhost: shop\n\n"),
             "GET / HTTP/1.1\r\n" + host + host + "\r\n",
             std::string("GET / HTTP/1.1\r\n\r\n"),
         }) {
        for (std::uint64_t seed = 1; seed <= 5; ++seed) {
            Shop shop({.seed = seed});
            App app(shop.world, "10.0.0.1:9090", always({}));
            Answer answer;
            bool closed = false;
            shop.world.scope().spawn(&ask_and_see_the_end,
                                     &shop.world,
                                     request + "GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n",
                                     &answer,
                                     &closed);
            ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
            EXPECT_TRUE(answer.status == 400 || answer.status == 501) << request << answer.head;
            EXPECT_TRUE(answer.complete) << "the answer was lost: " << request << " seed " << seed;
            EXPECT_TRUE(closed) << request;
            EXPECT_TRUE(app.requests.empty());
            shop.world.finish();
        }
    }
}

TEST(Http, a_bad_chunk_after_the_head_went_on_is_400_and_cuts_the_upstream) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        App app(shop.world, "10.0.0.1:9090", always({}));
        Answer answer;
        bool closed = false;
        shop.world.scope().spawn(&ask_and_see_the_end,
                                 &shop.world,
                                 std::string("POST / HTTP/1.1\r\nhost: shop\r\n"
                                             "transfer-encoding: chunked\r\n\r\n"
                                             "3\r\nabc\r\nzz\r\nabc\r\n"),
                                 &answer,
                                 &closed);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        EXPECT_EQ(answer.status, 400);
        EXPECT_TRUE(answer.complete) << "seed " << seed;
        EXPECT_TRUE(app.requests.empty());
        shop.world.finish();
    }
}

TEST(Http, an_answer_of_ours_reaches_a_client_that_is_still_uploading) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Shop shop({.seed = seed});
        shop.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {prefix: /known}}]
    route: [{destination: {host: shop}}]
)");
        Answer answer;
        bool closed = false;
        shop.world.scope().spawn(&ask_and_see_the_end,
                                 &shop.world,
                                 "POST /unknown HTTP/1.1\r\nhost: shop\r\nx-request-id: test\r\n"
                                 "content-length: 50000\r\n\r\n" +
                                     std::string(50'000, 'u'),
                                 &answer,
                                 &closed);
        ASSERT_EQ(shop.world.settle(), FakeEnd::done) << shop.world.network.describe();
        EXPECT_EQ(answer.status, 404) << "seed " << seed;
        EXPECT_TRUE(answer.complete) << "seed " << seed;
        EXPECT_EQ(shop.world.flags("test"), "NR");
        EXPECT_EQ(shop.world.details("test"), "route_not_found");
        shop.world.finish();
    }
}

TEST(Http, responses_that_break_http_are_502) {
    for (const std::string& reply : {
             std::string("nonsense\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
             std::string(
                 "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"),
             std::string(
                 "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
         }) {
        Shop shop;
        App app(shop.world, "10.0.0.1:9090", always({reply}));
        Answer answer = shop.world.get();
        EXPECT_EQ(answer.status, 502) << reply;
        EXPECT_EQ(shop.world.flags("test"), "UPE") << reply;
        EXPECT_EQ(answer.body,
                  "upstream connect error or disconnect/reset before headers. "
                  "reset reason: protocol error");
        shop.world.finish();
    }
}

TEST(Http, strips_commands_and_identities_a_stranger_could_forge) {
    Shop shop;
    App app(shop.world, "10.0.0.1:9090", always({}));
    Answer answer = shop.world.get("/",
                                   "x-envoy-max-retries: 9\r\nx-forwarded-client-cert: me\r\n"
                                   "x-envoy-upstream-rq-timeout-ms: 1\r\nx-mine: kept\r\n");
    EXPECT_EQ(answer.status, 200);
    ASSERT_EQ(app.requests.size(), 1u);
    EXPECT_EQ(app.requests[0].count("x-envoy-max-retries"), 0u);
    EXPECT_EQ(app.requests[0].count("x-forwarded-client-cert"), 0u);
    EXPECT_EQ(app.requests[0].count("x-envoy-upstream-rq-timeout-ms"), 0u);
    EXPECT_EQ(app.requests[0].field("x-mine"), "kept");
    EXPECT_EQ(app.requests[0].field("x-request-id"), "test");
    EXPECT_EQ(app.requests[0].field("x-envoy-attempt-count"), "1");
    shop.world.finish();
}

}  // namespace
}  // namespace orlop::sim
