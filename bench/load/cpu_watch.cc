#include "bench/load/cpu_watch.h"

#include <sys/resource.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace orlop::bench {
namespace {

namespace fs = std::filesystem;

std::int64_t tick_ns() {
    return 1'000'000'000 / sysconf(_SC_CLK_TCK);
}

std::int64_t process_cpu_ns(int pid) {
    std::int64_t sum = 0;
    std::error_code error;
    auto tasks = fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", error);
    if (error) {
        return 0;
    }
    for (const auto& task : tasks) {
        std::ifstream file(task.path() / "schedstat");
        std::int64_t ran = 0;
        if (file >> ran) {
            sum += ran;
        }
    }
    return sum;
}

std::int64_t process_switches(int pid) {
    std::int64_t sum = 0;
    std::error_code error;
    auto tasks = fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", error);
    if (error) {
        return 0;
    }
    for (const auto& task : tasks) {
        std::ifstream file(task.path() / "status");
        for (std::string line; std::getline(file, line);) {
            auto at = line.find("ctxt_switches:");
            if (at != std::string::npos) {
                sum += std::stoll(line.substr(at + 14));
            }
        }
    }
    return sum;
}

struct ModeTicks {
    std::int64_t user = 0;
    std::int64_t kernel = 0;
};

ModeTicks process_ticks(int pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    auto name_end = text.rfind(')');
    if (name_end == std::string::npos) {
        return {};
    }
    std::istringstream words(text.substr(name_end + 1));
    std::string skipped;
    for (int field = 3; field < 14; ++field) {  // proc(5): utime is field 14
        words >> skipped;
    }
    ModeTicks ticks;
    words >> ticks.user >> ticks.kernel;
    return ticks;
}

struct CoreTicks {
    std::int64_t busy = 0;
    std::int64_t total = 0;
    std::int64_t steal = 0;
};

std::vector<CoreTicks> core_ticks() {
    std::vector<CoreTicks> cores;
    std::ifstream file("/proc/stat");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("cpu") || line.starts_with("cpu ")) {
            continue;
        }
        std::istringstream words(line);
        std::string name;
        words >> name;
        std::array<std::int64_t, 8> field{};  // user nice system idle iowait irq softirq steal
        for (auto& value : field) {
            words >> value;
        }
        CoreTicks core;
        for (auto value : field) {
            core.total += value;
        }
        core.steal = field[7];
        core.busy = core.total - field[3] - field[4] - field[7];
        cores.push_back(core);
    }
    return cores;
}

// The cpuacct controller counts every task in nanoseconds; without it, ticks.
std::int64_t machine_cpu_ns() {
    for (const char* path :
         {"/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"}) {
        std::ifstream file(path);
        std::int64_t used = 0;
        if (file >> used) {
            return used;
        }
    }
    std::int64_t busy = 0;
    for (const auto& core : core_ticks()) {
        busy += core.busy;
    }
    return busy * tick_ns();
}

std::int64_t own_cpu_ns() {
    return process_cpu_ns(static_cast<int>(getpid()));
}

}  // namespace

void CpuWatch::read_into(std::int64_t sign) {
    for (auto& group : groups_) {
        for (int pid : group.pids) {
            group.cpu_ns += sign * process_cpu_ns(pid);
            group.switches += sign * process_switches(pid);
            auto ticks = process_ticks(pid);
            group.user_ticks += sign * ticks.user;
            group.kernel_ticks += sign * ticks.kernel;
        }
    }
    machine_ns_ += sign * machine_cpu_ns();
    own_ns_ += sign * own_cpu_ns();
}

void CpuWatch::begin() {
    read_into(-1);
    core_ticks_.clear();
    for (const auto& core : core_ticks()) {
        core_ticks_.push_back(core.busy);
        core_ticks_.push_back(core.total);
        steal_ns_ -= core.steal * tick_ns();
    }
}

void CpuWatch::end() {
    read_into(+1);
    auto cores = core_ticks();
    for (std::size_t i = 0; i < cores.size() && 2 * i + 1 < core_ticks_.size(); ++i) {
        auto total = cores[i].total - core_ticks_[2 * i + 1];
        auto busy = cores[i].busy - core_ticks_[2 * i];
        core_busy_.push_back(total > 0 ? static_cast<double>(busy) / static_cast<double>(total)
                                       : 0);
        steal_ns_ += cores[i].steal * tick_ns();
    }
}

}  // namespace orlop::bench
