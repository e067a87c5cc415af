// Event: one coroutine waits, one side sets. Setting before the wait is remembered once.
// Single-threaded: owner and waiter live on one loop.
#pragma once

#include "daemon/runtime/loop.h"

#include <cassert>
#include <coroutine>
#include <utility>

namespace orlop::runtime {

class Event {
public:
    explicit Event(Loop& loop) : loop_(loop) {}
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { assert(!waiter_ && "destroyed under a waiter"); }

    void set() {
        if (waiter_) {
            loop_.resume_later(std::exchange(waiter_, nullptr));
        } else {
            set_ = true;
        }
    }
    void clear() { set_ = false; }
    bool has_waiter() const { return static_cast<bool>(waiter_); }

    bool await_ready() { return std::exchange(set_, false); }
    void await_suspend(std::coroutine_handle<> waiter) {
        assert(!waiter_ && "one waiter at a time");
        waiter_ = waiter;
    }
    void await_resume() const {}

private:
    Loop& loop_;
    std::coroutine_handle<> waiter_;
    bool set_ = false;
};

}  // namespace orlop::runtime
