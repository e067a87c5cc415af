#include "daemon/runtime/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace orlop::runtime {
namespace {
constexpr Duration tick_length = std::chrono::milliseconds(1);
}

Timer::~Timer() {
    cancel();
}

void Timer::cancel() {
    if (wheel_ != nullptr) {
        wheel_->unlink(*this);
    }
}

TimerWheel::~TimerWheel() {
    for (Timer* head : slots_) {
        for (Timer* timer = head; timer != nullptr;) {
            Timer* next = timer->next_;
            timer->wheel_ = nullptr;
            timer = next;
        }
    }
}

std::uint64_t TimerWheel::tick_of(Instant when) const {
    if (when <= start_) {
        return 0;
    }
    auto ticks = (when - start_ + tick_length - Duration(1)) / tick_length;
    return static_cast<std::uint64_t>(ticks);
}

void TimerWheel::set(Timer& timer, Instant deadline) {
    timer.cancel();
    constexpr std::uint64_t horizon = 1ull << (level_bits * levels - 1);
    timer.tick_ = std::clamp(tick_of(deadline), now_tick_ + 1, now_tick_ + horizon);
    timer.wheel_ = this;
    ++size_;
    place(timer);
}

// The level is that of the highest digit in which the deadline differs from now: each level's
// slot then lies strictly ahead of the wheel's hand and is reached by exactly one cascade.
void TimerWheel::place(Timer& timer) {
    std::uint64_t differing = timer.tick_ ^ now_tick_;
    unsigned level = differing == 0 ? 0 : (63 - std::countl_zero(differing)) / level_bits;
    level = std::min(level, levels - 1);
    unsigned index = (timer.tick_ >> (level * level_bits)) & (slots_per_level - 1);
    timer.slot_ = static_cast<std::uint16_t>(level * slots_per_level + index);
    timer.previous_ = nullptr;
    timer.next_ = slots_[timer.slot_];
    if (timer.next_ != nullptr) {
        timer.next_->previous_ = &timer;
    }
    slots_[timer.slot_] = &timer;
    occupied_[level] |= 1ull << index;
}

void TimerWheel::unlink(Timer& timer) {
    if (timer.previous_ != nullptr) {
        timer.previous_->next_ = timer.next_;
    } else {
        slots_[timer.slot_] = timer.next_;
        if (timer.next_ == nullptr) {
            occupied_[timer.slot_ / slots_per_level] &= ~(1ull << (timer.slot_ % slots_per_level));
        }
    }
    if (timer.next_ != nullptr) {
        timer.next_->previous_ = timer.previous_;
    }
    timer.next_ = timer.previous_ = nullptr;
    timer.wheel_ = nullptr;
    --size_;
}

void TimerWheel::cascade(unsigned level) {
    unsigned index = (now_tick_ >> (level * level_bits)) & (slots_per_level - 1);
    Timer* timer = slots_[level * slots_per_level + index];
    slots_[level * slots_per_level + index] = nullptr;
    occupied_[level] &= ~(1ull << index);
    while (timer != nullptr) {
        Timer* next = timer->next_;
        place(*timer);
        timer = next;
    }
}

// The next tick at which something happens: a level-0 slot fires or a higher slot cascades.
std::optional<std::uint64_t> TimerWheel::next_event_tick() const {
    for (unsigned level = 0; level < levels; ++level) {
        unsigned shift = level * level_bits;
        unsigned hand = (now_tick_ >> shift) & (slots_per_level - 1);
        // Slots at or before the hand are empty by construction, except after the top level wraps.
        std::uint64_t ahead = hand == slots_per_level - 1 ? 0 : occupied_[level] >> (hand + 1);
        if (ahead != 0) {
            std::uint64_t base = (now_tick_ >> shift) + 1 + std::countr_zero(ahead);
            return base << shift;
        }
        if (level == levels - 1 && occupied_[level] != 0) {
            std::uint64_t turn = (now_tick_ >> (shift + level_bits)) + 1;
            return ((turn << level_bits) + std::countr_zero(occupied_[level])) << shift;
        }
    }
    return std::nullopt;
}

std::optional<Instant> TimerWheel::next_deadline() const {
    auto tick = next_event_tick();
    if (!tick) {
        return std::nullopt;
    }
    return start_ + tick_length * static_cast<std::int64_t>(*tick);
}

void TimerWheel::expire(Instant now) {
    Duration elapsed = std::max(now - start_, Duration::zero());
    auto target = static_cast<std::uint64_t>(elapsed / tick_length);
    while (now_tick_ < target) {
        auto event = next_event_tick();
        if (!event || *event > target) {
            now_tick_ = target;
            return;
        }
        now_tick_ = *event;
        for (unsigned level = levels - 1; level > 0; --level) {
            if ((now_tick_ & ((1ull << (level * level_bits)) - 1)) == 0) {
                cascade(level);
            }
        }
        Timer*& slot = slots_[now_tick_ & (slots_per_level - 1)];
        while (slot != nullptr && slot->tick_ == now_tick_) {
            Timer& timer = *slot;
            unlink(timer);
            timer.callback_(timer.owner_);  // may set or cancel any timer, itself included
        }
    }
}

}  // namespace orlop::runtime
