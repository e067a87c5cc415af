// The fake ring against itself: what real TCP promises must hold on every seed.
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/fake_peer.h"
#include "daemon/runtime/fake_random.h"
#include "daemon/runtime/scope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace orlop::runtime {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

const SocketAddress server_address = *SocketAddress::parse("10.0.0.1:80");

struct World {
    explicit World(FakeOptions options)
        : owned(std::make_unique<FakeBackend>(options)), network(*owned), loop(std::move(owned)),
          scope(loop) {}
    FakeEnd settle(Duration limit = hours(10)) {
        return run_until(loop, network, [this] { return scope.live() == 0; }, limit);
    }
    void expect_clean() {
        EXPECT_EQ(network.open_sockets(), 0u) << network.describe();
        EXPECT_EQ(network.lent_buffers(), 0u) << network.describe();
        EXPECT_LE(network.operations_in_flight(), 1u) << network.describe();  // the wake-up
    }
    std::unique_ptr<FakeBackend> owned;
    FakeBackend& network;
    Loop loop;
    Scope scope;
};

std::string random_bytes(FakeRandom& random, std::size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) {
        byte = static_cast<char>(random.next());
    }
    return bytes;
}

// --- integrity of random streams -----------------------------------------------------------------

struct Conversation {
    std::string to_server;
    std::string to_client;
    std::string server_got;
    std::string client_got;
    bool client_broken = false;  // an end that saw an error
    bool server_broken = false;
    bool connected = false;
};

