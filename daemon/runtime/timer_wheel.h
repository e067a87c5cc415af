// TimerWheel: many deadlines, O(1) to set and to cancel; 1 ms resolution, never early.
//
// A Timer is embedded in its owner and must be cancelled (or fired) before the owner dies; its
// destructor cancels. All calls on the owning loop's thread.
//
//     Timer timer(&on_timeout, this);
//     wheel.set(timer, now + 500ms);
#pragma once

#include "daemon/base/clock.h"

#include <array>
#include <cstdint>
#include <optional>

namespace orlop::runtime {

class TimerWheel;

class Timer {
public:
    using Callback = void (*)(void* owner);
    Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer();

    bool armed() const { return wheel_ != nullptr; }
    void cancel();

private:
    friend class TimerWheel;
    Callback callback_;
    void* owner_;
    TimerWheel* wheel_ = nullptr;
    Timer* next_ = nullptr;
    Timer* previous_ = nullptr;
    std::uint64_t tick_ = 0;
    std::uint16_t slot_ = 0;
};

class TimerWheel {
public:
    explicit TimerWheel(Instant start) : start_(start) {}
    ~TimerWheel();
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    void set(Timer& timer, Instant deadline);  // re-arms when already armed
    void expire(Instant now);                  // fires every timer whose deadline has passed
    // No later than the first deadline; may be earlier by a cascade step. nullopt: no timer.
    std::optional<Instant> next_deadline() const;
    std::size_t size() const { return size_; }

private:
    friend class Timer;
    static constexpr unsigned level_bits = 6;
    static constexpr unsigned slots_per_level = 1u << level_bits;
    static constexpr unsigned levels = 6;  // 64^6 ms: two years

    std::uint64_t tick_of(Instant when) const;  // rounded up
    void place(Timer& timer);
    void unlink(Timer& timer);
    void cascade(unsigned level);
    std::optional<std::uint64_t> next_event_tick() const;

    Instant start_;
    std::uint64_t now_tick_ = 0;
    std::size_t size_ = 0;
    std::array<Timer*, levels * slots_per_level> slots_{};
    std::array<std::uint64_t, levels> occupied_{};
};

}  // namespace orlop::runtime
