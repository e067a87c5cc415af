// The lab's cgroup v2 groups: found, made, emptied, removed. Paths are absolute.
#pragma once

#include "daemon/base/error.h"

#include <chrono>
#include <string>

namespace orlop::lab {

// The cgroup2 mount: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid machine.
Result<std::string> find_cgroup_root();
Result<void> make_cgroup(const std::string& path);  // with its parents; existing is fine
bool cgroup_populated(const std::string& path);     // any process in it or below
// Kills every process in it and below (cgroup.kill, Linux 5.14) and waits until it is empty.
Result<void> kill_cgroup(const std::string& path, std::chrono::milliseconds limit);
void signal_cgroup(const std::string& path, int signal);  // processes directly in it
Result<void> remove_cgroup(const std::string& path);      // with all below; absent is fine

}  // namespace orlop::lab
