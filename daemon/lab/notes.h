// What the supervisor has to say, one line each on its standard error, which is supervisor.log. Not
// base/log: its writer is a thread, and the supervisor forks.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <utility>

namespace orlop::lab {

template <class... Args> void note(fmt::format_string<Args...> format, Args&&... args) {
    fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace orlop::lab
