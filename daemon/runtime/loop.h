// Loop: one thread's world. Ready coroutines, timers, the ring, and messages from other threads.
//
// Everything except post() is for the loop's own thread. run() returns after stop(). A coroutine
// handed to resume_later() runs from run(), in order.
//
//     Loop loop(make_backend());
//     loop.post([&] { scope.spawn(serve, ...); });   // from any thread
//     loop.run();
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/runtime/backend.h"
#include "daemon/runtime/timer_wheel.h"

#include <atomic>
#include <cassert>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace orlop::runtime {

class Loop {
public:
    explicit Loop(std::unique_ptr<Backend> backend);
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void run();
    void stop() { stopping_ = true; }  // before run(): it returns at once
    // One turn: ready coroutines, timers, completions. Tests drive it by hand.
    void turn(Backend::Wait wait);
    bool idle() const { return ready_.empty(); }

    void resume_later(std::coroutine_handle<> handle) { ready_.push_back(handle); }
    // Runs `message` on the loop's thread; any thread may call. Refused when
    // limits::core_messages_max are waiting.
    Result<void> post(std::function<void()> message);

    Backend& backend() { return *backend_; }
    TimerWheel& timers() { return timers_; }
    // As of this turn; read afresh for callbacks of completions, since the poll may have waited.
    Instant now() const { return polling_ ? backend_->now() : now_; }

private:
    void run_ready();
    void run_messages();
    void arm_wakeup();
    static void on_wakeup(Operation& operation);

    std::unique_ptr<Backend> backend_;
    Instant now_;
    TimerWheel timers_;
    std::vector<std::coroutine_handle<>> ready_;
    std::vector<std::coroutine_handle<>> running_;
    bool stopping_ = false;
    bool polling_ = false;

    std::mutex messages_mutex_;
    std::vector<std::function<void()>> messages_;
    std::atomic<bool> wakeup_signalled_ = false;  // there are messages; spares a turn the lock
    UniqueFd wakeup_fd_;
    Operation wakeup_;
    std::uint64_t wakeup_value_ = 0;
};

// co_await Sleep(loop, duration): resumes after at least `duration`.
class Sleep {
public:
    Sleep(Loop& loop, Duration duration)
        : loop_(loop), duration_(duration), timer_(&Sleep::fired, this) {}
    Sleep(const Sleep&) = delete;
    Sleep& operator=(const Sleep&) = delete;
    bool await_ready() const { return duration_ <= Duration::zero(); }
    void await_suspend(std::coroutine_handle<> waiter) {
        waiter_ = waiter;
        loop_.timers().set(timer_, loop_.now() + duration_);
    }
    void await_resume() const {}

private:
    static void fired(void* self) {
        auto& sleep = *static_cast<Sleep*>(self);
        sleep.loop_.resume_later(sleep.waiter_);
    }
    Loop& loop_;
    Duration duration_;
    std::coroutine_handle<> waiter_;
    Timer timer_;
};

// co_await Yield(loop): goes on after everything that is ready now.
class Yield {
public:
    explicit Yield(Loop& loop) : loop_(loop) {}
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) { loop_.resume_later(waiter); }
    void await_resume() const {}

private:
    Loop& loop_;
};

// co_await Await(loop, operation): starts the operation, resumes with its result.
class Await {
public:
    Await(Loop& loop, Operation& operation) : loop_(loop), operation_(operation) {}
    Await(const Await&) = delete;
    Await& operator=(const Await&) = delete;
    // The ring would write into a frame that is gone: cancel the operation and await its end.
    ~Await() {
        if (waits_) {
            die_with_operation_in_flight();
        }
    }
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        waiter_ = waiter;
        waits_ = true;
        operation_.owner = this;
        operation_.on_complete = [](Operation& done) {
            auto& self = *static_cast<Await*>(done.owner);
            self.loop_.resume_later(self.waiter_);
        };
        loop_.backend().start(operation_);
    }
    int await_resume() {
        waits_ = false;
        return operation_.result;
    }

private:
    [[noreturn]] static void die_with_operation_in_flight();

    Loop& loop_;
    Operation& operation_;
    std::coroutine_handle<> waiter_;
    bool waits_ = false;
};

}  // namespace orlop::runtime
