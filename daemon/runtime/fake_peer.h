// ScriptedPeer: one end of a connection written as a straight line, for tests. It works on any
// Backend: give it a connected descriptor, or one from FakeBackend::socket() and connect().
//
// Errors are told as positive errno numbers, 0 for none; the first one stays in error(). The
// destructor closes. Await one call at a time per direction; a peer outlives its calls.
//
//     Task<void> client(Loop& loop, FakeBackend& network, SocketAddress server) {
//         ScriptedPeer peer(loop, network.socket());
//         co_await peer.connect(server);
//         co_await peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//         std::string head = co_await peer.receive_until("\r\n\r\n");
//     }
#pragma once

#include "daemon/runtime/event.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"

#include <string>
#include <string_view>
#include <vector>

namespace orlop::runtime {

class ScriptedPeer {
public:
    ScriptedPeer(Loop& loop, int fd) : loop_(loop), fd_(fd) {}
    ~ScriptedPeer();
    ScriptedPeer(const ScriptedPeer&) = delete;
    ScriptedPeer& operator=(const ScriptedPeer&) = delete;

    Task<int> connect(SocketAddress server);
    Task<int> send(std::string bytes);
    // What arrives next, at least a byte; empty at the end or on an error.
    Task<std::string> receive_some();
    // Exactly `size` bytes, or fewer at the end or on an error. Extra bytes stay for the next call.
    Task<std::string> receive_exactly(std::size_t size);
    // Up to and including `mark`; everything so far at the end or on an error.
    Task<std::string> receive_until(std::string mark);
    Task<std::string> receive_all();

    void end_sending() { loop_.backend().shutdown_write(fd_); }
    void close();  // orderly; nothing may be awaited
    void reset();  // RST

    int fd() const { return fd_; }
    int error() const { return error_; }
    bool ended() const { return ended_; }  // the other side's orderly end was seen

private:
    Task<int> fill();  // bytes added to `unread_`, 0 at the end or on an error
    int note(int result);

    Loop& loop_;
    int fd_;
    int error_ = 0;
    bool ended_ = false;
    std::string unread_;
};

// Accepts connections one by one from a listening descriptor; ends and errors of the multishot are
// ridden out. Await stop() before the end of its life.
class ScriptedListener {
public:
    ScriptedListener(Loop& loop, int fd);
    ~ScriptedListener();
    ScriptedListener(const ScriptedListener&) = delete;
    ScriptedListener& operator=(const ScriptedListener&) = delete;

    Task<int> accept();  // a descriptor; -1 after stop()
    Task<void> stop();   // cancels, awaits the end, closes what was not taken and the listener
    unsigned failures() const { return failures_; }  // accepts that ended with an error

private:
    static void on_accept(Operation& operation);

    Loop& loop_;
    int fd_;
    Operation operation_;
    Event changed_;  // accept() waits
    Event ended_;    // stop() waits
    std::vector<int> taken_;
    unsigned failures_ = 0;
    bool stopping_ = false;
};

}  // namespace orlop::runtime
