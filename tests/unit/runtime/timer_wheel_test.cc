#include "daemon/runtime/fake_random.h"
#include "daemon/runtime/timer_wheel.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace orlop::runtime {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

const Instant start{hours(5)};

struct Probe {
    Probe() : timer(&Probe::on_fire, this) {}
    static void on_fire(void* self) {
        auto& probe = *static_cast<Probe*>(self);
        ++probe.fired;
        if (probe.action) {
            probe.action();
        }
    }
    Timer timer;
    int fired = 0;
    std::function<void()> action;
};

Instant rounded_up(Instant when) {
    auto ticks = (when - start + milliseconds(1) - Duration(1)) / milliseconds(1);
    return start + ticks * milliseconds(1);
}

TEST(TimerWheel, fires_at_the_deadline_and_not_before) {
    const Duration deadlines[] = {Duration(1),
                                  microseconds(1500),
                                  milliseconds(1),
                                  milliseconds(63),
                                  milliseconds(64),
                                  milliseconds(65),
                                  milliseconds(4095),
                                  milliseconds(4096),
                                  milliseconds(4097),
                                  milliseconds(262'144),
                                  milliseconds(16'777'216),
                                  hours(24 * 30)};
    for (Duration deadline : deadlines) {
        TimerWheel wheel(start);
        Probe probe;
        wheel.set(probe.timer, start + deadline);
        wheel.expire(start + deadline - Duration(1));
        EXPECT_EQ(probe.fired, 0) << deadline.count();
        wheel.expire(rounded_up(start + deadline));
        EXPECT_EQ(probe.fired, 1) << deadline.count();
        EXPECT_FALSE(probe.timer.armed());
        EXPECT_EQ(wheel.size(), 0u);
    }
}

TEST(TimerWheel, a_deadline_in_the_past_fires_with_the_next_tick) {
    TimerWheel wheel(start);
    wheel.expire(start + milliseconds(100));
    Probe probe;
    wheel.set(probe.timer, start);
    EXPECT_EQ(*wheel.next_deadline(), start + milliseconds(101));
    wheel.expire(start + milliseconds(101));
    EXPECT_EQ(probe.fired, 1);
}

TEST(TimerWheel, a_callback_may_set_and_cancel_any_timer_itself_included) {
    TimerWheel wheel(start);
    Probe first, second, third;
    first.action = [&] {
        if (first.fired < 3) {
            wheel.set(first.timer, start + milliseconds(1));  // past: the next tick
        }
        second.timer.cancel();
        wheel.set(third.timer, start + hours(1));
    };
    second.action = [&] { first.timer.cancel(); };
    wheel.set(first.timer, start + milliseconds(5));
    wheel.set(second.timer, start + milliseconds(5));
    wheel.set(third.timer, start + milliseconds(6));
    wheel.expire(start + milliseconds(50));
    // Either of the two fires first and then stops the other.
    EXPECT_EQ(first.fired != 0, second.fired == 0);
    EXPECT_EQ(third.fired, first.fired == 0 ? 1 : 0);
    wheel.expire(start + hours(1));
    EXPECT_EQ(third.fired, 1);
    EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheel, an_owner_that_dies_takes_its_timer_along) {
    TimerWheel wheel(start);
    Probe stays;
    {
        Probe dies;
        wheel.set(dies.timer, start + milliseconds(3));
        wheel.set(stays.timer, start + milliseconds(3));
        EXPECT_EQ(wheel.size(), 2u);
    }
    EXPECT_EQ(wheel.size(), 1u);
    wheel.expire(start + milliseconds(3));
    EXPECT_EQ(stays.fired, 1);
}

TEST(TimerWheel, a_wheel_that_dies_disarms_its_timers) {
    Probe probe;
    {
        TimerWheel wheel(start);
        wheel.set(probe.timer, start + milliseconds(3));
    }
    EXPECT_FALSE(probe.timer.armed());
}

TEST(TimerWheel, a_callback_may_free_another_timer_of_its_tick) {
    TimerWheel wheel(start);
    auto probe = std::make_unique<Probe>();
    wheel.set(probe->timer, start + milliseconds(1));
    struct Owner {
        std::unique_ptr<Probe>* probe;
        static void free_it(void* self) { static_cast<Owner*>(self)->probe->reset(); }
    } owner{&probe};
    Timer killer(&Owner::free_it, &owner);
    wheel.set(killer, start + milliseconds(1));
    wheel.expire(start + milliseconds(1));
    EXPECT_EQ(probe, nullptr);
    EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheel, beyond_its_horizon_it_fires_early_rather_than_never) {
    TimerWheel wheel(start);
    Probe probe;
    wheel.set(probe.timer, start + hours(24 * 365 * 50));
    Instant now = start;
    for (int i = 0; i < 100'000 && probe.fired == 0; ++i) {
        now = *wheel.next_deadline();
        wheel.expire(now);
    }
    EXPECT_EQ(probe.fired, 1);
    EXPECT_GT(now - start, hours(24 * 365));
}

// The reference: deadlines rounded up to the tick in an ordered set.
struct Model {
    struct Entry {
        Instant fires;
        int name;
        auto operator<=>(const Entry&) const = default;
    };
    std::set<Entry> armed;
    std::vector<std::optional<Instant>> at;

    void set(int name, Instant fires) {
        cancel(name);
        at[name] = fires;
        armed.insert({fires, name});
    }
    void cancel(int name) {
        if (at[name]) {
            armed.erase({*at[name], name});
            at[name].reset();
        }
    }
};

Duration some_span(FakeRandom& random) {  // microseconds to 48 days, every magnitude as likely
    return microseconds(random.between(0, 1ull << random.between(1, 42)));
}

class WheelAgainstModel {
public:
    explicit WheelAgainstModel(std::uint64_t seed) : random_(seed), wheel_(start) {
        for (int name = 0; name < 60; ++name) {
            auto& probe = probes_.emplace_back();
            probe.action = [this, name] { fired(name); };
        }
        model_.at.resize(probes_.size());
    }

    void step() {
        int name = static_cast<int>(random_.between(0, probes_.size() - 1));
        auto choice = random_.between(0, 9);
        if (choice < 5) {
            arm(name, some_span(random_));
        } else if (choice < 7) {
            probes_[name].timer.cancel();
            model_.cancel(name);
        } else {
            move_on(choice == 7 ? To::next_deadline : To::anywhere);
        }
        EXPECT_EQ(wheel_.size(), model_.armed.size());
    }

private:
    void arm(int name, Duration span) {
        Instant deadline = now_ + span;
        Instant ticked = start + (now_ - start) / milliseconds(1) * milliseconds(1);
        wheel_.set(probes_[name].timer, deadline);
        model_.set(name, std::max(rounded_up(deadline), ticked + milliseconds(1)));
    }
    enum class To : unsigned char { next_deadline, anywhere };
    void move_on(To to) {
        auto next = wheel_.next_deadline();
        EXPECT_EQ(next.has_value(), !model_.armed.empty());
        if (next && !model_.armed.empty()) {
            EXPECT_LE(*next, model_.armed.begin()->fires) << "a waiter would oversleep";
            EXPECT_GT(*next, now_) << "a waiter would spin";
        }
        now_ = to == To::next_deadline && next ? *next : now_ + some_span(random_);
        wheel_.expire(now_);
        EXPECT_TRUE(model_.armed.empty() || model_.armed.begin()->fires > now_)
            << "a timer was missed";
    }
    void fired(int name) {
        ASSERT_TRUE(model_.at[name].has_value()) << "a cancelled timer fired";
        EXPECT_LE(*model_.at[name], now_) << "early";
        EXPECT_EQ(*model_.at[name], model_.armed.begin()->fires) << "out of order";
        model_.cancel(name);
        if (random_.chance(0.3)) {
            arm(name, some_span(random_) + milliseconds(1));
        }
    }

    FakeRandom random_;
    Instant now_ = start;
    Model model_;
    TimerWheel wheel_;
    std::deque<Probe> probes_;
};

TEST(TimerWheel, agrees_with_a_sorted_set_of_deadlines) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        WheelAgainstModel both(seed);
        for (int i = 0; i < 500 && !testing::Test::HasFailure(); ++i) {
            both.step();
        }
        ASSERT_FALSE(testing::Test::HasFailure());
    }
}

}  // namespace
}  // namespace orlop::runtime
