// The timer wheel with many timers armed: a request sets and cancels one or two.
#include "bench/micro/allocations.h"
#include "daemon/runtime/timer_wheel.h"

#include <benchmark/benchmark.h>
#include <chrono>
#include <deque>

namespace orlop::bench {
namespace {

using namespace std::chrono_literals;

void nothing(void* /*owner*/) {}

std::deque<runtime::Timer> armed(runtime::TimerWheel& wheel, Instant start, std::int64_t count) {
    std::deque<runtime::Timer> timers;
    for (std::int64_t i = 0; i < count; ++i) {
        wheel.set(timers.emplace_back(&nothing, nullptr),
                  start + std::chrono::milliseconds(1000 + i * 7 % 60'000));
    }
    return timers;
}

void set_and_cancel(benchmark::State& state) {
    Instant start{};
    runtime::TimerWheel wheel(start);
    auto others = armed(wheel, start, state.range(0));
    runtime::Timer timer(&nothing, nullptr);
    CountedAllocations counted(state);
    for (auto _ : state) {
        wheel.set(timer, start + 15s);
        benchmark::DoNotOptimize(timer.armed());
        timer.cancel();
    }
}
BENCHMARK(set_and_cancel)->Arg(10)->Arg(100'000);

// The clock goes on by a millisecond; what fires is armed again for 15 s later.
void expire(benchmark::State& state) {
    Instant at{};
    runtime::TimerWheel wheel(at);
    struct Again {
        runtime::TimerWheel& wheel;
        Instant& at;
        runtime::Timer timer{[](void* self) {
                                 auto& again = *static_cast<Again*>(self);
                                 again.wheel.set(again.timer, again.at + 15s);
                             },
                             this};
    };
    std::deque<Again> timers;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        wheel.set(timers.emplace_back(wheel, at).timer, at + std::chrono::milliseconds(i % 15'000));
    }
    CountedAllocations counted(state);
    for (auto _ : state) {
        at += 1ms;
        wheel.expire(at);
        benchmark::DoNotOptimize(wheel.next_deadline());
    }
}
BENCHMARK(expire)->Arg(10)->Arg(100'000);

}  // namespace
}  // namespace orlop::bench
