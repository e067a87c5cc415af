// The loop on the kernel's ring, over loopback. Each case runs on every set of features that an
// older kernel would leave.
#include "daemon/runtime/fake_peer.h"
#include "daemon/runtime/scope.h"
#include "daemon/runtime/uring_backend.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace orlop::runtime {
namespace {

constexpr unsigned turns_max = 200'000;

struct Features {
    const char* name;
    UringOptions options;
    std::size_t notes;
};

UringOptions small(unsigned buffers = 8) {
    UringOptions options;
    options.entries = 64;
    options.completions = 256;
    options.buffers = buffers;
    options.buffer_bytes = 4096;
    options.bulk_buffers = 4;
    return options;
}

std::vector<Features> feature_sets() {
    UringOptions no_defer = small(), no_coop = small(), no_rings = small(), no_multishot = small();
    UringOptions no_standing = small();
    no_defer.use_defer_taskrun = false;
    no_coop.use_coop_taskrun = false;
    no_rings.use_buffer_rings = false;
    no_multishot.use_multishot_accept = false;
    no_standing.use_multishot_receive = false;
    return {{"all", small(), 0},
            {"no_defer_taskrun", no_defer, 1},
            {"no_coop_taskrun", no_coop, 3},
            {"no_buffer_rings", no_rings, 1},
            {"no_multishot_accept", no_multishot, 1},
            {"no_multishot_receive", no_standing, 1}};
}

class UringBackend : public testing::TestWithParam<Features> {
protected:
    void SetUp() override { open(GetParam().options); }
    void open(const UringOptions& options) {
        auto backend = create_uring_backend(options, &notes_);
        ASSERT_TRUE(backend) << backend.error().context;
        loop_ = std::make_unique<Loop>(std::move(*backend));
        scope_ = std::make_unique<Scope>(*loop_);
    }
    // Bounded turns that wait for events: no clock decides a case. What is ready may be the last
    // that is to come, so a turn that has it must not wait.
    void settle() {
        for (unsigned turn = 0; scope_->live() != 0 && turn < turns_max; ++turn) {
            loop_->turn(loop_->idle() ? Backend::Wait::until_event : Backend::Wait::no);
        }
        ASSERT_EQ(scope_->live(), 0u);
        loop_->turn(Backend::Wait::no);  // closes go out
    }
    UringNotes notes_;
    std::unique_ptr<Loop> loop_;
    std::unique_ptr<Scope> scope_;
};

INSTANTIATE_TEST_SUITE_P(Kernels,
                         UringBackend,
                         testing::ValuesIn(feature_sets()),
                         [](const auto& info) { return std::string(info.param.name); });

struct Listening {
    int fd = -1;
    SocketAddress address;
};

Listening listen_on_loopback() {
    Listening listening;
    listening.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listening.fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listening.fd, 128), 0);
    socklen_t length = sizeof address;
    ::getsockname(listening.fd, reinterpret_cast<sockaddr*>(&address), &length);
    listening.address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&address));
    return listening;
}

