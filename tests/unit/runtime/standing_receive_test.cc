// Multishot receives behind single-shot operations, on the kernel's ring.
#include "tests/unit/runtime/ring_end.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace orlop::runtime {
namespace {

constexpr unsigned warm_rounds = 300;  // more than a connection needs to be trusted again

// The backend receives, the other end is written to by hand.
class Standing : public RingEnd {
protected:
    void SetUp() override {
        ASSERT_NO_FATAL_FAILURE(open(small_ring()));
        connect();
    }
    void connect() {
        RingEnd::connect(OpCode::receive, [](Operation& operation) {
            auto& self = *static_cast<Standing*>(operation.owner);
            ++self.told_;
            if (operation.lent) {
                self.got_.append(reinterpret_cast<const char*>(operation.lent->data),
                                 operation.lent->size);
                self.backend_->release_buffer(*operation.lent);
            }
        });
    }
    void say(const std::string& bytes) {
        ASSERT_EQ(::write(peer_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }
    // The result of the receive that is in flight.
    int await() {
        for (unsigned i = 0; receive_.in_flight && i < polls_max; ++i) {
            look();
        }
        EXPECT_FALSE(receive_.in_flight);
        return receive_.result;
    }
    int receive() {
        backend_->start(receive_);
        return await();
    }
    // Question and answer, until a receive needs no request of its own.
    void warm_up() {
        for (unsigned i = 0; i < warm_rounds; ++i) {
            backend_->start(receive_);
            look();
            say("x");
            ASSERT_EQ(await(), 1);
        }
        got_.clear();
        told_ = 0;
    }

    Operation& receive_ = operation_;
    std::string got_;
};

TEST_F(Standing, small_messages_need_no_request_each) {
    warm_up();
    const auto before = backend_->stats().submissions;
    for (int i = 0; i < 10; ++i) {
        backend_->start(receive_);
        say("hello");
        ASSERT_EQ(await(), 5);
    }
    EXPECT_EQ(backend_->stats().submissions, before);
}

TEST_F(Standing, what_came_before_the_reader_asked_is_told_in_order_and_then_the_end) {
    warm_up();
    for (const char* piece : {"one ", "two ", "three"}) {
        say(piece);
        look();
    }
    hang_up();
    look();
    EXPECT_EQ(told_, 0u) << "nobody asked";
    while (receive() > 0) {
    }
    EXPECT_EQ(got_, "one two three");
    EXPECT_EQ(receive_.result, 0);
}

TEST_F(Standing, bytes_beyond_the_pool_wait_in_the_socket_or_in_copies_and_none_is_lost) {
    warm_up();
    std::string all;
    for (int i = 0; i < 40; ++i) {
        std::string piece(3000, static_cast<char>('a' + i % 26));
        say(piece);
        all += piece;
        if (i % 4 == 0) {
            look();
        }
    }
    hang_up();
    while (receive() > 0) {
    }
    EXPECT_EQ(receive_.result, 0);
    EXPECT_EQ(got_, all);
}

TEST_F(Standing, a_large_transfer_goes_back_to_receives_of_the_reader_s_size) {
    warm_up();
    std::string all;
    for (int round = 0; round < 8; ++round) {
        std::string piece(20'000, static_cast<char>('a' + round));
        say(piece);
        all += piece;
        while (got_.size() < all.size()) {
            receive_.size = round % 2 == 0 ? ReceiveSize::ordinary : ReceiveSize::bulk;
            ASSERT_GT(receive(), 0);
        }
    }
    EXPECT_EQ(got_, all);
}

TEST_F(Standing, a_cancelled_receive_is_told_and_takes_no_bytes_along) {
    warm_up();
    backend_->start(receive_);
    backend_->cancel(receive_);
    EXPECT_TRUE(receive_.in_flight) << "told by the loop, not inside cancel()";
    EXPECT_EQ(await(), -ECANCELED);
    say("later");
    look();
    EXPECT_EQ(receive(), 5);
    EXPECT_EQ(got_, "later");
}

TEST_F(Standing, a_close_reaches_the_peer_and_the_number_s_next_socket_starts_afresh) {
    warm_up();
    say("unread");
    look();
    const int number = receive_.fd;
    backend_->close(number);
    look();
    char byte = 0;
    EXPECT_EQ(::read(peer_, &byte, 1), 0);
    hang_up();
    connect();
    ASSERT_EQ(receive_.fd, number);
    say("fresh");
    EXPECT_EQ(receive(), 5);
    EXPECT_EQ(got_, "fresh");
}

TEST_F(Standing, the_ring_may_end_over_standing_receives_and_parked_bytes) {
    warm_up();
    for (int i = 0; i < 4; ++i) {
        say("parked");
        look();
    }
    backend_.reset();
    ::close(receive_.fd);
    receive_.fd = -1;
    EXPECT_EQ(told_, 0u);
}

}  // namespace
}  // namespace orlop::runtime
