// Core: a thread with a Loop of its own.
//
// start() returns once the ring exists, or with the error that prevented it. `body` runs on the
// thread before the loop (to build the core's objects) and its result is kept alive until the loop
// has ended; post() reaches it from other threads. stop() ends the loop and joins.
#pragma once

#include "daemon/base/error.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/uring_backend.h"

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

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

    static Result<std::unique_ptr<Core>>
    start(Options options, MakeGuest make_guest, UringNotes* notes);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    // Any thread, at any time of the Core's life. Refused (closed) once the loop has ended; a
    // message taken just before that may be destroyed on the core's thread without having run.
    Result<void> post(std::function<void()> message);
    void stop();  // idempotent; from any thread but the core's own

private:
    Core() = default;
    void serve(Options options,
               const MakeGuest& make_guest,
               UringNotes* notes,
               std::promise<Result<void>> started);

    std::thread thread_;
    std::mutex stop_mutex_;  // one thread joins
    std::mutex loop_mutex_;  // posters keep the loop alive by it
    Loop* loop_ = nullptr;   // on the thread's stack; null before and after its run
};

}  // namespace orlop::runtime
