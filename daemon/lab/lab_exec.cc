// Entering pods and reading their logs: the part of Lab that needs no supervisor's hand.
#include "daemon/base/unique_fd.h"
#include "daemon/lab/config.h"
#include "daemon/lab/lab.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/pod.h"
#include "daemon/lab/process.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace orlop::lab {

namespace {

Result<LabConfig> load_config(const Location& location) {
    const auto text = read_text_file(config_path(location));
    if (!text) {
        return fail(ErrorKind::not_found, "no lab runs here: start one with `orlopctl lab up`");
    }
    return parse_config(*text);
}

// How well a pod answers to a name: 0 not at all; its own name best, then its owner's, ready first.
int rank(const PodStatus& pod, const std::string& ns, const std::string& name) {
    if (pod.ns != ns) {
        return 0;
    }
    if (pod.name == name) {
        return 4;
    }
    const bool owned = pod.owner == "Deployment/" + name || pod.owner == "Job/" + name;
    if (!owned) {
        return 0;
    }
    return pod.ready ? 3 : pod.phase == "Running" ? 2 : 1;
}

Result<Spawn>
request_for_pod(const PodStatus& pod, const LabConfig& config, const PodMounts& mounts) {
    if (pod.phase != "Running" && pod.phase != "CrashLoopBackOff") {
        return fail(ErrorKind::not_found,
                    fmt::format("pod {}/{} is {}: nothing to enter", pod.ns, pod.name, pod.phase));
    }
    Spawn request;
    request.env = pod.pid != 0 ? read_environment(pod.pid) : std::vector<std::string>();
    if (request.env.empty()) {
        request.env = base_environment(config);
    }
    request.place = {pod.cgroup, pod.netns, pod.name, &mounts};
    return request;
}

Result<Spawn> request_for_node(const std::string& node, const LabConfig& config) {
    const LabLayout layout(config);
    for (int number = 1; number <= config.nodes; ++number) {
        if (node == node_name(number)) {
            Spawn request;
            request.env = base_environment(config);
            request.place.netns = netns_path(layout.node_netns(node));
            return request;
        }
    }
    return fail(ErrorKind::not_found, "no node " + node + ": see `orlopctl lab ps`");
}

Result<int> run_to_end(Result<Spawn> request, const std::vector<std::string>& argv) {
    if (!request) {
        return std::unexpected(request.error());
    }
    request->argv = argv;
    const auto pid = spawn(*request);
    if (!pid) {
        return std::unexpected(pid.error());
    }
    return wait_exit(*pid);
}

Result<Lab::Output> run_to_output(Result<Spawn> request, const std::vector<std::string>& argv) {
    if (!request) {
        return std::unexpected(request.error());
    }
    request->argv = argv;
    auto result = run_capture(std::move(*request), {});
    if (!result) {
        return std::unexpected(result.error());
    }
    return Lab::Output{result->exit_code, std::move(result->out), std::move(result->err)};
}

// Copies what the log has; false when the reader of `out` is gone. A log that was shrunk since is
// read from its start.
bool copy_available(int log, int out) {
    struct stat now{};
    if (::fstat(log, &now) == 0 && ::lseek(log, 0, SEEK_CUR) > now.st_size) {
        ::lseek(log, 0, SEEK_SET);
    }
    char buffer[16 * 1024];
    for (ssize_t count = ::read(log, buffer, sizeof buffer); count > 0;
         count = ::read(log, buffer, sizeof buffer)) {
        ssize_t done = 0;
        while (done < count) {
            const ssize_t written = ::write(out, buffer + done, static_cast<size_t>(count - done));
            if (written < 0 && errno != EINTR) {
                return false;
            }
            done += std::max<ssize_t>(written, 0);
        }
    }
    return true;
}

std::pair<std::string, std::string> split_name(const std::string& name) {
    const std::size_t slash = name.find('/');
    return slash == std::string::npos ? std::pair<std::string, std::string>("default", name)
                                      : std::pair(name.substr(0, slash), name.substr(slash + 1));
}

}  // namespace

Result<PodStatus> Lab::find_pod(const std::string& name) {
    const auto [ns, rest] = split_name(name);
    auto now = status();
    if (!now) {
        return std::unexpected(now.error());
    }
    PodStatus* best = nullptr;
    int best_rank = 0;
    for (PodStatus& pod : now->pods) {
        if (const int r = rank(pod, ns, rest); r > best_rank) {
            best = &pod;
            best_rank = r;
        }
    }
    if (best == nullptr) {
        return fail(ErrorKind::not_found,
                    fmt::format("no pod {}/{}: see `orlopctl lab ps`", ns, rest));
    }
    return *best;
}

Result<int> Lab::exec(const std::string& pod, const std::vector<std::string>& argv) {
    const auto config = load_config(location_);
    const auto found = find_pod(pod);
    if (!config || !found) {
        return std::unexpected(!config ? config.error() : found.error());
    }
    const PodMounts mounts = mounts_of(found->uid, *config);
    return run_to_end(request_for_pod(*found, *config, mounts), argv);
}

Result<Lab::Output> Lab::capture(const std::string& pod, const std::vector<std::string>& argv) {
    const auto config = load_config(location_);
    const auto found = find_pod(pod);
    if (!config || !found) {
        return std::unexpected(!config ? config.error() : found.error());
    }
    const PodMounts mounts = mounts_of(found->uid, *config);
    return run_to_output(request_for_pod(*found, *config, mounts), argv);
}

Result<int> Lab::exec_on_node(const std::string& node, const std::vector<std::string>& argv) {
    const auto config = load_config(location_);
    if (!config) {
        return std::unexpected(config.error());
    }
    return run_to_end(request_for_node(node, *config), argv);
}

Result<Lab::Output> Lab::capture_on_node(const std::string& node,
                                         const std::vector<std::string>& argv) {
    const auto config = load_config(location_);
    if (!config) {
        return std::unexpected(config.error());
    }
    return run_to_output(request_for_node(node, *config), argv);
}

Result<void> Lab::logs(const std::string& pod, Follow follow, int fd) {
    const auto config = load_config(location_);
    if (!config) {
        return std::unexpected(config.error());
    }
    const LabLayout layout(*config);
    auto [ns, name] = split_name(pod);
    if (const auto found = find_pod(pod)) {
        name = found->name;
    }
    const std::string path = layout.pod_log(ns, name);
    UniqueFd log(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!log.valid()) {
        return fail(ErrorKind::not_found,
                    fmt::format("no log of {}/{}: see `orlopctl lab ps`", ns, name));
    }
    for (;;) {
        if (!copy_available(log.get(), fd) || follow == Follow::no) {
            return {};
        }
        const auto still = find_pod(ns + "/" + name);
        if (!still || still->phase == "Succeeded" || still->phase == "Failed") {
            copy_available(log.get(), fd);
            return {};
        }
        ::poll(nullptr, 0, 100);
    }
}

}  // namespace orlop::lab
