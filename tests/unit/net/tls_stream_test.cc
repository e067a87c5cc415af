#include "daemon/net/tls_identity.h"
#include "mtls/ca.h"
#include "mtls/context.h"
#include "tests/unit/net/pair.h"

namespace orlop::net {
namespace {

using namespace testing;

using std::chrono::milliseconds;
using std::chrono::seconds;

const SpiffeId client_id{"cluster.local", "shop", "cart"};
const SpiffeId server_id{"cluster.local", "shop", "pricing"};

struct Mesh {
    Mesh() : ca(make_ca()) {}
    static mtls::CertificateAuthority make_ca() {
        return mtls::CertificateAuthority::create_in_memory("cluster.local",
                                                            std::chrono::system_clock::now())
            .value();
    }
    TlsIdentityPtr identity(const SpiffeId& id) const {
        auto bundle =
            mtls::TrustBundle::create({"cluster.local", {}, {{"cluster.local", ca.roots_pem()}}});
        mtls::ContextOptions options{
            ca.issue(id, mtls::svid_ttl_default, std::chrono::system_clock::now()).value(),
            bundle.value()};
        return std::make_shared<TlsIdentity>(mtls::TlsContext::create(std::move(options)).value());
    }
    // As identity(), but counts the contexts made, and makes none while `refused`.
    TlsIdentityPtr lazy_identity(const SpiffeId& id, int* made, const bool* refused) const {
        auto context = identity(id)->context();
        return std::make_shared<TlsIdentity>([=]() -> Result<TlsIdentity::Context> {
            if (*refused) {
                return fail(ErrorKind::internal, "no memory for a context");
            }
            ++*made;
            return context;
        });
    }
    mtls::CertificateAuthority ca;
};

struct Ends {
    std::unique_ptr<TcpStream> client_tcp;
    std::unique_ptr<TcpStream> server_tcp;
    Result<std::unique_ptr<TlsStream>> client = nullptr;
    Result<std::unique_ptr<TlsStream>> server = nullptr;
    int client_fd = -1;
};

Task<void> make_client(World* world, Ends* ends) {
    runtime::Operation operation;
    operation.code = runtime::OpCode::connect;
    operation.fd = ends->client_fd = world->network.socket();
    operation.address_length = server_address.to_sockaddr(operation.address);
    (void)co_await runtime::Await(world->loop, operation);
    ends->client_tcp = std::make_unique<TcpStream>(world->loop, ends->client_fd);
}

Task<void> make_server(World* world, Ends* ends) {
    ends->server_tcp = std::make_unique<TcpStream>(world->loop, co_await world->listener.accept());
}

Task<void> shake_client(Ends* ends, TlsIdentityPtr identity, SpiffeId expected) {
    ends->client = co_await tls_connect(std::move(ends->client_tcp), *identity, expected, "");
}

Task<void> shake_server(Ends* ends, TlsIdentityPtr identity) {
    ends->server = co_await tls_accept(std::move(ends->server_tcp), *identity);
}

struct Case {
    explicit Case(FakeOptions options = {}) : world(options) {
        world.scope.spawn(&make_client, &world, &ends);
        world.scope.spawn(&make_server, &world, &ends);
        EXPECT_EQ(world.settle(), FakeEnd::done);
    }
    void shake(const SpiffeId& expected = server_id) {
        static const Mesh mesh;
        static const TlsIdentityPtr client = mesh.identity(client_id);
        static const TlsIdentityPtr server = mesh.identity(server_id);
        shake_as(client, server, expected);
    }
    void
    shake_as(TlsIdentityPtr client, TlsIdentityPtr server, const SpiffeId& expected = server_id) {
        world.scope.spawn(&shake_client, &ends, std::move(client), expected);
        world.scope.spawn(&shake_server, &ends, std::move(server));
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    }
    void close_both() {
        for (auto* end : {&ends.client, &ends.server}) {
            if (*end && **end) {
                world.scope.spawn(&Case::close_one, (*end)->get());
            }
        }
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        ends.client = nullptr;
        ends.server = nullptr;
    }
    static Task<void> close_one(TlsStream* stream) { co_await stream->close(Closing::orderly); }

