// await: a condition that other processes make true, asked again until it holds or time is up.
#pragma once

#include <chrono>
#include <functional>
#include <poll.h>

namespace orlop::support {

inline constexpr int await_interval_ms = 10;

inline bool await(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        ::poll(nullptr, 0, await_interval_ms);
    }
    return true;
}

}  // namespace orlop::support
