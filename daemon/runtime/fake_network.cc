#include "daemon/runtime/fake_network.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace orlop::runtime {
namespace {

void keep_earliest(std::optional<Instant>& earliest, Instant when) {
    if (!earliest || when < *earliest) {
        earliest = when;
    }
}

}  // namespace

FakeNetwork::FakeNetwork(const FakeOptions& options)
    : options_(options), faults_(options.faults), random_(options.seed) {}

FakeSocket* FakeNetwork::find(int fd) {
    auto found = sockets_.find(fd);
    return found == sockets_.end() ? nullptr : &found->second;
}

int FakeNetwork::add_listener(SocketAddress address) {
    int fd = next_descriptor_++;
    FakeSocket& socket = sockets_[fd];
    socket.state = FakeSocket::State::listening;
    socket.local = address;
    assert(!listeners_.contains(address) && "one listener per address");
    listeners_[address] = fd;
    return fd;
}

void FakeNetwork::add_address(int listener, SocketAddress address) {
    assert(sockets_[listener].state == FakeSocket::State::listening);
    assert(!listeners_.contains(address) && "one listener per address");
    listeners_[address] = listener;
}

int FakeNetwork::add_socket(SocketAddress local) {
    int fd = next_descriptor_++;
    adopt(fd);
    if (local != SocketAddress{}) {
        sockets_[fd].local = local;
    }
    return fd;
}

