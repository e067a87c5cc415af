// Core: a thread with a Loop of its own.
//
// start() returns once the ring exists, or with the error that prevented it. `body` runs on the
// thread before the loop (to build the core's objects) and its result is kept alive until the loop
// has ended; post() reaches it from other threads. stop() ends the loop and joins.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "daemon/base/error.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/uring_backend.h"

namespace orlop::runtime {

class Core {
public:
    struct Options {
        std::string thread_name;
        int cpu = -1;  // -1: not pinned
        UringOptions uring;
    };
    // What the thread runs around its loop. The destructor runs on the thread, after the loop.
    struct Guest {
        virtual ~Guest() = default;
    };
    using MakeGuest = std::function<std::unique_ptr<Guest>(Loop&)>;

    static Result<std::unique_ptr<Core>> start(Options options, MakeGuest make_guest,
                                               UringNotes* notes);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    Result<void> post(std::function<void()> message) { return loop_->post(std::move(message)); }
    void stop();  // idempotent; from another thread

private:
    Core() = default;
    std::thread thread_;
    Loop* loop_ = nullptr;  // lives on the thread's stack until stop() has joined
};

}  // namespace orlop::runtime
