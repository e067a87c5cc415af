// Time as a parameter: nothing below `app` reads a clock by itself.
//
// Instants and durations are nanoseconds on the monotonic clock; the wall clock appears only in
// logs and certificates. Tests drive both by hand.
#pragma once

#include <chrono>

namespace orlop {

using Duration = std::chrono::nanoseconds;
struct MonotonicClock {  // CLOCK_MONOTONIC; matches the time base of io_uring timeouts
    using rep = Duration::rep;
    using period = Duration::period;
    using duration = Duration;
    using time_point = std::chrono::time_point<MonotonicClock>;
    static constexpr bool is_steady = true;
};
using Instant = MonotonicClock::time_point;
using WallTime = std::chrono::system_clock::time_point;

inline Instant monotonic_now() {
    return Instant(
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace orlop