Task<void> send_all(ScriptedPeer* peer, std::string bytes, std::uint64_t seed) {
    FakeRandom random(seed);
    std::size_t offset = 0;
    while (offset < bytes.size()) {
        std::size_t size = std::min(bytes.size() - offset, random.between(1, 20'000));
        if (co_await peer->send(bytes.substr(offset, size)) != 0) {
            co_return;
        }
        offset += size;
    }
    peer->end_sending();
}

Task<void>
exchange(Loop* loop, ScriptedPeer* peer, std::string out, std::string* in, std::uint64_t seed) {
    Scope both(*loop);
    both.spawn(send_all, peer, std::move(out), seed);
    *in = co_await peer->receive_all();
    co_await both.join();
}

Task<void> serve_one(Loop* loop, int fd, Conversation* talk, std::uint64_t seed) {
    ScriptedPeer peer(*loop, fd);
    co_await exchange(loop, &peer, talk->to_client, &talk->server_got, seed);
    talk->server_broken = peer.error() != 0;
}

Task<void>
serve_all(Loop* loop, Scope* scope, ScriptedListener* listener, std::vector<Conversation>* talks) {
    // Connections are accepted in any order; the first bytes of a script name the conversation.
    for (;;) {
        int fd = co_await listener->accept();
        if (fd < 0) {
            co_return;
        }
        auto port = loop->backend().peer_address(fd).port;
        scope->spawn(serve_one, loop, fd, &talks->at(port - 1000u), port);
    }
}

Task<void> converse(World* world, Conversation* talk, std::uint16_t port) {
    ScriptedPeer peer(world->loop, world->network.socket({*IpAddress::parse("10.0.0.2"), port}));
    talk->connected = co_await peer.connect(server_address) == 0;
    if (talk->connected) {
        co_await exchange(&world->loop, &peer, talk->to_server, &talk->client_got, port * 7u);
    }
    talk->client_broken = peer.error() != 0;
}

Task<void> run_conversations(World* world, std::vector<Conversation>* talks) {
    ScriptedListener listener(world->loop, world->network.listen(server_address));
    Scope servers(world->loop);
    Scope clients(world->loop);
    servers.spawn(serve_all, &world->loop, &servers, &listener, talks);
    for (std::size_t i = 0; i < talks->size(); ++i) {
        clients.spawn(converse, world, &talks->at(i), static_cast<std::uint16_t>(1000 + i));
    }
    co_await clients.join();
    while (servers.live() > 1) {
        co_await Sleep(world->loop, std::chrono::milliseconds(5));
    }
    co_await listener.stop();
    co_await servers.join();
}

struct Totals {
    int complete = 0;
    int broken = 0;
    int unconnected = 0;
};

void run_seed(std::uint64_t seed, const FakeFaults& faults, Totals& totals) {
    FakeRandom random(seed ^ 0x5eed);
    FakeOptions options{.seed = seed, .faults = faults};
    options.pipe_bytes_min = 1;
    options.pipe_bytes_max = 1ull << random.between(1, 17);
    options.lent_buffer_bytes = static_cast<std::uint32_t>(1u << random.between(4, 14));
    options.short_read = random.chance(0.5) ? 0.3 : 0.0;
    World world(options);
    std::size_t bytes_max = options.pipe_bytes_max * 20;
    std::vector<Conversation> talks(random.between(1, 4));
    for (Conversation& talk : talks) {
        talk.to_server = random_bytes(random, random.between(0, std::min(bytes_max, 50'000ul)));
        talk.to_client = random_bytes(random, random.between(0, std::min(bytes_max, 50'000ul)));
    }
    world.scope.spawn(run_conversations, &world, &talks);
    ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    world.expect_clean();
    for (const Conversation& talk : talks) {
        SCOPED_TRACE(world.network.describe());
        // What arrives is always a prefix; all of it unless an end was told of an error.
        EXPECT_TRUE(talk.to_server.starts_with(talk.server_got));
        EXPECT_TRUE(talk.to_client.starts_with(talk.client_got));
        if (!talk.connected) {
            ++totals.unconnected;
            continue;
        }
        if (!talk.server_broken) {
            EXPECT_EQ(talk.server_got.size(), talk.to_server.size());
        }
        if (!talk.client_broken) {
            EXPECT_EQ(talk.client_got.size(), talk.to_client.size());
        }
        ++(talk.client_broken || talk.server_broken ? totals.broken : totals.complete);
    }
}

TEST(FakeBackend, loses_no_byte_without_an_error_on_any_seed) {
    Totals calm, harsh;
    for (std::uint64_t seed = 1; seed <= 1000 && !testing::Test::HasFailure(); ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        if (seed % 4 == 0) {
            run_seed(seed, FakeFaults{}, calm);
        } else {
            run_seed(seed, seed % 4 == 1 ? FakeFaults::harsh() : FakeFaults::rare(), harsh);
        }
    }
    EXPECT_EQ(calm.broken + calm.unconnected, 0);
    EXPECT_GT(calm.complete, 200);
    // The faults do strike, and do not strike always.
    EXPECT_GT(harsh.complete, 200);
    EXPECT_GT(harsh.broken, 50);
    EXPECT_GT(harsh.unconnected, 20);
}

// --- the same seed, the same run -----------------------------------------------------------------

std::string history_of(std::uint64_t seed) {
    World world({.seed = seed, .faults = FakeFaults::harsh()});
    FakeRandom random(seed);
    std::vector<Conversation> talks(3);
    for (Conversation& talk : talks) {
        talk.to_server = random_bytes(random, 5000);
        talk.to_client = random_bytes(random, 5000);
    }
    world.scope.spawn(run_conversations, &world, &talks);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    std::string history = std::to_string(world.network.virtual_now().time_since_epoch().count());
    for (const Conversation& talk : talks) {
        history += " " + std::to_string(talk.server_got.size()) + " " +
                   std::to_string(talk.client_got.size());
    }
    return history + " " + std::to_string(world.network.stats().completions);
}

TEST(FakeBackend, repeats_a_run_from_its_seed) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        EXPECT_EQ(history_of(seed), history_of(seed));
    }
    EXPECT_NE(history_of(1), history_of(2));
}

// --- single facts --------------------------------------------------------------------------------

struct Pair {
    std::unique_ptr<ScriptedPeer> client;
    std::unique_ptr<ScriptedPeer> server;
};

Task<void> make_pair(World* world, Pair* pair) {
    ScriptedListener listener(world->loop, world->network.listen(server_address));
    pair->client = std::make_unique<ScriptedPeer>(world->loop, world->network.socket());
    EXPECT_EQ(co_await pair->client->connect(server_address), 0);
    pair->server = std::make_unique<ScriptedPeer>(world->loop, co_await listener.accept());
    co_await listener.stop();
}

using Story = Task<void> (*)(World*, Pair*);

void tell_on_many_seeds(Story story) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        World world({.seed = seed});
        Pair pair;
        world.scope.spawn(make_pair, &world, &pair);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        world.scope.spawn(story, &world, &pair);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        pair.client.reset();
        pair.server.reset();
        world.expect_clean();
    }
}

TEST(FakeBackend, addresses_are_those_of_tcp) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        auto& network = world->network;
        EXPECT_EQ(network.peer_address(pair->client->fd()), server_address);
        EXPECT_EQ(network.local_address(pair->server->fd()), server_address);
        EXPECT_EQ(network.peer_address(pair->server->fd()),
                  network.local_address(pair->client->fd()));
        co_return;
    });
}

TEST(FakeBackend, a_half_closed_side_still_receives) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        co_await pair->client->send("question");
        pair->client->end_sending();
        EXPECT_EQ(co_await pair->server->receive_all(), "question");
        EXPECT_TRUE(pair->server->ended());
        co_await pair->server->send("answer");
        EXPECT_EQ(co_await pair->client->receive_exactly(6), "answer");
        EXPECT_EQ(co_await pair->client->send("more"), EPIPE);
    });
}