int stream_socket() {
    return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

std::string pattern(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<char>((i * 2'654'435'761u) >> 13);
    }
    return bytes;
}

TEST_P(UringBackend, says_in_a_line_what_the_kernel_lacks) {
    EXPECT_EQ(notes_.lines.size(), GetParam().notes);
    for (const std::string& line : notes_.lines) {
        EXPECT_NE(line.find("Linux "), std::string::npos) << line;
        EXPECT_NE(line.find("missing"), std::string::npos) << line;
        EXPECT_NE(line.find(";"), std::string::npos) << "what is done instead: " << line;
    }
}

Task<void> echo_all(Loop* loop, int fd) {
    ScriptedPeer peer(*loop, fd);
    std::string bytes = co_await peer.receive_all();
    EXPECT_EQ(co_await peer.send(std::move(bytes)), 0);
    peer.end_sending();
}

Task<void> ask(Loop* loop, SocketAddress server, std::string bytes, int* answered) {
    ScriptedPeer peer(*loop, stream_socket());
    EXPECT_EQ(co_await peer.connect(server), 0);
    EXPECT_EQ(co_await peer.send(bytes), 0);
    peer.end_sending();
    EXPECT_EQ(co_await peer.receive_all(), bytes);
    EXPECT_EQ(peer.error(), 0);
    ++*answered;
}

Task<void> serve(Loop* loop, Scope* scope, ScriptedListener* listener, int count) {
    for (int i = 0; i < count; ++i) {
        scope->spawn(echo_all, loop, co_await listener->accept());
    }
    co_await listener->stop();
}

TEST_P(UringBackend, accepts_and_echoes_many_connections_at_once) {
    Listening listening = listen_on_loopback();
    ScriptedListener listener(*loop_, listening.fd);
    int answered = 0;
    scope_->spawn(serve, loop_.get(), scope_.get(), &listener, 60);
    for (int i = 0; i < 60; ++i) {  // more than there are lent buffers
        scope_->spawn(ask,
                      loop_.get(),
                      listening.address,
                      pattern(static_cast<std::size_t>(i) * 700),
                      &answered);
    }
    settle();
    EXPECT_EQ(answered, 60);
    EXPECT_EQ(listener.failures(), 0u);
}

struct Ends {
    int near = -1;
    int far = -1;
};

Ends tcp_pair() {
    Listening listening = listen_on_loopback();
    Ends ends;
    ends.near = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage address{};
    auto length = listening.address.to_sockaddr(address);
    EXPECT_EQ(::connect(ends.near, reinterpret_cast<sockaddr*>(&address), length), 0);
    ends.far = ::accept4(listening.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ::close(listening.fd);
    return ends;
}

Task<void> send_and_end(ScriptedPeer* peer, std::string bytes, bool* done) {
    EXPECT_EQ(co_await peer->send(std::move(bytes)), 0);
    *done = true;
    peer->end_sending();
}

Task<void> receive_into(ScriptedPeer* peer, std::string* out) {
    *out = co_await peer->receive_all();
}

TEST_P(UringBackend, ten_megabytes_wait_for_the_reader_and_arrive_whole) {
    Ends ends = tcp_pair();
    ScriptedPeer near(*loop_, ends.near), far(*loop_, ends.far);
    std::string bytes = pattern(10 * 1024 * 1024), got;
    bool sent = false;
    scope_->spawn(send_and_end, &near, bytes, &sent);
    for (int turn = 0; turn < 50; ++turn) {
        loop_->turn(Backend::Wait::no);
    }
    EXPECT_FALSE(sent) << "nobody has read yet";
    scope_->spawn(receive_into, &far, &got);
    settle();
    EXPECT_TRUE(got == bytes);
    EXPECT_TRUE(far.ended());
}

TEST_P(UringBackend, sends_many_pieces_in_order) {
    Ends ends = tcp_pair();
    ScriptedPeer near(*loop_, ends.near), far(*loop_, ends.far);
    std::string big = pattern(3'000'000), got;
    auto send_pieces = [](Loop* loop, ScriptedPeer* peer, std::string* big) -> Task<void> {
        char head[] = "head ", tail[] = " tail";
        iovec pieces[] = {{head, 5}, {big->data(), big->size()}, {tail, 5}};
        Operation send;
        send.code = OpCode::send;
        send.fd = peer->fd();
        send.message.msg_iov = pieces;
        send.message.msg_iovlen = 3;
        EXPECT_EQ(co_await Await(*loop, send), static_cast<int>(big->size() + 10));
        peer->end_sending();
    };
    scope_->spawn(send_pieces, loop_.get(), &near, &big);
    scope_->spawn(receive_into, &far, &got);
    settle();
    EXPECT_TRUE(got == "head " + big + " tail");
}

Task<void> receive_bulk(Loop* loop, int fd, std::vector<LentBuffer>* held) {
    Operation receive;
    receive.code = OpCode::receive;
    receive.size = ReceiveSize::bulk;
    receive.fd = fd;
    EXPECT_GT(co_await Await(*loop, receive), 0);
    held->push_back(*receive.lent);
}

TEST_P(UringBackend, a_bulk_receive_takes_a_large_buffer_while_there_is_one) {
    const UringOptions& options = GetParam().options;
    const std::string big(64 * 1024, 'b');
    std::vector<LentBuffer> held;
    std::vector<Ends> ends;
    for (unsigned i = 0; i < options.bulk_buffers + 3; ++i) {
        ends.push_back(tcp_pair());
        ASSERT_EQ(::write(ends.back().near, big.data(), big.size()),
                  static_cast<ssize_t>(big.size()));
        scope_->spawn(receive_bulk, loop_.get(), ends.back().far, &held);
    }
    settle();
    ASSERT_EQ(held.size(), ends.size());
    const auto large = static_cast<unsigned>(std::ranges::count_if(
        held, [&](const LentBuffer& lent) { return lent.capacity > options.buffer_bytes; }));
    EXPECT_EQ(large, options.use_buffer_rings ? options.bulk_buffers : 0U);
    for (const LentBuffer& lent : held) {
        EXPECT_LE(lent.size, lent.capacity);
        EXPECT_EQ(lent.data[lent.size - 1], std::byte{'b'});
        loop_->backend().release_buffer(lent);
    }
    for (const Ends& pair : ends) {
        ::close(pair.near);
        ::close(pair.far);
    }
}

// Receives are held without being released until all lent buffers are out.
Task<void> hold_buffer(Loop* loop, int fd, std::vector<LentBuffer>* held) {
    Operation receive;
    receive.code = OpCode::receive;
    receive.fd = fd;
    EXPECT_EQ(co_await Await(*loop, receive), 5);
    held->push_back(*receive.lent);
}

TEST_P(UringBackend, receives_into_the_heap_when_all_buffers_are_lent_and_recovers) {
    constexpr std::size_t connections = 12;  // of 8 buffers
    std::vector<Ends> ends;
    for (std::size_t i = 0; i < connections; ++i) {
        ends.push_back(tcp_pair());
    }
    for (int round = 0; round < 3; ++round) {
        auto misses_before = loop_->backend().stats().buffer_misses;
        std::vector<LentBuffer> held;
        for (const Ends& pair : ends) {
            ASSERT_EQ(::write(pair.near, "hello", 5), 5);
            scope_->spawn(hold_buffer, loop_.get(), pair.far, &held);
        }
        settle();
        ASSERT_EQ(held.size(), connections);
        auto misses = loop_->backend().stats().buffer_misses - misses_before;
        EXPECT_EQ(misses, GetParam().options.use_buffer_rings ? 4u : 12u) << "round " << round;
        for (const LentBuffer& buffer : held) {
            EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer.data), buffer.size), "hello");
            loop_->backend().release_buffer(buffer);
        }
    }
    for (const Ends& pair : ends) {
        loop_->backend().close(pair.near);
        loop_->backend().close(pair.far);
    }
}

