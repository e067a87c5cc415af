// bench-backend: the application behind the mesh, as cheap as one can be. One thread, one epoll.
//
//     bench-backend --address 10.0.0.2 --port 8080 [--echo-port 8081]
//
// HTTP/1.1 on --port: GET /bytes/N answers N bytes of the pattern of reply.h, any other path 1024.
// --echo-port sends back what it receives. Requests have no bodies here; a head longer than 64 KiB
// or a peer's error closes the connection.
#include "bench/load/reply.h"
#include "bench/load/sockets.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <charconv>
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

constexpr std::size_t input_bytes_max = 64 * 1024;
constexpr std::int64_t body_bytes_default = 1024;
constexpr std::int64_t body_bytes_max = std::int64_t{16} << 30;

enum class Role : unsigned char { http_listener, echo_listener, http, echo };

struct Peer {
    Role role = Role::http;
    std::string input{};
    std::string output{};        // heads, short bodies and echoes that wait for room
    std::int64_t body_left = 0;  // of a long body, after `output`
    std::int64_t body_at = 0;
    bool close_after = false;
    bool wants_write = false;
};

class Backend {
public:
    Backend() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        for (std::size_t i = 0; i < pattern_.size(); ++i) {
            pattern_[i] = pattern_byte(static_cast<std::int64_t>(i));
        }
    }

    bool listen(const std::string& address, std::uint16_t port, Role role) {
        int fd = listen_tcp(address, port);
        if (fd < 0) {
            std::fprintf(stderr,
                         "bench-backend: listen %s port %d: %s\n",
                         address.c_str(),
                         port,
                         std::strerror(-fd));
            return false;
        }
        add(fd, role);
        return true;
    }

    [[noreturn]] void run() {
        std::array<epoll_event, 256> events{};
        for (;;) {
            int count = epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) {
                on_ready(events[static_cast<std::size_t>(i)].data.fd);
            }
        }
    }

private:
    void add(int fd, Role role) {
        peers_[fd] = std::make_unique<Peer>(Peer{.role = role});
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }

    void drop(int fd) {
        peers_.erase(fd);
        close(fd);
    }

    void on_ready(int fd) {
        auto found = peers_.find(fd);
        if (found == peers_.end()) {
            return;
        }
        Peer& peer = *found->second;
        if (peer.role == Role::http_listener || peer.role == Role::echo_listener) {
            auto role = peer.role == Role::http_listener ? Role::http : Role::echo;
            for (int next = accept_tcp(fd); next >= 0; next = accept_tcp(fd)) {
                add(next, role);
            }
            return;
        }
        if (peer.wants_write) {
            flush(fd, peer);
            return;
        }
        auto got = read(fd, buffer_.data(), buffer_.size());
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN) {
                drop(fd);
            }
            return;
        }
        std::string_view data(buffer_.data(), static_cast<std::size_t>(got));
        if (peer.role == Role::echo) {
            peer.output.append(data);
        } else {
            peer.input.append(data);
            answer(peer);
        }
        if (peer.input.size() > input_bytes_max) {
            drop(fd);
            return;
        }
        flush(fd, peer);
    }

    // Answers every complete head, one long body at a time.
    void answer(Peer& peer) {
        while (peer.body_left == 0) {
            auto end = peer.input.find("\r\n\r\n");
            if (end == std::string::npos) {
                return;
            }
            std::string_view head(peer.input.data(), end);
            std::int64_t length = body_bytes_default;
            if (head.starts_with("GET /bytes/")) {
                std::from_chars(head.data() + 11, head.data() + head.size(), length);
                length = length < 0 || length > body_bytes_max ? body_bytes_default : length;
            }
            peer.close_after = head.find("onnection: close") != std::string_view::npos;
            peer.output += "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
                           "Content-Length: " +
                           std::to_string(length);
            peer.output += peer.close_after ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n";
            peer.body_left = length;
            peer.body_at = 0;
            if (length <= static_cast<std::int64_t>(pattern_.size())) {
                peer.output.append(pattern_.data(), static_cast<std::size_t>(length));
                peer.body_left = 0;
            }
            peer.input.erase(0, end + 4);
        }
    }

    void flush(int fd, Peer& peer) {
        for (;;) {
            bool from_output = !peer.output.empty();
            if (!from_output && peer.body_left == 0) {
                break;
            }
            auto sent = from_output ? write(fd, peer.output.data(), peer.output.size())
                                    : write_body(fd, peer);
            if (sent < 0) {
                if (errno == EAGAIN) {
                    watch_write(fd, peer, true);
                } else {
                    drop(fd);
                }
                return;
            }
            if (from_output) {
                peer.output.erase(0, static_cast<std::size_t>(sent));
            } else {
                peer.body_at += sent;
                peer.body_left -= sent;
            }
        }
        if (peer.close_after) {
            drop(fd);
            return;
        }
        watch_write(fd, peer, false);
    }

    ssize_t write_body(int fd, const Peer& peer) {
        auto begin = static_cast<std::size_t>(peer.body_at) % pattern_.size();
        auto room = pattern_.size() - begin;
        auto left = static_cast<std::size_t>(peer.body_left);
        return write(fd, pattern_.data() + begin, left < room ? left : room);
    }

    void watch_write(int fd, Peer& peer, bool wanted) {
        if (peer.wants_write == wanted) {
            return;
        }
        peer.wants_write = wanted;
        epoll_event event{.events = wanted ? EPOLLOUT : EPOLLIN, .data = {.fd = fd}};
        epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
    }

    int epoll_;
    std::array<char, 64 * 1024> buffer_{};
    std::array<char, 256 * 1024> pattern_{};
    std::unordered_map<int, std::unique_ptr<Peer>> peers_;
};

int serve(int argc, char** argv) {
    std::string address = "0.0.0.0";
    int port = 0;
    int echo_port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string_view name = argv[i];
        if (name == "--address") {
            address = argv[i + 1];
        } else if (name == "--port") {
            port = static_cast<int>(std::strtol(argv[i + 1], nullptr, 10));
        } else if (name == "--echo-port") {
            echo_port = static_cast<int>(std::strtol(argv[i + 1], nullptr, 10));
        }
    }
    if (port == 0) {
        std::fprintf(stderr, "usage: bench-backend --address A --port P [--echo-port P]\n");
        return 2;
    }
    auto backend = std::make_unique<Backend>();
    if (!backend->listen(address, static_cast<std::uint16_t>(port), Role::http_listener)) {
        return 1;
    }
    if (echo_port != 0 &&
        !backend->listen(address, static_cast<std::uint16_t>(echo_port), Role::echo_listener)) {
        return 1;
    }
    backend->run();
}

}  // namespace
}  // namespace orlop::bench

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    return orlop::bench::serve(argc, argv);
}
