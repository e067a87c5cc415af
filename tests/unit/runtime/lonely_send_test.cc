// Sends that go out without the ring, on the kernel's ring.
#include "tests/unit/runtime/ring_end.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <unistd.h>

namespace orlop::runtime {
namespace {

// The backend sends, the other end is read by hand.
class LonelySend : public RingEnd {
protected:
    void SetUp() override { open(UringOptions{}.send_at_once_below); }
    void open(unsigned send_at_once_below) {
        TearDown();
        UringOptions options = small_ring();
        options.send_at_once_below = send_at_once_below;
        ASSERT_NO_FATAL_FAILURE(RingEnd::open(options));
        connect(OpCode::send,
                [](Operation& operation) { ++static_cast<LonelySend*>(operation.owner)->told_; });
    }
    void start(std::string& bytes) {
        send_.buffer = bytes.data();
        send_.length = bytes.size();
        backend_->start(send_);
    }
    void start(std::span<iovec> pieces) {
        send_.message = {};
        send_.message.msg_iov = pieces.data();
        send_.message.msg_iovlen = pieces.size();
        backend_->start(send_);
    }
    // The result of the send that is in flight; what arrives is read meanwhile.
    int await() {
        for (unsigned i = 0; send_.in_flight && i < polls_max; ++i) {
            read();
            look();
        }
        read();
        EXPECT_FALSE(send_.in_flight);
        return send_.result;
    }
    void read() {
        std::array<char, 4096> room;
        for (ssize_t got = 1; got > 0;) {
            got = ::read(peer_, room.data(), room.size());
            arrived_.append(room.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
        }
    }
    // Less than send_at_once_bytes_max, more than the socket takes at once.
    void make_room_small() {
        int bytes = 4096;
        ASSERT_EQ(::setsockopt(send_.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    }
    const BackendStats& stats() { return backend_->stats(); }

    Operation& send_ = operation_;
    std::string arrived_;
};

std::string alphabet(std::size_t size) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = static_cast<char>('a' + i % 26);
    }
    return text;
}

TEST_F(LonelySend, needs_no_request_and_is_told_by_the_next_poll) {
    std::string text = "hello";
    start(text);
    EXPECT_TRUE(send_.in_flight);
    EXPECT_EQ(told_, 0u) << "start() never calls back";
    read();
    EXPECT_EQ(arrived_, "hello") << "it leaves at once";
    EXPECT_EQ(await(), 5);
    EXPECT_EQ(told_, 1u);
    EXPECT_EQ(stats().submissions, 0u);
    EXPECT_EQ(stats().enters, 0u);
}

TEST_F(LonelySend, of_pieces_keeps_their_order) {
    std::string head = "HTTP/1.1 200 OK\r\n\r\n", body = "body";
    std::array pieces{iovec{head.data(), head.size()}, iovec{body.data(), body.size()}};
    start(pieces);
    EXPECT_EQ(await(), static_cast<int>(head.size() + body.size()));
    EXPECT_EQ(arrived_, head + body);
}

TEST_F(LonelySend, that_finds_no_room_for_all_goes_on_in_the_ring) {
    make_room_small();
    std::string first = alphabet(100), second = alphabet(9000), third = alphabet(6000);
    std::array pieces{iovec{first.data(), first.size()},
                      iovec{second.data(), second.size()},
                      iovec{third.data(), third.size()}};
    start(pieces);
    EXPECT_EQ(stats().submissions, 1u);
    EXPECT_EQ(await(), 15'100);
    EXPECT_EQ(arrived_, first + second + third);
    EXPECT_EQ(pieces[0].iov_len, 100u) << "the owner's list is only read";
    EXPECT_EQ(pieces[2].iov_base, third.data());

    arrived_.clear();
    std::string whole = alphabet(15'000);
    start(whole);
    EXPECT_EQ(await(), 15'000) << "nothing of the send before counts";
    EXPECT_EQ(arrived_, whole);
}

TEST_F(LonelySend, that_stops_half_way_tells_how_far_it_came) {
    make_room_small();
    std::string text = alphabet(15'000);
    start(text);
    backend_->cancel(send_);
    for (unsigned i = 0; send_.in_flight && i < polls_max; ++i) {
        look();
    }
    read();
    EXPECT_EQ(send_.result, static_cast<int>(arrived_.size()));
    EXPECT_GT(send_.result, 0);
    EXPECT_LT(send_.result, 15'000);
}

TEST_F(LonelySend, to_a_peer_that_is_gone_fails_as_the_ring_would) {
    hang_up();
    std::string text = "hello";
    start(text);
    for (unsigned i = 0; send_.in_flight && i < polls_max; ++i) {
        look();
    }
    EXPECT_EQ(send_.result, -EPIPE);
    EXPECT_EQ(told_, 1u);
}

TEST_F(LonelySend, large_bytes_are_the_rings) {
    std::string text = alphabet(20'000);
    start(text);
    EXPECT_EQ(stats().sends_at_once, 0u);
    EXPECT_EQ(await(), 20'000);
}

TEST_F(LonelySend, is_one_of_few_else_the_ring_takes_them_together) {
    // Three operations that end in one poll: from then on there is much to do.
    std::array<Operation, 3> nothing;
    for (Operation& each : nothing) {
        each.on_complete = [](Operation&) {};
        backend_->start(each);
    }
    look();
    std::string text = "hello";
    start(text);
    EXPECT_EQ(stats().sends_at_once, 0u);
    EXPECT_EQ(await(), 5);
    start(text);
    EXPECT_EQ(stats().sends_at_once, 1u) << "the poll before found one completion";
    EXPECT_EQ(await(), 5);
}

TEST_F(LonelySend, can_be_switched_off) {
    open(0);
    std::string text = "hello";
    start(text);
    EXPECT_EQ(stats().sends_at_once, 0u);
    EXPECT_EQ(await(), 5);
}

}  // namespace
}  // namespace orlop::runtime