Task<void> receive_once(Loop* loop, Operation* operation, int* result) {
    *result = co_await Await(*loop, *operation);
}

TEST_P(UringBackend, a_cancelled_receive_ends_also_when_no_buffer_is_left) {
    // Whichever comes first, the bytes or the cancel, the retry on the heap must not outlive it.
    std::vector<LentBuffer> held;
    std::vector<Ends> ends;
    for (int i = 0; i < 9; ++i) {
        ends.push_back(tcp_pair());
    }
    for (int i = 0; i < 8; ++i) {
        ASSERT_EQ(::write(ends[static_cast<std::size_t>(i)].near, "hello", 5), 5);
        scope_->spawn(hold_buffer, loop_.get(), ends[static_cast<std::size_t>(i)].far, &held);
    }
    settle();
    Operation receive;
    receive.code = OpCode::receive;
    receive.fd = ends[8].far;
    int result = 1;
    scope_->spawn(receive_once, loop_.get(), &receive, &result);
    loop_->turn(Backend::Wait::no);
    ASSERT_EQ(::write(ends[8].near, "x", 1), 1);
    loop_->backend().cancel(receive);
    settle();
    EXPECT_TRUE(result == -ECANCELED || result == 1) << result;
    if (receive.lent) {
        loop_->backend().release_buffer(*receive.lent);
    }
    for (const LentBuffer& buffer : held) {
        loop_->backend().release_buffer(buffer);
    }
    for (const Ends& pair : ends) {
        loop_->backend().close(pair.near);
        loop_->backend().close(pair.far);
    }
}

TEST_P(UringBackend, a_cancel_always_completes_the_operation) {
    Ends ends = tcp_pair();
    Listening listening = listen_on_loopback();
    Operation operations[4];
    operations[0].code = OpCode::receive;
    operations[0].fd = ends.near;
    operations[1].code = OpCode::accept;
    operations[1].fd = listening.fd;
    operations[2].code = OpCode::poll;
    operations[2].fd = ends.far;
    operations[2].length = 1;  // POLLIN
    std::string big(64 * 1024 * 1024, 'x');
    operations[3].code = OpCode::send;
    operations[3].fd = ends.far;
    operations[3].buffer = big.data();
    operations[3].length = big.size();
    int results[4] = {1, 1, 1, 0};
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 3; ++i) {
            scope_->spawn(receive_once, loop_.get(), &operations[i], &results[i]);
        }
        for (int turn = 0; turn < round; ++turn) {  // queued, submitted, waiting
            loop_->turn(Backend::Wait::no);
        }
        for (int i = 0; i < 3; ++i) {
            loop_->backend().cancel(operations[i]);
            loop_->backend().cancel(operations[i]);
        }
        settle();
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(results[i], -ECANCELED) << "operation " << i << " round " << round;
            EXPECT_FALSE(operations[i].in_flight);
        }
    }
    scope_->spawn(receive_once, loop_.get(), &operations[3], &results[3]);
    loop_->turn(Backend::Wait::no);
    loop_->backend().cancel(operations[3]);
    settle();
    EXPECT_TRUE(results[3] == -ECANCELED ||
                (results[3] > 0 && static_cast<std::size_t>(results[3]) < big.size()))
        << "a cut send tells how far it came: " << results[3];
    loop_->backend().cancel(operations[0]);  // not in flight: nothing happens
    for (int fd : {ends.near, ends.far, listening.fd}) {
        loop_->backend().close(fd);
    }
}

