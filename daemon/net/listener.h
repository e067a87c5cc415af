// Listener: accepts on one listening socket and hands each connection on.
//
// start() arms a multishot accept; the handler runs on the loop for every connection and takes the
// descriptor. When descriptors run out the listener pauses instead of spinning and says so once.
// stop() must be awaited before destruction. The descriptor is closed by stop().
#pragma once

#include "daemon/base/unique_fd.h"
#include "daemon/runtime/event.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"

#include <functional>

namespace orlop::net {

class Listener {
public:
    using Handler = std::function<void(int fd)>;
    Listener(runtime::Loop& loop, UniqueFd socket, Handler handler);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    void start();
    runtime::Task<void> stop();  // no connection is handed on afterwards
    int fd() const { return socket_.get(); }

private:
    static void on_accepted(runtime::Operation& operation);
    static void on_pause_over(void* self);

    runtime::Loop& loop_;
    UniqueFd socket_;
    Handler handler_;
    runtime::Operation accept_;
    runtime::Timer pause_;
    runtime::Event settled_;
    bool stopping_ = false;
    bool complained_ = false;
};

}  // namespace orlop::net