TEST(FakeBackend, a_close_with_unread_bytes_resets) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        co_await pair->client->send("never read");
        co_await Sleep(world->loop, std::chrono::seconds(1));
        pair->server->close();
        EXPECT_EQ(co_await pair->client->receive_all(), "");
        // The end may overtake the RST only in this order: an orderly end, or the error.
        EXPECT_TRUE(pair->client->ended() || pair->client->error() == ECONNRESET);
        co_await Sleep(world->loop, std::chrono::seconds(1));
        EXPECT_NE(co_await pair->client->send("x"), 0);
    });
}

TEST(FakeBackend, sending_to_a_closed_side_succeeds_once_and_then_fails) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        pair->server->close();
        co_await Sleep(world->loop, std::chrono::seconds(1));
        EXPECT_EQ(co_await pair->client->send("into the void"), 0);
        co_await Sleep(world->loop, std::chrono::seconds(1));
        EXPECT_EQ(co_await pair->client->send("x"), EPIPE);
    });
}

TEST(FakeBackend, a_reset_is_told_once_and_received_bytes_stay) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        co_await pair->server->send("kept");
        co_await Sleep(world->loop, std::chrono::seconds(1));
        pair->server->reset();
        co_await Sleep(world->loop, std::chrono::seconds(1));
        EXPECT_EQ(co_await pair->client->receive_exactly(4), "kept");
        EXPECT_EQ(co_await pair->client->receive_some(), "");
        EXPECT_EQ(pair->client->error(), ECONNRESET);
        EXPECT_EQ(co_await pair->client->send("x"), EPIPE);
        Operation again;
        again.code = OpCode::receive;
        again.fd = pair->client->fd();
        EXPECT_EQ(co_await Await(world->loop, again), 0);
    });
}

