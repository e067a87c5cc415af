// bench-ring-forwarder: the floor of a hop on io_uring, as bench-forwarder is on epoll. Accepts,
// connects, moves bytes; knows no protocol. One thread, one ring (SINGLE_ISSUER, DEFER_TASKRUN);
// each direction of a connection always has exactly one operation in flight.
//
//     bench-ring-forwarder --address 127.0.0.1 --port 15001 --to 10.0.0.2 --to-port 8080
#include "bench/load/sockets.h"

#include <liburing.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <string>
#include <string_view>
#include <unistd.h>

namespace orlop::bench {
namespace {

struct Pair;

struct Direction {
    Pair* pair = nullptr;
    int from = -1;
    int to = -1;
    std::size_t filled = 0;  // bytes of `room` still to be sent, from `at`
    std::size_t at = 0;
    bool done = false;
    std::array<char, 64 * 1024> room;
};

struct Pair {
    Direction up;
    Direction down;
};

class RingForwarder {
public:
    RingForwarder(int listener, std::string to, std::uint16_t to_port)
        : listener_(listener), to_(std::move(to)), to_port_(to_port) {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (int error = io_uring_queue_init_params(4096, &ring_, &params); error < 0) {
            std::fprintf(stderr, "bench-ring-forwarder: io_uring: %s\n", std::strerror(-error));
            std::exit(1);
        }
    }

    [[noreturn]] void run() {
        make_blocking(listener_);
        io_uring_prep_multishot_accept(submission(), listener_, nullptr, nullptr, SOCK_CLOEXEC);
        for (;;) {
            io_uring_submit_and_wait(&ring_, 1);
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* completion = nullptr;
            io_uring_for_each_cqe(&ring_, head, completion) {
                ++seen;
                auto* direction = static_cast<Direction*>(io_uring_cqe_get_data(completion));
                if (direction == nullptr) {
                    on_accept(*completion);
                } else {
                    on_done(*direction, completion->res);
                }
            }
            io_uring_cq_advance(&ring_, seen);
        }
    }

private:
    io_uring_sqe* submission() {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        while (entry == nullptr) {
            io_uring_submit(&ring_);
            entry = io_uring_get_sqe(&ring_);
        }
        io_uring_sqe_set_data(entry, nullptr);
        return entry;
    }

    // On a non-blocking socket io_uring reports EAGAIN instead of waiting.
    static void make_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

    void on_accept(const io_uring_cqe& completion) {
        if (completion.res >= 0) {
            start(completion.res);
        }
        if ((completion.flags & IORING_CQE_F_MORE) == 0) {
            io_uring_prep_multishot_accept(submission(), listener_, nullptr, nullptr, SOCK_CLOEXEC);
        }
    }

    void start(int fd) {
        int up = connect_tcp(to_, to_port_);
        if (up < 0) {
            close(fd);
            return;
        }
        make_blocking(up);
        set_no_delay(fd);
        auto pair = std::make_unique<Pair>();
        pair->up.from = pair->down.to = fd;
        pair->up.to = pair->down.from = up;
        pair->up.pair = pair->down.pair = pair.get();
        receive(pair->up);
        receive(pair->down);
        (void)pair.release();  // ends itself when both directions are done
    }

    void receive(Direction& direction) {
        auto* entry = submission();
        io_uring_prep_recv(entry, direction.from, direction.room.data(), direction.room.size(), 0);
        io_uring_sqe_set_data(entry, &direction);
    }

    void send_rest(Direction& direction) {
        auto* entry = submission();
        io_uring_prep_send(entry,
                           direction.to,
                           direction.room.data() + direction.at,
                           direction.filled,
                           MSG_NOSIGNAL);
        io_uring_sqe_set_data(entry, &direction);
    }

    void on_done(Direction& direction, int result) {
        if (result <= 0) {
            end(direction, result < 0);
        } else if (direction.filled == 0) {
            direction.at = 0;
            direction.filled = static_cast<std::size_t>(result);
            send_rest(direction);
        } else {
            direction.at += static_cast<std::size_t>(result);
            direction.filled -= static_cast<std::size_t>(result);
            direction.filled == 0 ? receive(direction) : send_rest(direction);
        }
    }

    static void end(Direction& direction, bool broken) {
        direction.done = true;
        shutdown(direction.to, broken ? SHUT_RDWR : SHUT_WR);
        if (broken) {
            shutdown(direction.from, SHUT_RDWR);
        }
        Pair* pair = direction.pair;
        if (pair->up.done && pair->down.done) {
            close(pair->up.from);
            close(pair->up.to);
            delete pair;
        }
    }

    io_uring ring_{};
    int listener_;
    std::string to_;
    std::uint16_t to_port_;
};

}  // namespace
}  // namespace orlop::bench

int main(int argc, char** argv) {
    std::string address = "127.0.0.1";
    std::string to;
    std::uint16_t port = 0;
    std::uint16_t to_port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string_view name = argv[i];
        auto number = static_cast<std::uint16_t>(std::strtol(argv[i + 1], nullptr, 10));
        if (name == "--address") {
            address = argv[i + 1];
        } else if (name == "--port") {
            port = number;
        } else if (name == "--to") {
            to = argv[i + 1];
        } else if (name == "--to-port") {
            to_port = number;
        }
    }
    int listener = port == 0 ? -EINVAL : orlop::bench::listen_tcp(address, port);
    if (listener < 0 || to_port == 0) {
        std::fprintf(
            stderr, "bench-ring-forwarder: %s\n", std::strerror(listener < 0 ? -listener : EINVAL));
        return 1;
    }
    std::signal(SIGPIPE, SIG_IGN);
    orlop::bench::RingForwarder(listener, to, to_port).run();
}
