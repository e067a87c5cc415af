// A loop on the fake ring, and connections between a Stream and a scripted peer.
#pragma once

#include "daemon/net/tcp_stream.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/fake_peer.h"
#include "daemon/runtime/scope.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace orlop::net::testing {

using runtime::FakeBackend;
using runtime::FakeEnd;
using runtime::FakeOptions;
using runtime::ScriptedPeer;
using runtime::Task;

inline const SocketAddress server_address = *SocketAddress::parse("10.0.0.1:80");

struct World {
    explicit World(FakeOptions options = {})
        : owned(std::make_unique<FakeBackend>(options)), network(*owned), loop(std::move(owned)),
          scope(loop), listener(loop, network.listen(server_address)) {}

    // Runs until every spawned coroutine has ended.
    FakeEnd settle(Duration limit = std::chrono::hours(1)) {
        return runtime::run_until(loop, network, [this] { return scope.live() == 0; }, limit);
    }
    void finish() {
        EXPECT_EQ(settle(), FakeEnd::done) << network.describe();
        scope.spawn(&World::stop, this);
        EXPECT_EQ(settle(), FakeEnd::done) << network.describe();
        EXPECT_EQ(network.open_sockets(), 0u) << network.describe();
        EXPECT_EQ(network.lent_buffers(), 0u) << network.describe();
        EXPECT_LE(network.operations_in_flight(), 1u) << network.describe();  // the wake-up
    }
    static Task<void> stop(World* world) { co_await world->listener.stop(); }

    std::unique_ptr<FakeBackend> owned;
    FakeBackend& network;
    runtime::Loop loop;
    runtime::Scope scope;
    runtime::ScriptedListener listener;
};

// A connected pair: the stream under test and the peer that scripts play.
struct Pair {
    std::unique_ptr<TcpStream> stream;
    std::unique_ptr<ScriptedPeer> peer;
};

inline Task<void> connect_pair(World* world, Pair* pair) {
    int fd = world->network.socket();
    pair->peer = std::make_unique<ScriptedPeer>(world->loop, fd);
    co_await pair->peer->connect(server_address);
    pair->stream = std::make_unique<TcpStream>(world->loop, co_await world->listener.accept());
}

inline void make_pair(World& world, Pair& pair) {
    world.scope.spawn(&connect_pair, &world, &pair);
    ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    ASSERT_NE(pair.stream, nullptr);
}

inline Task<void> close_pair(Pair* pair) {
    co_await pair->stream->close(Closing::orderly);
    pair->stream.reset();
    pair->peer.reset();
}

inline std::string pattern(std::size_t size, std::size_t from = 0) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<char>('a' + (from + i) * 7 % 26);
    }
    return bytes;
}

}  // namespace orlop::net::testing