TEST(FakeBackend, a_full_direction_holds_the_sender_until_it_is_read) {
    tell_on_many_seeds([](World* world, Pair* pair) -> Task<void> {
        Scope sender(world->loop);
        bool done = false;
        auto send = [](ScriptedPeer* peer, bool* sent) -> Task<void> {
            EXPECT_EQ(co_await peer->send(std::string(200'000, 'x')), 0);
            *sent = true;
        };
        sender.spawn(send, pair->client.get(), &done);
        co_await Sleep(world->loop, minutes(10));
        EXPECT_FALSE(done);
        EXPECT_EQ((co_await pair->server->receive_exactly(200'000)).size(), 200'000u);
        co_await sender.join();
        EXPECT_TRUE(done);
    });
}

TEST(FakeBackend, a_cancelled_receive_completes_and_loses_no_byte) {
    int cancelled = 0, completed = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        World world({.seed = seed});
        Pair pair;
        world.scope.spawn(make_pair, &world, &pair);
        ASSERT_EQ(world.settle(), FakeEnd::done);
        struct Race {
            Operation receive;
            std::string got;
            int result = 1;
        } race;
        race.receive.code = OpCode::receive;
        race.receive.fd = pair.client->fd();
        auto receive = [](World* w, Race* r) -> Task<void> {
            r->result = co_await Await(w->loop, r->receive);
            if (r->result > 0) {
                r->got.assign(reinterpret_cast<char*>(r->receive.lent->data),
                              r->receive.lent->size);
                w->network.release_buffer(*r->receive.lent);
            }
        };
        auto meddle = [](World* w, Pair* p, Race* r) -> Task<void> {
            co_await p->server->send("abc");
            co_await Sleep(w->loop, std::chrono::milliseconds(1));
            w->network.cancel(r->receive);
            w->network.cancel(r->receive);
        };
        auto rest = [](Pair* p, Race* r) -> Task<void> {
            p->server->end_sending();
            r->got += co_await p->client->receive_all();
        };
        world.scope.spawn(receive, &world, &race);
        world.scope.spawn(meddle, &world, &pair, &race);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        ++(race.result == -ECANCELED ? cancelled : completed);
        world.scope.spawn(rest, &pair, &race);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        EXPECT_EQ(race.got, "abc");
    }
    EXPECT_GT(cancelled, 20);
    EXPECT_GT(completed, 20);
}

Task<void> connect_and_note(World* world, SocketAddress address, int* result) {
    ScriptedPeer peer(world->loop, world->network.socket());
    *result = co_await peer.connect(address);
}

TEST(FakeBackend, nobody_listening_refuses) {
    World world({});
    int result = 0;
    world.scope.spawn(connect_and_note, &world, server_address, &result);
    EXPECT_EQ(world.settle(), FakeEnd::done);
    EXPECT_EQ(result, ECONNREFUSED);
    world.expect_clean();
}

TEST(FakeBackend, a_full_backlog_times_connects_out) {
    World world({.backlog_max = 2});
    int listener = world.network.listen(server_address);
    int results[3] = {-1, -1, -1};
    for (int& result : results) {
        world.scope.spawn(connect_and_note, &world, server_address, &result);
    }
    EXPECT_EQ(world.settle(), FakeEnd::done);
    EXPECT_EQ(std::count(std::begin(results), std::end(results), 0), 2);
    EXPECT_EQ(std::count(std::begin(results), std::end(results), ETIMEDOUT), 1);
    world.network.close(listener);
    world.expect_clean();
}

TEST(FakeBackend, a_catch_all_listener_shows_the_original_destination) {
    World world({});
    ScriptedListener listener(world.loop, world.network.listen({}));
    auto story = [](World* w, ScriptedListener* l) -> Task<void> {
        ScriptedPeer client(w->loop, w->network.socket());
        EXPECT_EQ(co_await client.connect(*SocketAddress::parse("[fd00::7]:8080")), 0);
        ScriptedPeer server(w->loop, co_await l->accept());
        EXPECT_EQ(w->network.local_address(server.fd()).to_string(), "[fd00::7]:8080");
        co_await l->stop();
    };
    world.scope.spawn(story, &world, &listener);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    world.expect_clean();
}

TEST(FakeBackend, tells_a_hang_from_slowness) {
    World world({});
    Pair pair;
    world.scope.spawn(make_pair, &world, &pair);
    ASSERT_EQ(world.settle(), FakeEnd::done);
    auto wait = [](Pair* p) -> Task<void> { co_await p->client->receive_all(); };
    world.scope.spawn(wait, &pair);
    EXPECT_EQ(world.settle(), FakeEnd::stuck);
    auto tick = [](World* w) -> Task<void> {
        for (int i = 0; i < 100; ++i) {
            co_await Sleep(w->loop, hours(1));
        }
    };
    world.scope.spawn(tick, &world);
    EXPECT_EQ(world.settle(hours(10)), FakeEnd::out_of_time);
    pair.server->close();
    EXPECT_EQ(world.settle(hours(200)), FakeEnd::done);
}

TEST(FakeBackend, messages_wake_the_loop_in_virtual_time) {
    World world({});
    int ran = 0;
    ASSERT_TRUE(world.loop.post([&] { ++ran; }));
    EXPECT_EQ(
        run_until(world.loop, world.network, [&] { return ran == 1; }, hours(1)), FakeEnd::done);
    EXPECT_EQ(run_until(world.loop, world.network, [] { return false; }, hours(1)), FakeEnd::stuck);
    ASSERT_TRUE(world.loop.post([&] { ++ran; }));
    EXPECT_EQ(
        run_until(world.loop, world.network, [&] { return ran == 2; }, hours(1)), FakeEnd::done);
}

TEST(FakeBackendDeathTest, names_the_broken_contract_and_the_seed) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            World world({.seed = 77});
            int fd = world.network.socket();
            world.network.close(fd);
            world.network.close(fd);
        },
        "closed twice[^!]*seed 77");
    EXPECT_DEATH(
        {
            World world({.seed = 78});
            Pair pair;
            world.scope.spawn(make_pair, &world, &pair);
            world.settle();
            auto wait = [](Pair* p) -> Task<void> { co_await p->client->receive_all(); };
            world.scope.spawn(wait, &pair);
            pair.client->close();
        },
        "under an operation in flight[^!]*seed 78");
    EXPECT_DEATH(
        {
            World world({.seed = 79});
            world.network.release_buffer(LentBuffer{nullptr, 0, 0, 3});
        },
        "released twice[^!]*seed 79");
}

}  // namespace
}  // namespace orlop::runtime