    World world;
    Ends ends;
};

Task<void> send_in_parts(Stream* stream, std::string bytes, std::size_t part, bool* good) {
    *good = true;
    for (std::size_t at = 0; at < bytes.size() && *good; at += part) {
        std::array<std::string_view, 2> pieces = {
            std::string_view(bytes).substr(at, std::min<std::size_t>(3, bytes.size() - at)),
            std::string_view(bytes).substr(at).substr(std::min<std::size_t>(3, bytes.size() - at),
                                                      part - 3)};
        auto sent =
            pieces[1].empty() ? co_await stream->write(pieces[0]) : co_await stream->write(pieces);
        *good = sent.has_value();
    }
    stream->shutdown_write();
}

struct Received {
    std::string bytes;
    std::optional<Error> error;
    bool over = false;
};

Task<void> receive(Stream* stream, Received* received) {
    while (true) {
        auto arrived = co_await stream->more();
        if (!arrived) {
            received->error = arrived.error();
            break;
        }
        if (*arrived == 0) {
            break;
        }
        received->bytes.append(stream->input());
        stream->consume(stream->input().size());
    }
    received->over = true;
}

TEST(TlsStream, knows_its_peer_after_the_handshake) {
    Case one;
    one.shake();
    ASSERT_TRUE(one.ends.client && one.ends.server);
    EXPECT_EQ(peer_of(**one.ends.client), server_id);
    EXPECT_EQ(peer_of(**one.ends.server), client_id);
    one.close_both();
    one.world.finish();
}

TEST(TlsIdentity, makes_its_context_for_the_first_handshake) {
    Mesh mesh;
    int made = 0;
    bool refused = false;
    TlsIdentityPtr client = mesh.lazy_identity(client_id, &made, &refused);
    TlsIdentityPtr server = mesh.identity(server_id);
    EXPECT_EQ(made, 0);
    for (int round = 0; round < 2; ++round) {
        Case one;
        one.shake_as(client, server);
        ASSERT_TRUE(one.ends.client && one.ends.server);
        EXPECT_EQ(peer_of(**one.ends.server), client_id);
        one.close_both();
        one.world.finish();
    }
    EXPECT_EQ(made, 1);
}

TEST(TlsIdentity, that_cannot_make_its_context_fails_the_handshake_and_tries_again) {
    Mesh mesh;
    int made = 0;
    bool refused = true;
    TlsIdentityPtr client = mesh.lazy_identity(client_id, &made, &refused);
    TlsIdentityPtr server = mesh.identity(server_id);
    Case failed;
    failed.shake_as(client, server);
    ASSERT_FALSE(failed.ends.client);
    EXPECT_EQ(failed.ends.client.error().context, "no memory for a context");
    failed.close_both();
    failed.world.finish();
    refused = false;
    Case next;
    next.shake_as(client, server);
    EXPECT_TRUE(next.ends.client && next.ends.server);
    EXPECT_EQ(made, 1);
    next.close_both();
    next.world.finish();
}

TEST(TlsStream, carries_large_writes_both_ways_at_once) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Case one({.seed = seed});
        one.shake();
        ASSERT_TRUE(one.ends.client && one.ends.server) << "seed " << seed;
        const std::string forth = pattern(700'000);
        const std::string back = pattern(500'000, 11);
        Received at_server;
        Received at_client;
        bool good[2] = {};
        auto& scope = one.world.scope;
        scope.spawn(&send_in_parts, one.ends.client->get(), forth, std::size_t{100'000}, &good[0]);
        scope.spawn(&send_in_parts, one.ends.server->get(), back, std::size_t{7'000}, &good[1]);
        scope.spawn(&receive, one.ends.server->get(), &at_server);
        scope.spawn(&receive, one.ends.client->get(), &at_client);
        ASSERT_EQ(one.world.settle(), FakeEnd::done) << one.world.network.describe();
        EXPECT_TRUE(good[0] && good[1]);
        EXPECT_TRUE(at_server.bytes == forth) << "seed " << seed;
        EXPECT_TRUE(at_client.bytes == back) << "seed " << seed;
        EXPECT_FALSE(at_server.error || at_client.error) << "close_notify is an orderly end";
        one.close_both();
        one.world.finish();
    }
}

TEST(TlsStream, keeps_one_direction_open_after_the_other_has_ended) {
    Case one;
    one.shake();
    Received at_server;
    bool good = false;
    one.ends.client->get()->shutdown_write();
    one.world.scope.spawn(&receive, one.ends.server->get(), &at_server);
    ASSERT_EQ(one.world.settle(), FakeEnd::done);
    EXPECT_FALSE(at_server.error);
    Received at_client;
    one.world.scope.spawn(
        &send_in_parts, one.ends.server->get(), pattern(50'000), std::size_t{9'000}, &good);
    one.world.scope.spawn(&receive, one.ends.client->get(), &at_client);
    ASSERT_EQ(one.world.settle(), FakeEnd::done);
    EXPECT_EQ(at_client.bytes, pattern(50'000));
    one.close_both();
    one.world.finish();
}

TEST(TlsStream, a_transport_that_ends_without_close_notify_is_a_truncation) {
    Case one;
    one.shake();
    Received at_server;
    one.world.scope.spawn(&receive, one.ends.server->get(), &at_server);
    one.world.network.shutdown_write(one.ends.client_fd);  // a FIN from nowhere
    ASSERT_EQ(one.world.settle(), FakeEnd::done);
    ASSERT_TRUE(at_server.error) << "a truncated stream passed as whole";
    EXPECT_EQ(at_server.error->kind, ErrorKind::reset);
    one.close_both();
    one.world.finish();
}

TEST(TlsStream, a_cut_transport_fails_reader_and_writer) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Case one({.seed = seed});
        one.shake();
        Received at_client;
        bool good = true;
        one.world.scope.spawn(&receive, one.ends.client->get(), &at_client);
        one.world.scope.spawn(
            &send_in_parts, one.ends.client->get(), pattern(900'000), std::size_t{300'000}, &good);
        runtime::run_until(
            one.world.loop, one.world.network, [] { return false; }, milliseconds(seed));
        one.world.network.break_connection(one.ends.client_fd);
        ASSERT_EQ(one.world.settle(), FakeEnd::done) << one.world.network.describe();
        EXPECT_TRUE(at_client.error) << "seed " << seed;
        EXPECT_FALSE(good);
        one.close_both();
        one.world.finish();
    }
}

TEST(TlsStream, refuses_a_server_that_is_not_the_expected_one) {
    Case one;
    one.shake({"cluster.local", "shop", "somebody-else"});
    ASSERT_FALSE(one.ends.client);
    EXPECT_EQ(one.ends.client.error().kind, ErrorKind::unauthenticated);
    EXPECT_TRUE(!one.ends.server || *one.ends.server != nullptr);
    one.close_both();
    one.world.finish();
}

TEST(TlsStream, a_silent_peer_ends_the_handshake_at_its_deadline) {
    Case one;
    static const Mesh mesh;
    one.world.scope.spawn(&shake_client, &one.ends, mesh.identity(client_id), server_id);
    ASSERT_EQ(one.world.settle(seconds(30)), FakeEnd::done) << one.world.network.describe();
    ASSERT_FALSE(one.ends.client);
    EXPECT_EQ(one.ends.client.error().kind, ErrorKind::timed_out);
    one.ends.server_tcp->abort(Error{ErrorKind::cancelled, "over"});
    struct Close {
        static Task<void> tcp(TcpStream* stream) { co_await stream->close(Closing::reset); }
    };
    one.world.scope.spawn(&Close::tcp, one.ends.server_tcp.get());
    one.world.finish();
}

TEST(TlsStream, garbage_instead_of_a_handshake_is_refused) {
    Case one;
    static const Mesh mesh;
    struct Talk {
        static Task<void> nonsense(TcpStream* stream) {
            (void)co_await stream->write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            while (true) {
                auto arrived = co_await stream->more();
                if (!arrived || *arrived == 0) {
                    break;
                }
                stream->consume(stream->input().size());
            }
            co_await stream->close(Closing::orderly);
        }
    };
    one.world.scope.spawn(&shake_server, &one.ends, mesh.identity(server_id));
    one.world.scope.spawn(&Talk::nonsense, one.ends.client_tcp.get());
    ASSERT_EQ(one.world.settle(seconds(30)), FakeEnd::done) << one.world.network.describe();
    EXPECT_FALSE(one.ends.server);
    one.world.finish();
}

TEST(TlsStream, close_does_not_wait_for_a_peer_that_stopped_reading) {
    Case one({.pipe_bytes_min = 1024, .pipe_bytes_max = 4096});
    one.shake();
    ASSERT_TRUE(one.ends.client && one.ends.server);
    bool good = true;
    one.world.scope.spawn(
        &send_in_parts, one.ends.client->get(), pattern(200'000), std::size_t{100'000}, &good);
    runtime::run_until(one.world.loop, one.world.network, [] { return false; }, seconds(1));
    one.world.scope.spawn(&Case::close_one, one.ends.client->get());
    ASSERT_EQ(one.world.settle(seconds(30)), FakeEnd::done) << one.world.network.describe();
    EXPECT_FALSE(good);
    one.ends.client = nullptr;
    one.close_both();
    one.world.finish();
}

}  // namespace
}  // namespace orlop::net
