// Scope: owns coroutines that outlive the expression that started them.
//
// spawn() takes a function and its arguments by value; the arguments live in the spawned frame.
// join() waits until none is left. Destroying a scope with live work aborts the process: there is
// no detach. One loop, one thread.
//
//     scope.spawn(serve_connection, std::move(stream), &core);
//     co_await scope.join();
#pragma once

#include "daemon/runtime/event.h"
#include "daemon/runtime/task.h"

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace orlop::runtime {

class Scope {
public:
    explicit Scope(Loop& loop) : loop_(loop), empty_(loop) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
        if (live_ != 0) {
            std::fprintf(stderr, "orlop: a Scope died with %zu live coroutines\n", live_);
            std::abort();
        }
    }

    // Starts at once on the caller's stack, up to its first suspension.
    template <class Function, class... Args> void spawn(Function function, Args... args) {
        ++live_;
        run(*this, function, std::move(args)...);
    }

    std::size_t live() const { return live_; }
    Loop& loop() { return loop_; }

    // Waits until no coroutine is left; new ones may be spawned meanwhile and are waited for too.
    Task<void> join() {
        while (live_ != 0) {
            empty_.clear();
            co_await empty_;
        }
    }

private:
    struct Detached {
        struct promise_type : InBlocks {
            Detached get_return_object() noexcept { return {}; }
            std::suspend_never initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; }
            void return_void() noexcept {}
            [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
        };
    };
    template <class Function, class... Args>
    static Detached run(Scope& scope, Function function, Args... args) {
        co_await function(std::move(args)...);
        if (--scope.live_ == 0) {
            scope.empty_.set();
        }
    }

    Loop& loop_;
    Event empty_;
    std::size_t live_ = 0;
};

}  // namespace orlop::runtime
