#include "daemon/net/tcp_stream.h"
#include "tests/unit/net/pair.h"

namespace orlop::net {
namespace {

using namespace testing;

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<void> read_all(Stream* stream, std::string* got, std::optional<Error>* error) {
    while (true) {
        auto arrived = co_await stream->more();
        if (!arrived) {
            *error = arrived.error();
            co_return;
        }
        if (*arrived == 0) {
            co_return;
        }
        got->append(stream->input());
        stream->consume(stream->input().size());
    }
}

Task<void> send_and_end(ScriptedPeer* peer, std::string bytes) {
    co_await peer->send(std::move(bytes));
    peer->end_sending();
}

Task<void> receive_into(ScriptedPeer* peer, std::string* got) {
    *got = co_await peer->receive_all();
}

TEST(TcpStream, delivers_every_byte_in_order_on_many_seeds) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        World world({.seed = seed});
        Pair pair;
        make_pair(world, pair);
        std::string got;
        std::optional<Error> error;
        const std::string sent = pattern(200'000);
        world.scope.spawn(&read_all, pair.stream.get(), &got, &error);
        world.scope.spawn(&send_and_end, pair.peer.get(), sent);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        EXPECT_EQ(got, sent) << "seed " << seed;
        EXPECT_FALSE(error) << "seed " << seed;
        EXPECT_TRUE(pair.stream->ended());
        world.scope.spawn(&close_pair, &pair);
        world.finish();
    }
}

Task<void> read_in_lines(Stream* stream, std::vector<std::string>* lines) {
    while (true) {
        std::size_t end = stream->input().find('\n');
        if (end != std::string_view::npos) {
            lines->emplace_back(stream->input().substr(0, end));
            stream->consume(end + 1);
            continue;
        }
        auto arrived = co_await stream->more();
        if (!arrived || *arrived == 0) {
            co_return;
        }
    }
}

TEST(TcpStream, joins_what_is_unread_with_what_arrives_into_one_piece) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        World world({.seed = seed, .short_read = 0.9});
        Pair pair;
        make_pair(world, pair);
        std::string text;
        std::vector<std::string> wanted;
        for (int i = 0; i < 200; ++i) {
            wanted.push_back(std::to_string(i) + std::string(static_cast<std::size_t>(i), 'x'));
            text += wanted.back() + "\n";
        }
        std::vector<std::string> lines;
        world.scope.spawn(&read_in_lines, pair.stream.get(), &lines);
        world.scope.spawn(&send_and_end, pair.peer.get(), text);
        ASSERT_EQ(world.settle(), FakeEnd::done);
        EXPECT_EQ(lines, wanted) << "seed " << seed;
        world.scope.spawn(&close_pair, &pair);
        world.finish();
    }
}

Task<void> hold_a_view(Stream* stream, runtime::Loop* loop, std::string* seen, std::string* later) {
    (void)co_await stream->more();
    std::string_view view = stream->input();
    *seen = view;
    stream->read_ahead();
    co_await runtime::Sleep(*loop, seconds(1));  // more arrives meanwhile
    EXPECT_EQ(view, *seen) << "a view changed under its reader";
    EXPECT_EQ(stream->input(), *seen);
    EXPECT_FALSE(stream->quiet());
    (void)co_await stream->more();
    *later = stream->input();
}

Task<void> send_two(ScriptedPeer* peer, runtime::Loop* loop) {
    co_await peer->send("first");
    co_await runtime::Sleep(*loop, milliseconds(100));
    co_await peer->send("second");
}

TEST(TcpStream, keeps_views_valid_while_a_read_ahead_brings_more) {
    World world({.short_read = 0});
    Pair pair;
    make_pair(world, pair);
    std::string seen;
    std::string later;
    world.scope.spawn(&hold_a_view, pair.stream.get(), &world.loop, &seen, &later);
    world.scope.spawn(&send_two, pair.peer.get(), &world.loop);
    ASSERT_EQ(world.settle(), FakeEnd::done);
    EXPECT_EQ(seen, "first");
    EXPECT_EQ(later, "firstsecond");
    world.scope.spawn(&close_pair, &pair);
    world.finish();
}