void FakeNetwork::adopt(int fd) {
    FakeSocket& socket = sockets_[fd];
    socket.local = SocketAddress{IpAddress::v4(0x7f00'0001), next_port_};
    next_port_ = next_port_ == 60'999 ? 32'768 : next_port_ + 1;
}

// Exact address, then any address of the port, then the catch-all that stands for capture.
int FakeNetwork::listener_for(SocketAddress server) const {
    for (SocketAddress key : {server, SocketAddress{IpAddress{}, server.port}, SocketAddress{}}) {
        if (auto found = listeners_.find(key); found != listeners_.end()) {
            return found->second;
        }
    }
    return -1;
}

bool FakeNetwork::connectable(int fd, SocketAddress server) {
    int listener = listener_for(server);
    return listener < 0 || sockets_[listener].backlog.size() < options_.backlog_max;
}

std::optional<int> FakeNetwork::connect(int fd, SocketAddress server) {
    FakeSocket& socket = sockets_[fd];
    if (socket.state != FakeSocket::State::fresh) {
        return -EISCONN;
    }
    int listener = listener_for(server);
    if (listener < 0 || random_.chance(faults_.connect_refused)) {
        return -ECONNREFUSED;
    }
    if (sockets_[listener].backlog.size() >= options_.backlog_max) {
        return std::nullopt;
    }
    establish(fd, listener, server);
    return 0;
}

void FakeNetwork::establish(int client, int listener, SocketAddress server) {
    int accepted = next_descriptor_++;
    FakeSocket& far = sockets_[accepted];
    FakeSocket& near = sockets_[client];
    near.state = far.state = FakeSocket::State::connected;
    near.other = accepted;
    far.other = client;
    near.peer = far.local = server;
    far.peer = near.local;
    for (FakeSocket* socket : {&near, &far}) {
        socket->capacity = random_.between(options_.pipe_bytes_min, options_.pipe_bytes_max);
        socket->last_arrival = now_;
    }
    if (random_.chance(faults_.reset)) {
        // Early, late, or in the middle of a long body: any power of two is as likely.
        std::uint64_t after = random_.between(0, (1ull << random_.between(0, 20)));
        (random_.chance(0.5) ? near : far).reset_after_bytes = after;
    }
    sockets_[listener].backlog.push_back(accepted);
}

bool FakeNetwork::acceptable(int listener) {
    return !sockets_[listener].backlog.empty();
}

std::optional<int> FakeNetwork::take_connection(int listener) {
    FakeSocket& socket = sockets_[listener];
    if (socket.state != FakeSocket::State::listening) {
        return -EINVAL;
    }
    if (socket.backlog.empty()) {
        return std::nullopt;
    }
    int fd = socket.backlog.front();
    socket.backlog.pop_front();
    return fd;
}

bool FakeNetwork::sendable(int fd) {
    FakeSocket& socket = sockets_[fd];
    if (socket.error != 0 || socket.reset_seen || socket.write_shut || socket.other < 0) {
        return true;
    }
    const FakeSocket& target = sockets_[socket.other];
    return target.readable.size() + target.on_the_way_bytes < target.capacity;
}

std::optional<int> FakeNetwork::send(int fd, std::span<const char> bytes) {
    FakeSocket& socket = sockets_[fd];
    if (socket.state != FakeSocket::State::connected) {
        return -ENOTCONN;
    }
    if (socket.error != 0) {
        return -std::exchange(socket.error, 0);
    }
    if (socket.reset_seen || socket.write_shut) {
        return -EPIPE;
    }
    if (socket.other < 0) {  // the kernel takes it; the other side answers with RST
        if (!bytes.empty()) {
            send_reset(socket);
        }
        return static_cast<int>(bytes.size());
    }
    FakeSocket& target = sockets_[socket.other];
    std::size_t held = target.readable.size() + target.on_the_way_bytes;
    if (held >= target.capacity && !bytes.empty()) {
        return std::nullopt;
    }
    std::size_t size = std::min(bytes.size(), target.capacity - std::min(held, target.capacity));
    put_on_the_way(target, bytes.first(size));
    socket.sent_bytes += size;
    if (socket.reset_after_bytes && socket.sent_bytes >= *socket.reset_after_bytes) {
        socket.reset_after_bytes.reset();
        break_connection(fd);
    }
    return static_cast<int>(size);
}

void FakeNetwork::put_on_the_way(FakeSocket& target, std::span<const char> bytes) {
    while (!bytes.empty() && !target.reset_seen) {
        std::size_t size = bytes.size();
        if (random_.chance(options_.short_read)) {
            size = random_.between(1, size);
        }
        target.last_arrival =
            std::max(target.last_arrival, now_ + random_.up_to(options_.latency_max));
        target.on_the_way.push_back({target.last_arrival, std::string(bytes.data(), size)});
        target.on_the_way_bytes += size;
        bytes = bytes.subspan(size);
    }
}

bool FakeNetwork::receivable(int fd) {
    FakeSocket& socket = sockets_[fd];
    return socket.state != FakeSocket::State::connected || !socket.readable.empty() ||
           socket.error != 0 || socket.end_seen || socket.reset_seen;
}

std::optional<int> FakeNetwork::receive(int fd, std::span<char> room) {
    FakeSocket& socket = sockets_[fd];
    if (socket.state != FakeSocket::State::connected) {
        return -ENOTCONN;
    }
    if (!socket.readable.empty()) {  // also after an RST, as on Linux
        std::size_t size = std::min(socket.readable.size(), room.size());
        if (size > 1 && random_.chance(options_.short_read)) {
            size = random_.between(1, size);
        }
        std::copy_n(socket.readable.begin(), size, room.begin());
        socket.readable.erase(0, size);
        return static_cast<int>(size);
    }
    if (socket.end_seen) {
        return 0;  // SOCK_DONE hides the error of a later RST
    }
    if (socket.error != 0) {
        return -std::exchange(socket.error, 0);
    }
    return socket.reset_seen ? std::optional(0) : std::nullopt;
}

void FakeNetwork::send_reset(FakeSocket& target) {
    if (!target.reset_seen && !target.reset_arrives) {
        target.reset_arrives = now_ + random_.up_to(options_.latency_max);
    }
}

void FakeNetwork::break_connection(int fd) {
    FakeSocket& socket = sockets_[fd];
    send_reset(socket);
    if (socket.other >= 0) {
        send_reset(sockets_[socket.other]);
    }
}

void FakeNetwork::shut_write(int fd) {
    FakeSocket* socket = find(fd);
    if (socket == nullptr || socket->write_shut || socket->other < 0) {
        return;
    }
    socket->write_shut = true;
    FakeSocket& target = sockets_[socket->other];
    if (!socket->reset_seen && !target.reset_seen) {
        target.last_arrival =
            std::max(target.last_arrival, now_ + random_.up_to(options_.latency_max));
        target.end_arrives = target.last_arrival;
    }
}

void FakeNetwork::close(int fd) {
    auto found = sockets_.find(fd);
    if (found == sockets_.end()) {
        return;
    }
    FakeSocket& socket = found->second;
    if (socket.state == FakeSocket::State::listening) {
        std::erase_if(listeners_, [fd](const auto& entry) { return entry.second == fd; });
        for (int waiting : std::deque<int>(socket.backlog)) {
            sockets_[waiting].close_style = Backend::CloseStyle::reset;
            close(waiting);
        }
        sockets_.erase(fd);
        return;
    }
    if (socket.other >= 0) {
        FakeSocket& target = sockets_[socket.other];
        // RFC 2525 2.17, and Linux: closing with unread bytes says so to the sender.
        bool unread = !socket.readable.empty() || !socket.on_the_way.empty();
        if (!socket.reset_seen) {
            if (socket.close_style == Backend::CloseStyle::orderly) {
                shut_write(fd);
            }
            if (unread || socket.close_style == Backend::CloseStyle::reset) {
                send_reset(target);
            }
        }
        target.other = -1;
    }
    sockets_.erase(fd);
}

void FakeNetwork::arrive(FakeSocket& socket, Instant now) {
    while (!socket.on_the_way.empty() && socket.on_the_way.front().arrives <= now &&
           (!socket.reset_arrives || socket.on_the_way.front().arrives <= *socket.reset_arrives)) {
        socket.readable += socket.on_the_way.front().bytes;
        socket.on_the_way_bytes -= socket.on_the_way.front().bytes.size();
        socket.on_the_way.pop_front();
    }
    if (socket.on_the_way.empty() && socket.end_arrives && *socket.end_arrives <= now &&
        !socket.reset_seen) {
        socket.end_arrives.reset();
        socket.end_seen = true;
    }
    if (socket.reset_arrives && *socket.reset_arrives <= now) {
        socket.reset_arrives.reset();
        socket.end_arrives.reset();
        socket.reset_seen = true;
        // Linux: after an orderly end has been received, an RST is a broken pipe.
        socket.error = socket.end_seen ? EPIPE : ECONNRESET;
        socket.on_the_way.clear();
        socket.on_the_way_bytes = 0;
    }
}

void FakeNetwork::advance(Instant now) {
    now_ = std::max(now_, now);
    for (auto& [fd, socket] : sockets_) {
        arrive(socket, now_);
    }
}

std::optional<Instant> FakeNetwork::next_event() const {
    std::optional<Instant> earliest;
    for (const auto& [fd, socket] : sockets_) {
        if (!socket.on_the_way.empty()) {
            keep_earliest(earliest, socket.on_the_way.front().arrives);
        }
        if (socket.end_arrives && socket.on_the_way.empty()) {
            keep_earliest(earliest, *socket.end_arrives);
        }
        if (socket.reset_arrives) {
            keep_earliest(earliest, *socket.reset_arrives);
        }
    }
    return earliest;
}

}  // namespace orlop::runtime
