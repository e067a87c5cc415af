// The admin server on the seeded fake ring: bytes arrive cut anywhere.
#include "daemon/admin/http_server.h"
#include "daemon/base/limits.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/fake_peer.h"

#include <gtest/gtest.h>

namespace orlop::admin {
namespace {

using runtime::ScriptedPeer;
using runtime::Task;

class Echo final : public RequestHandler {
public:
    Task<Response> handle(const Request& request) override {
        ++requests;
        co_return Response{200,
                           request.method + " " + request.path + " x=" + request.parameter("x") +
                               " port=" + std::to_string(request.local_port) +
                               " body=" + std::to_string(request.body.size()) + ":" +
                               request.body.substr(0, 20)};
    }
    int requests = 0;
};

struct World {
    explicit World(std::uint64_t seed) {
        auto fake = std::make_unique<runtime::FakeBackend>(runtime::FakeOptions{.seed = seed});
        network = fake.get();
        loop = std::make_unique<runtime::Loop>(std::move(fake));
        scope = std::make_unique<runtime::Scope>(*loop);
        server = std::make_unique<HttpServer>(*loop, *scope, echo);
        listener = std::make_unique<runtime::ScriptedListener>(
            *loop, network->listen(*SocketAddress::parse("127.0.0.1:15020")));
        scope->spawn(&World::accept_one, this);
    }
    static Task<void> accept_one(World* world) {
        int fd = co_await world->listener->accept();
        world->server->serve(fd);
        co_await world->listener->stop();
    }
    static Task<void> talk(World* world, std::string bytes) {
        ScriptedPeer peer(*world->loop, world->network->socket());
        (void)co_await peer.connect(*SocketAddress::parse("127.0.0.1:15020"));
        (void)co_await peer.send(std::move(bytes));
        world->answer = co_await peer.receive_all();
    }
    std::string exchange(const std::string& bytes) {
        scope->spawn(&World::talk, this, bytes);
        auto end = runtime::run_until(
            *loop, *network, [this] { return scope->live() == 0; }, std::chrono::minutes(10));
        EXPECT_EQ(end, runtime::FakeEnd::done) << network->describe();
        return answer;
    }

    Echo echo;
    runtime::FakeBackend* network;
    std::unique_ptr<runtime::Loop> loop;
    std::unique_ptr<runtime::Scope> scope;
    std::unique_ptr<HttpServer> server;
    std::unique_ptr<runtime::ScriptedListener> listener;
    std::string answer;
};

TEST(HttpServer, answers_requests_of_one_connection_in_order) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        World world(seed);
        std::string answer = world.exchange(
            "GET /a?x=1%202+3 HTTP/1.1\r\nhost: h\r\n\r\n"
            "POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"
            "POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            "3\r\nabc\r\n0\r\n\r\n");
        EXPECT_EQ(world.echo.requests, 3) << seed;
        EXPECT_NE(answer.find("GET /a x=1 2 3 port=15020"), std::string::npos) << seed << answer;
        EXPECT_NE(answer.find("POST /b x= port=15020 body=5:hello"), std::string::npos) << seed;
        EXPECT_NE(answer.find("POST /c x= port=15020 body=3:abc"), std::string::npos) << seed;
    }
}

TEST(HttpServer, refuses_what_is_no_http) {
    for (const char* bytes : {"nonsense\r\n\r\n",
                              "GET / HTTP/1.1\r\n\r\n",
                              "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n"
                              "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"}) {
        World world(7);
        std::string answer = world.exchange(bytes);
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << bytes << answer;
        EXPECT_EQ(world.echo.requests, 0) << bytes;
    }
}

TEST(HttpServer, refuses_bodies_beyond_the_bound) {
    World world(3);
    std::string answer =
        world.exchange("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: " +
                       std::to_string(limits::admin_request_bytes_max + 1) + "\r\n\r\n" +
                       std::string(limits::admin_request_bytes_max + 1, 'x'));
    EXPECT_EQ(world.echo.requests, 0);
}

TEST(HttpServer, lets_silent_connections_go) {
    World world(5);
    EXPECT_EQ(world.exchange("GET / HT"), "");
    EXPECT_EQ(world.server->open_connections(), 0u);
}

TEST(Request, decodes_parameters) {
    Request request;
    request.query = "a=%41%zz&b=&c=x%2Fy";
    EXPECT_EQ(request.parameter("a"), "A%zz");
    EXPECT_EQ(request.parameter("b"), "");
    EXPECT_EQ(request.parameter("c"), "x/y");
    EXPECT_EQ(request.parameter("d"), "");
}

}  // namespace
}  // namespace orlop::admin
