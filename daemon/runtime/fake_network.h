// FakeNetwork: the TCP of the fake back end: sockets, bytes on their way, virtual time. It knows
// nothing of operations; FakeBackend asks it what an operation would get now.
//
// Sockets live from their creation to close(). What a closed socket sent still arrives. Single
// thread, no real clock, no system call.
#pragma once

#include "daemon/runtime/backend.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/fake_random.h"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>

namespace orlop::runtime {

struct FakeSocket {
    enum class State : unsigned char { fresh, connected, listening };
    struct Segment {
        Instant arrives;
        std::string bytes;
    };

    State state = State::fresh;
    SocketAddress local;
    SocketAddress peer;
    int other = -1;  // the socket at the other end; -1 once that is closed

    // What comes in.
    std::string readable;
    std::deque<Segment> on_the_way;
    std::size_t on_the_way_bytes = 0;
    std::size_t capacity = 0;
    Instant last_arrival;
    std::optional<Instant> end_arrives;
    bool end_seen = false;
    std::optional<Instant> reset_arrives;
    bool reset_seen = false;
    int error = 0;  // told once, to whichever call comes first

    bool write_shut = false;
    Backend::CloseStyle close_style = Backend::CloseStyle::orderly;
    std::optional<std::uint64_t> reset_after_bytes;  // fate: sent by this side
    std::uint64_t sent_bytes = 0;
    std::deque<int> backlog;  // listening
};

class FakeNetwork {
public:
    static constexpr int first_descriptor = 1 << 20;  // beyond any the kernel hands out here

    explicit FakeNetwork(const FakeOptions& options);

    int add_listener(SocketAddress address);
    void add_address(int listener, SocketAddress address);
    int add_socket(SocketAddress local);
    void adopt(int fd);  // a kernel's descriptor becomes a fresh fake socket
    void close(int fd);
    void shut_write(int fd);
    void break_connection(int fd);

    FakeSocket* find(int fd);
    const std::map<int, FakeSocket>& sockets() const { return sockets_; }

    // What a call would return now; nullopt: it would wait.
    std::optional<int> connect(int fd, SocketAddress server);
    std::optional<int> take_connection(int listener);
    std::optional<int> send(int fd, std::span<const char> bytes);
    std::optional<int> receive(int fd, std::span<char> room);
    bool connectable(int fd, SocketAddress server);
    bool acceptable(int listener);
    bool sendable(int fd);
    bool receivable(int fd);

    Instant now() const { return now_; }
    void advance(Instant now);  // delivers what arrives until then
    std::optional<Instant> next_event() const;

    FakeRandom& random() { return random_; }
    FakeFaults& faults() { return faults_; }

private:
    int listener_for(SocketAddress server) const;
    void establish(int client, int listener, SocketAddress server);
    void send_reset(FakeSocket& target);
    void put_on_the_way(FakeSocket& target, std::span<const char> bytes);
    static void arrive(FakeSocket& socket, Instant now);

    FakeOptions options_;
    FakeFaults faults_;
    FakeRandom random_;
    Instant now_{std::chrono::hours(1)};
    int next_descriptor_ = first_descriptor;
    std::uint16_t next_port_ = 32'768;
    std::map<int, FakeSocket> sockets_;
    std::map<SocketAddress, int> listeners_;
};

}  // namespace orlop::runtime
