// Drain: the two-step stop as two types.
//
// A DrainTrigger belongs to whoever stops things; it hands out DrainWatchers. A watcher is held by
// each piece of work that must be allowed to end; draining() tells it to finish early. begin()
// starts the drain; co_await drained() resumes when the last watcher is gone. One loop, one thread.
#pragma once

#include "daemon/runtime/event.h"
#include "daemon/runtime/task.h"

#include <utility>

namespace orlop::runtime {

class DrainTrigger;

class DrainWatcher {
public:
    DrainWatcher() = default;
    explicit DrainWatcher(DrainTrigger* trigger);
    DrainWatcher(DrainWatcher&& other) noexcept
        : trigger_(std::exchange(other.trigger_, nullptr)) {}
    DrainWatcher& operator=(DrainWatcher&& other) noexcept {
        std::swap(trigger_, other.trigger_);
        return *this;
    }
    ~DrainWatcher();
    bool draining() const;

private:
    DrainTrigger* trigger_ = nullptr;
};

class DrainTrigger {
public:
    explicit DrainTrigger(Loop& loop) : empty_(loop) {}
    DrainWatcher watch() { return DrainWatcher(this); }
    void begin() { draining_ = true; }
    bool draining() const { return draining_; }
    std::size_t watchers() const { return watchers_; }
    Task<void> drained() {
        while (watchers_ != 0) {
            empty_.clear();
            co_await empty_;
        }
    }

private:
    friend class DrainWatcher;
    Event empty_;
    std::size_t watchers_ = 0;
    bool draining_ = false;
};

inline DrainWatcher::DrainWatcher(DrainTrigger* trigger) : trigger_(trigger) {
    ++trigger_->watchers_;
}
inline DrainWatcher::~DrainWatcher() {
    if (trigger_ != nullptr && --trigger_->watchers_ == 0) {
        trigger_->empty_.set();
    }
}
inline bool DrainWatcher::draining() const {
    return trigger_ != nullptr && trigger_->draining_;
}

}  // namespace orlop::runtime
