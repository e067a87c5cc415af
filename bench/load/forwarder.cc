// bench-forwarder: the floor of a hop. Accepts, connects, moves bytes both ways through one buffer
// per direction; knows no protocol. One thread, one epoll.
//
//     bench-forwarder --address 127.0.0.1 --port 15001 --to 10.0.0.2 --to-port 8080
#include "bench/load/sockets.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unistd.h>
#include <unordered_map>

namespace orlop::bench {
namespace {

struct End {
    int other = -1;
    std::string pending{};  // bytes from `other` that wait for room here
    std::uint32_t events = EPOLLIN;
    bool finished = false;  // the other end sent its last byte
};

struct Target {
    std::string address;
    std::uint16_t port = 0;
};

class Forwarder {
public:
    Forwarder(int listener, Target target)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener), target_(std::move(target)) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = listener_}};
        epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
    }

    [[noreturn]] void run() {
        std::array<epoll_event, 256> events{};
        for (;;) {
            int count = epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) {
                auto& event = events[static_cast<std::size_t>(i)];
                if (event.data.fd == listener_) {
                    accept_all();
                } else {
                    on_ready(event.data.fd, event.events);
                }
            }
        }
    }

private:
    void accept_all() {
        for (int fd = accept_tcp(listener_); fd >= 0; fd = accept_tcp(listener_)) {
            int up = connect_tcp(target_.address, target_.port);
            if (up < 0) {
                close(fd);
                continue;
            }
            ends_[fd] = std::make_unique<End>(End{.other = up});
            ends_[up] = std::make_unique<End>(End{.other = fd});
            for (int each : {fd, up}) {
                epoll_event event{.events = EPOLLIN, .data = {.fd = each}};
                epoll_ctl(epoll_, EPOLL_CTL_ADD, each, &event);
            }
        }
    }

    void on_ready(int fd, std::uint32_t ready) {
        auto found = ends_.find(fd);
        if (found == ends_.end()) {
            return;
        }
        End& end = *found->second;
        if ((ready & EPOLLOUT) != 0 && !write_pending(fd, end)) {
            return;
        }
        if ((ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            pump(fd, *ends_[end.other]);
        }
    }

    void pump(int fd, End& other) {
        int to = ends_[fd]->other;
        if (!other.pending.empty()) {
            return;
        }
        auto got = read(fd, buffer_.data(), buffer_.size());
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got < 0) {
            drop(fd);
            return;
        }
        if (got == 0) {
            other.finished = true;
            shutdown(to, SHUT_WR);
            watch(fd, ends_[fd]->events & ~EPOLLIN);
            if (ends_[fd]->finished) {
                drop(fd);
            }
            return;
        }
        auto sent = send(to, buffer_.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
            drop(fd);
            return;
        }
        auto taken = sent < 0 ? 0 : sent;
        if (taken < got) {
            other.pending.assign(buffer_.data() + taken, static_cast<std::size_t>(got - taken));
            watch(to, other.events | EPOLLOUT);
            watch(fd, ends_[fd]->events & ~EPOLLIN);
        }
    }

    bool write_pending(int fd, End& end) {
        auto sent = send(fd, end.pending.data(), end.pending.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            drop(fd);
            return false;
        }
        end.pending.erase(0, static_cast<std::size_t>(sent < 0 ? 0 : sent));
        if (end.pending.empty()) {
            watch(fd, end.events & ~EPOLLOUT);
            watch(end.other, ends_[end.other]->events | EPOLLIN);
        }
        return true;
    }

    void watch(int fd, std::uint32_t events) {
        auto& end = *ends_[fd];
        if (end.events != events) {
            end.events = events;
            epoll_event event{.events = events, .data = {.fd = fd}};
            epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
        }
    }

    void drop(int fd) {
        int other = ends_[fd]->other;
        ends_.erase(fd);
        ends_.erase(other);
        close(fd);
        close(other);
    }

    int epoll_;
    int listener_;
    Target target_;
    std::array<char, 64 * 1024> buffer_{};
    std::unordered_map<int, std::unique_ptr<End>> ends_;
};

}  // namespace
}  // namespace orlop::bench

int main(int argc, char** argv) {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;
    orlop::bench::Target target;
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string_view name = argv[i];
        auto number = static_cast<std::uint16_t>(std::strtol(argv[i + 1], nullptr, 10));
        if (name == "--address") {
            address = argv[i + 1];
        } else if (name == "--port") {
            port = number;
        } else if (name == "--to") {
            target.address = argv[i + 1];
        } else if (name == "--to-port") {
            target.port = number;
        }
    }
    int listener = port == 0 ? -EINVAL : orlop::bench::listen_tcp(address, port);
    if (listener < 0 || target.port == 0) {
        std::fprintf(
            stderr, "bench-forwarder: %s\n", std::strerror(listener < 0 ? -listener : EINVAL));
        return 1;
    }
    std::signal(SIGPIPE, SIG_IGN);
    auto forwarder = std::make_unique<orlop::bench::Forwarder>(listener, target);
    forwarder->run();
}
