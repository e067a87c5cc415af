#include "daemon/runtime/loop.h"

#include "daemon/base/limits.h"

#include <sys/eventfd.h>

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace orlop::runtime {
namespace {

// A completion is often answered by a chain of coroutines that wake each other. The ring is asked
// again when the chain has ended, with all it started, not once per link: an enter each.
constexpr unsigned ready_rounds_max = 4;

}  // namespace

Loop::Loop(std::unique_ptr<Backend> backend)
    : backend_(std::move(backend)), now_(backend_->now()), timers_(now_),
      wakeup_fd_(eventfd(0, EFD_CLOEXEC)) {
    ready_.reserve(256);
    running_.reserve(256);
}

// The ring goes first: it may still hold a read into wakeup_value_.
Loop::~Loop() {
    backend_.reset();
}

void Loop::run() {
    while (!stopping_) {
        turn(Backend::Wait::until_event);
    }
    stopping_ = false;
}

void Loop::turn(Backend::Wait wait) {
    arm_wakeup();
    run_messages();
    for (unsigned round = 0; round < ready_rounds_max && !ready_.empty(); ++round) {
        run_ready();
    }
    bool work_waits = !ready_.empty() || stopping_;
    auto effective = work_waits ? Backend::Wait::no : wait;
    polling_ = true;
    backend_->poll(effective, timers_.next_deadline());
    polling_ = false;
    now_ = backend_->now();
    timers_.expire(now_);
    run_ready();
}

// Coroutines made ready while this batch runs wait for the next: a busy pair cannot starve the
// ring.
void Loop::run_ready() {
    running_.swap(ready_);
    for (auto handle : running_) {
        handle.resume();
    }
    running_.clear();
}

Result<void> Loop::post(std::function<void()> message) {
    bool must_signal = false;
    {
        std::lock_guard lock(messages_mutex_);
        if (messages_.size() >= limits::core_messages_max) {
            return fail(ErrorKind::limit_exceeded, "core_messages_max reached: the core is stuck");
        }
        messages_.push_back(std::move(message));
        must_signal = !wakeup_signalled_.exchange(true);
    }
    if (must_signal) {
        std::uint64_t one = 1;
        [[maybe_unused]] auto written = ::write(wakeup_fd_.get(), &one, sizeof one);
    }
    return {};
}

void Loop::run_messages() {
    if (!wakeup_signalled_) {
        return;
    }
    std::vector<std::function<void()>> messages;
    {
        std::lock_guard lock(messages_mutex_);
        messages.swap(messages_);
        wakeup_signalled_ = false;
    }
    for (auto& message : messages) {
        message();
    }
}

void Loop::arm_wakeup() {
    if (wakeup_.in_flight) {
        return;
    }
    wakeup_.code = OpCode::read;
    wakeup_.fd = wakeup_fd_.get();
    wakeup_.buffer = &wakeup_value_;
    wakeup_.length = sizeof wakeup_value_;
    wakeup_.owner = this;
    wakeup_.on_complete = &Loop::on_wakeup;
    backend_->start(wakeup_);
}

// Only ends the wait: the next turn takes the messages, outside of the walk over completions.
void Loop::on_wakeup(Operation& operation) {}

void Await::die_with_operation_in_flight() {
    std::fputs("orlop: a coroutine was destroyed under an operation in flight\n", stderr);
    std::abort();
}

}  // namespace orlop::runtime
