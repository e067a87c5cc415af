// CPU time of groups of processes over a window, from /proc/<pid>/task/*/schedstat (nanoseconds,
// where tick-based counters are off by up to 30 % at partial load), beside what the whole machine
// used in the same window. What is neither a group's nor ours is foreign: other people's noise.
//
//     CpuWatch watch({{"mesh", {123}}, {"backend", {124}}});
//     watch.begin();  ...the window...  watch.end();
//     watch.groups()[0].cpu_ns; watch.machine_ns(); watch.own_ns();
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace orlop::bench {

struct WatchedGroup {
    std::string name;
    std::vector<int> pids;
    std::int64_t cpu_ns = 0;
    std::int64_t switches = 0;  // voluntary and forced context switches
    // Scheduler ticks in the program's own code and in the kernel: their relation, not their sum.
    std::int64_t user_ticks = 0;
    std::int64_t kernel_ticks = 0;
};

class CpuWatch {
public:
    explicit CpuWatch(std::vector<WatchedGroup> groups) : groups_(std::move(groups)) {}

    void begin();
    void end();

    const std::vector<WatchedGroup>& groups() const { return groups_; }
    std::int64_t machine_ns() const { return machine_ns_; }
    std::int64_t own_ns() const { return own_ns_; }
    std::int64_t steal_ns() const { return steal_ns_; }
    // Busy fraction of each core, from ticks: good enough to say "this core is full".
    const std::vector<double>& core_busy() const { return core_busy_; }

private:
    void read_into(std::int64_t sign);

    std::vector<WatchedGroup> groups_;
    std::int64_t machine_ns_ = 0;
    std::int64_t own_ns_ = 0;
    std::int64_t steal_ns_ = 0;
    std::vector<double> core_busy_;
    std::vector<std::int64_t> core_ticks_;  // busy and total of each core at begin()
};

}  // namespace orlop::bench