TEST_P(UringBackend, nobody_listening_refuses) {
    Listening listening = listen_on_loopback();
    ::close(listening.fd);
    auto connect = [](Loop* loop, SocketAddress address) -> Task<void> {
        ScriptedPeer peer(*loop, stream_socket());
        EXPECT_EQ(co_await peer.connect(address), ECONNREFUSED);
    };
    scope_->spawn(connect, loop_.get(), listening.address);
    settle();
}

TEST_P(UringBackend, an_orderly_close_is_an_end_and_a_reset_is_an_error) {
    for (bool reset : {false, true}) {
        Ends ends = tcp_pair();
        ScriptedPeer near(*loop_, ends.near), far(*loop_, ends.far);
        std::string got = "something";
        scope_->spawn(receive_into, &far, &got);
        loop_->turn(Backend::Wait::no);
        reset ? near.reset() : near.close();
        settle();
        EXPECT_EQ(got, "");
        EXPECT_EQ(far.ended(), !reset);
        EXPECT_EQ(far.error(), reset ? ECONNRESET : 0);
    }
}

TEST_P(UringBackend, queued_closes_go_out_when_the_ring_ends) {
    Ends ends = tcp_pair();
    loop_->backend().close(ends.near);
    scope_.reset();
    loop_.reset();
    char byte;
    EXPECT_EQ(::fcntl(ends.far, F_SETFL, 0), 0);
    EXPECT_EQ(::read(ends.far, &byte, 1), 0);
    ::close(ends.far);
}

TEST_P(UringBackend, a_ring_that_ends_leaves_nothing_that_writes_into_memory) {
    Ends ends = tcp_pair();
    char room[4] = "old";
    Operation receive;
    receive.code = OpCode::receive_into;
    receive.fd = ends.far;
    receive.buffer = room;
    receive.length = sizeof room;
    loop_->backend().start(receive);
    loop_->turn(Backend::Wait::no);
    scope_.reset();
    loop_.reset();
    ASSERT_EQ(::write(ends.near, "new", 4), 4);
    EXPECT_STREQ(room, "old");
    ::close(ends.near);
    ::close(ends.far);
}

// A callback that starts the next operation from inside the walk over completions.
struct Chain {
    Loop* loop;
    Operation operation;
    unsigned left;
    static void next(Operation& done) {
        auto& chain = *static_cast<Chain*>(done.owner);
        if (--chain.left > 0) {
            chain.loop->backend().start(chain.operation);
        }
    }
};

TEST_P(UringBackend, callbacks_may_start_more_than_both_queues_hold) {
    std::vector<std::unique_ptr<Chain>> chains;
    for (int i = 0; i < 1000; ++i) {  // of 64 submissions and 256 completions
        auto chain = std::make_unique<Chain>(Chain{loop_.get(), {}, 20});
        chain->operation.owner = chain.get();
        chain->operation.on_complete = &Chain::next;
        loop_->backend().start(chain->operation);
        chains.push_back(std::move(chain));
    }
    auto done = [&] {
        return std::all_of(chains.begin(), chains.end(), [](auto& c) { return c->left == 0; });
    };
    for (unsigned turn = 0; !done() && turn < turns_max; ++turn) {
        loop_->turn(Backend::Wait::until_event);
    }
    EXPECT_TRUE(done());
}

TEST(UringNotes, a_null_pointer_for_notes_is_fine) {
    UringOptions options = small();
    options.use_coop_taskrun = options.use_buffer_rings = false;
    EXPECT_TRUE(create_uring_backend(options, nullptr));
}

}  // namespace
}  // namespace orlop::runtime
