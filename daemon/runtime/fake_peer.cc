#include "daemon/runtime/fake_peer.h"

#include <algorithm>

namespace orlop::runtime {

ScriptedPeer::~ScriptedPeer() {
    close();
}

int ScriptedPeer::note(int result) {
    int number = result < 0 ? -result : 0;
    if (error_ == 0) {
        error_ = number;
    }
    return number;
}

Task<int> ScriptedPeer::connect(SocketAddress server) {
    Operation operation;
    operation.code = OpCode::connect;
    operation.fd = fd_;
    operation.address_length = server.to_sockaddr(operation.address);
    co_return note(co_await Await(loop_, operation));
}

Task<int> ScriptedPeer::send(std::string bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        Operation operation;
        operation.code = OpCode::send;
        operation.fd = fd_;
        operation.buffer = bytes.data() + sent;
        operation.length = bytes.size() - sent;
        int result = co_await Await(loop_, operation);
        if (result <= 0) {
            co_return note(result == 0 ? -EPIPE : result);
        }
        sent += static_cast<std::size_t>(result);
    }
    co_return 0;
}

Task<int> ScriptedPeer::fill() {
    if (ended_ || error_ != 0) {
        co_return 0;
    }
    Operation operation;
    operation.code = OpCode::receive;
    operation.fd = fd_;
    int result = co_await Await(loop_, operation);
    if (result <= 0) {
        note(result);
        // After an error was told to a send, Linux calls the rest an orderly end: it is not.
        ended_ = result == 0 && error_ == 0;
        co_return 0;
    }
    unread_.append(reinterpret_cast<const char*>(operation.lent->data), operation.lent->size);
    loop_.backend().release_buffer(*operation.lent);
    co_return result;
}

Task<std::string> ScriptedPeer::receive_some() {
    if (unread_.empty()) {
        co_await fill();
    }
    co_return std::exchange(unread_, {});
}

Task<std::string> ScriptedPeer::receive_exactly(std::size_t size) {
    while (unread_.size() < size) {
        if (co_await fill() == 0) {
            break;
        }
    }
    std::string bytes = unread_.substr(0, size);
    unread_.erase(0, bytes.size());
    co_return bytes;
}

Task<std::string> ScriptedPeer::receive_until(std::string mark) {
    std::size_t found = unread_.find(mark);
    while (found == std::string::npos) {
        if (co_await fill() == 0) {
            co_return std::exchange(unread_, {});
        }
        found = unread_.find(mark);
    }
    std::string bytes = unread_.substr(0, found + mark.size());
    unread_.erase(0, bytes.size());
    co_return bytes;
}

Task<std::string> ScriptedPeer::receive_all() {
    int size = 1;
    while (size > 0) {
        size = co_await fill();
    }
    co_return std::exchange(unread_, {});
}

void ScriptedPeer::close() {
    if (fd_ >= 0) {
        loop_.backend().close(std::exchange(fd_, -1));
    }
}

void ScriptedPeer::reset() {
    if (fd_ >= 0) {
        loop_.backend().set_close_style(fd_, Backend::CloseStyle::reset);
        close();
    }
}

ScriptedListener::ScriptedListener(Loop& loop, int fd)
    : loop_(loop), fd_(fd), changed_(loop), ended_(loop) {
    operation_.code = OpCode::accept;
    operation_.fd = fd_;
    operation_.owner = this;
    operation_.on_complete = &ScriptedListener::on_accept;
    loop_.backend().start(operation_);
}

ScriptedListener::~ScriptedListener() {
    assert(fd_ < 0 && "await stop() first");
}

void ScriptedListener::on_accept(Operation& operation) {
    auto& self = *static_cast<ScriptedListener*>(operation.owner);
    if (operation.result >= 0) {
        self.taken_.push_back(operation.result);
    } else if (!self.stopping_) {
        ++self.failures_;
    }
    if (!operation.more && !self.stopping_) {
        self.loop_.backend().start(operation);
    }
    (operation.in_flight ? self.changed_ : self.ended_).set();
}

Task<int> ScriptedListener::accept() {
    while (taken_.empty() && !stopping_) {
        changed_.clear();
        co_await changed_;
    }
    if (stopping_) {
        co_return -1;
    }
    int fd = taken_.front();
    taken_.erase(taken_.begin());
    co_return fd;
}

Task<void> ScriptedListener::stop() {
    stopping_ = true;
    changed_.set();
    loop_.backend().cancel(operation_);
    while (operation_.in_flight) {
        ended_.clear();
        co_await ended_;
    }
    for (int fd : std::exchange(taken_, {})) {
        loop_.backend().set_close_style(fd, Backend::CloseStyle::reset);
        loop_.backend().close(fd);
    }
    loop_.backend().close(std::exchange(fd_, -1));
}

}  // namespace orlop::runtime