Task<void> read_without_consuming(Stream* stream, std::optional<Error>* error) {
    while (true) {
        auto arrived = co_await stream->more();
        if (!arrived || *arrived == 0) {
            *error = arrived ? std::nullopt : std::optional(arrived.error());
            co_return;
        }
    }
}

Task<void> close_stream(Pair* pair) {
    co_await pair->stream->close(Closing::orderly);
    pair->stream.reset();
}

TEST(TcpStream, refuses_to_gather_more_unread_bytes_than_its_limit) {
    World world;
    Pair pair;
    make_pair(world, pair);
    pair.stream->limit_input(10'000);
    std::optional<Error> error;
    world.scope.spawn(&read_without_consuming, pair.stream.get(), &error);
    world.scope.spawn(&send_and_end, pair.peer.get(), pattern(9'000));
    ASSERT_EQ(world.settle(), FakeEnd::done);
    EXPECT_FALSE(error);
    world.scope.spawn(&close_pair, &pair);
    world.finish();

    World second;
    Pair other;
    make_pair(second, other);
    other.stream->limit_input(10'000);
    second.scope.spawn(&read_without_consuming, other.stream.get(), &error);
    second.scope.spawn(&send_and_end, other.peer.get(), pattern(40'000));
    runtime::run_until(second.loop, second.network, [&] { return error.has_value(); }, seconds(60));
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind, ErrorKind::limit_exceeded);
    second.scope.spawn(&close_stream, &other);  // ends the peer's send as well
    ASSERT_EQ(second.settle(), FakeEnd::done) << second.network.describe();
    other.peer.reset();
    second.finish();
}

struct Interruption {
    Stream* stream;
    static void fire(void* self) { static_cast<Interruption*>(self)->stream->interrupt_reader(); }
};

Task<void> read_once(Stream* stream, Result<std::size_t>* result) {
    *result = co_await stream->more();
}

TEST(TcpStream, interrupts_a_reader_and_loses_no_byte) {
    World world({.short_read = 0});
    Pair pair;
    make_pair(world, pair);
    Interruption interruption{pair.stream.get()};
    runtime::Timer timer(&Interruption::fire, &interruption);
    world.loop.timers().set(timer, world.loop.now() + milliseconds(10));
    Result<std::size_t> result = 0;
    world.scope.spawn(&read_once, pair.stream.get(), &result);
    ASSERT_EQ(world.settle(), FakeEnd::done);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::cancelled);
    EXPECT_FALSE(pair.stream->failure());
    interruption.stream->interrupt_reader();  // nobody reads: forgotten
    std::string got;
    std::optional<Error> error;
    world.scope.spawn(&read_all, pair.stream.get(), &got, &error);
    world.scope.spawn(&send_and_end, pair.peer.get(), "still here");
    ASSERT_EQ(world.settle(), FakeEnd::done);
    EXPECT_EQ(got, "still here");
    EXPECT_FALSE(error);
    world.scope.spawn(&close_pair, &pair);
    world.finish();
}

Task<void> write_once(Stream* stream, std::string bytes, Result<void>* result) {
    *result = co_await stream->write(bytes);
}

TEST(TcpStream, abort_ends_a_pending_read_and_a_pending_write) {
    World world({.pipe_bytes_min = 1024, .pipe_bytes_max = 1024});
    Pair pair;
    make_pair(world, pair);
    Result<std::size_t> read = 0;
    Result<void> written;
    world.scope.spawn(&read_once, pair.stream.get(), &read);
    world.scope.spawn(&write_once, pair.stream.get(), pattern(100'000), &written);
    struct Abort {
        Stream* stream;
        static void fire(void* self) {
            static_cast<Abort*>(self)->stream->abort(Error{ErrorKind::timed_out, "too late"});
        }
    } abort{pair.stream.get()};
    runtime::Timer timer(&Abort::fire, &abort);
    world.loop.timers().set(timer, world.loop.now() + milliseconds(50));
    ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    ASSERT_FALSE(read);
    ASSERT_FALSE(written);
    EXPECT_EQ(read.error().context, "too late");
    EXPECT_EQ(written.error().context, "too late");
    // Later operations fail at once with the same reason.
    world.scope.spawn(&write_once, pair.stream.get(), "x", &written);
    world.scope.spawn(&read_once, pair.stream.get(), &read);
    EXPECT_EQ(world.scope.live(), 0u);
    EXPECT_EQ(written.error().context, "too late");
    world.scope.spawn(&close_pair, &pair);
    world.finish();
}

TEST(TcpStream, close_awaits_operations_in_flight) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        World world({.seed = seed, .pipe_bytes_min = 1024, .pipe_bytes_max = 1024});
        Pair pair;
        make_pair(world, pair);
        Result<void> written;
        pair.stream->read_ahead();
        world.scope.spawn(&write_once, pair.stream.get(), pattern(50'000), &written);
        world.scope.spawn(&close_pair, &pair);
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        EXPECT_FALSE(written);
        world.finish();
    }
}

struct Watch {
    int calls = 0;
    static void fire(void* self) { ++static_cast<Watch*>(self)->calls; }
};

TEST(TcpStream, tells_the_watcher_of_an_end_only_when_nobody_reads) {
    World world;
    Pair pair;
    make_pair(world, pair);
    Watch watch;
    pair.stream->watch_end(&Watch::fire, &watch);
    pair.stream->read_ahead();
    EXPECT_TRUE(pair.stream->quiet());
    pair.peer->end_sending();
    runtime::run_until(world.loop, world.network, [&] { return watch.calls != 0; }, seconds(1));
    EXPECT_EQ(watch.calls, 1);
    EXPECT_TRUE(pair.stream->ended());
    EXPECT_FALSE(pair.stream->quiet());
    pair.stream->read_ahead();  // after the end: nothing starts
    world.scope.spawn(&close_pair, &pair);
    world.finish();
    EXPECT_EQ(watch.calls, 1) << "close() must not call a watcher";
}

TEST(TcpStream, a_watcher_learns_of_an_abort_even_with_unread_bytes) {
    World world({.short_read = 0});
    Pair pair;
    make_pair(world, pair);
    Watch watch;
    pair.stream->watch_end(&Watch::fire, &watch);
    pair.stream->read_ahead();
    world.scope.spawn(&send_and_end, pair.peer.get(), "pipelined");
    ASSERT_EQ(world.settle(), FakeEnd::done);
    runtime::run_until(
        world.loop, world.network, [&] { return !pair.stream->quiet(); }, seconds(1));
    EXPECT_EQ(watch.calls, 0);
    pair.stream->abort(Error{ErrorKind::cancelled, "forced"});
    runtime::run_until(world.loop, world.network, [&] { return watch.calls != 0; }, seconds(1));
    EXPECT_EQ(watch.calls, 1);
    world.scope.spawn(&close_pair, &pair);
    world.finish();
}

TEST(TcpStream, a_reset_is_an_error_and_never_an_end) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        World world({.seed = seed});
        Pair pair;
        make_pair(world, pair);
        std::string got;
        std::optional<Error> error;
        Result<void> written;
        world.scope.spawn(&read_all, pair.stream.get(), &got, &error);
        world.scope.spawn(&write_once, pair.stream.get(), pattern(500'000), &written);
        runtime::run_until(world.loop, world.network, [] { return false; }, milliseconds(20));
        pair.peer->reset();
        ASSERT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
        EXPECT_TRUE(error) << "seed " << seed << ": the reader took a reset for an end";
        world.scope.spawn(&close_pair, &pair);
        world.finish();
    }
}

Task<void> write_pieces(Stream* stream, Result<void>* result) {
    std::string big = pattern(30'000);
    std::array<std::string_view, 4> pieces = {"one", big, "three", "four"};
    *result = co_await stream->write(pieces);
    stream->shutdown_write();
}

TEST(TcpStream, writes_all_pieces_and_then_ends_its_side) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        World world({.seed = seed});
        Pair pair;
        make_pair(world, pair);
        Result<void> written;
        std::string got;
        world.scope.spawn(&write_pieces, pair.stream.get(), &written);
        world.scope.spawn(&receive_into, pair.peer.get(), &got);
        ASSERT_EQ(world.settle(), FakeEnd::done);
        EXPECT_TRUE(written);
        EXPECT_EQ(got, "one" + pattern(30'000) + "threefour");
        EXPECT_TRUE(pair.peer->ended());
        world.scope.spawn(&close_pair, &pair);
        world.finish();
    }
}

}  // namespace
}  // namespace orlop::net
