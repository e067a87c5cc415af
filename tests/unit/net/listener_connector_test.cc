#include "daemon/net/connector.h"
#include "daemon/net/listener.h"
#include "tests/unit/net/pair.h"

namespace orlop::net {
namespace {

using namespace testing;

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Sockets final : SocketSource {
    explicit Sockets(FakeBackend& backend) : backend(backend) {}
    Result<int> open_socket(const Network& network, const SocketWish& wish) override {
        if (exhausted) {
            return fail_errno(EMFILE, "socket");
        }
        wishes.push_back(wish);
        return backend.socket();
    }
    FakeBackend& backend;
    bool exhausted = false;
    std::vector<SocketWish> wishes;
};

using Outcome = std::optional<Result<std::unique_ptr<TcpStream>>>;

Task<void> connect_once(World* world, Sockets* sockets, ConnectRequest request, Outcome* outcome) {
    outcome->emplace(co_await connect(world->loop, *sockets, request));
}

Task<void> close_outcome(Outcome* outcome) {
    co_await (***outcome)->close(Closing::orderly);
    outcome->reset();
}

struct Case {
    World world;
    Sockets sockets{world.network};
    Network network;
    Outcome outcome;
    ConnectRequest request{&network, server_address, std::nullopt, seconds(3)};

    explicit Case(FakeOptions options = {}) : world(options) {}
    void run() {
        world.scope.spawn(&connect_once, &world, &sockets, request, &outcome);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        ASSERT_TRUE(outcome);
    }
};

TEST(Connect, gives_a_stream_and_asks_the_source_for_the_wished_address) {
    Case one;
    one.request.deliver_from = *IpAddress::parse("10.9.9.9");
    one.run();
    ASSERT_TRUE(*one.outcome);
    ASSERT_EQ(one.sockets.wishes.size(), 1u);
    EXPECT_EQ(one.sockets.wishes[0].deliver_from, *IpAddress::parse("10.9.9.9"));
    EXPECT_EQ((**one.outcome)->peer_address(), server_address);
    one.world.scope.spawn(&close_outcome, &one.outcome);
    one.world.finish();
}

TEST(Connect, says_refused_with_the_address) {
    Case one;
    one.request.address = *SocketAddress::parse("10.0.0.2:81");
    one.run();
    ASSERT_FALSE(*one.outcome);
    EXPECT_EQ(one.outcome->error().kind, ErrorKind::refused);
    EXPECT_NE(one.outcome->error().context.find("10.0.0.2:81"), std::string::npos);
    one.world.finish();
}

TEST(Connect, gives_up_at_its_timeout_and_closes_the_socket) {
    Case one({.backlog_max = 0});
    Instant begun = one.world.network.virtual_now();
    one.run();
    ASSERT_FALSE(*one.outcome);
    EXPECT_EQ(one.outcome->error().kind, ErrorKind::timed_out);
    EXPECT_GE(one.world.network.virtual_now() - begun, seconds(3));
    EXPECT_LT(one.world.network.virtual_now() - begun, seconds(4));
    one.world.finish();
}

TEST(Connect, passes_on_that_no_socket_could_be_made) {
    Case one;
    one.sockets.exhausted = true;
    one.run();
    ASSERT_FALSE(*one.outcome);
    EXPECT_EQ(one.outcome->error().sys_errno, EMFILE);
    one.world.finish();
}

// --- the listener --------------------------------------------------------------------------------

struct Accepted {
    runtime::Loop* loop;
    int count = 0;
};

Task<void> call(World* world, SocketAddress address, int* connected) {
    ScriptedPeer peer(world->loop, world->network.socket());
    if (co_await peer.connect(address) == 0) {
        ++*connected;
        (void)co_await peer.receive_all();
    }
}

Task<void> stop_listener(Listener* listener) {
    co_await listener->stop();
}

TEST(Listener, accepts_everybody_though_descriptors_run_out_and_multishots_end) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        World world({.seed = seed, .faults = {.accept_exhausted = 0.3, .accept_ends = 0.3}});
        const SocketAddress address = *SocketAddress::parse("10.0.0.1:81");
        Accepted accepted{&world.loop};
        Listener listener(world.loop, UniqueFd(world.network.listen(address)), [&accepted](int fd) {
            ++accepted.count;
            accepted.loop->backend().close(fd);
        });
        listener.start();
        int connected = 0;
        for (int i = 0; i < 50; ++i) {
            world.scope.spawn(&call, &world, address, &connected);
        }
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        EXPECT_EQ(accepted.count, 50) << "seed " << seed;
        EXPECT_EQ(connected, 50) << "seed " << seed;
        world.scope.spawn(&stop_listener, &listener);
        world.finish();
    }
}

TEST(Listener, pauses_when_descriptors_run_out_instead_of_spinning) {
    World world({.faults = {.accept_exhausted = 1.0}});
    const SocketAddress address = *SocketAddress::parse("10.0.0.1:81");
    Accepted accepted{&world.loop};
    Listener listener(world.loop, UniqueFd(world.network.listen(address)), [&accepted](int fd) {
        ++accepted.count;
        accepted.loop->backend().close(fd);
    });
    listener.start();
    int connected = 0;
    world.scope.spawn(&call, &world, address, &connected);
    std::uint64_t before = world.network.stats().submissions;
    runtime::run_until(world.loop, world.network, [] { return false; }, seconds(1));
    EXPECT_LE(world.network.stats().submissions - before, 60u);
    EXPECT_EQ(accepted.count, 0);
    world.network.set_faults({});
    ASSERT_EQ(world.settle(), FakeEnd::done);
    EXPECT_EQ(accepted.count, 1);
    world.scope.spawn(&stop_listener, &listener);
    world.finish();
}

TEST(Listener, hands_nothing_on_after_stop_and_can_stop_during_a_pause) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        World world({.seed = seed, .faults = {.accept_exhausted = 0.5}});
        const SocketAddress address = *SocketAddress::parse("10.0.0.1:81");
        Accepted accepted{&world.loop};
        Listener listener(world.loop, UniqueFd(world.network.listen(address)), [&accepted](int fd) {
            ++accepted.count;
            accepted.loop->backend().close(fd);
        });
        listener.start();
        int connected = 0;
        for (int i = 0; i < 5; ++i) {
            world.scope.spawn(&call, &world, address, &connected);
        }
        runtime::run_until(world.loop, world.network, [] { return false; }, milliseconds(seed % 7));
        int before = accepted.count;
        world.scope.spawn(&stop_listener, &listener);
        world.finish();
        EXPECT_EQ(accepted.count, before);
    }
}

}  // namespace
}  // namespace orlop::net
