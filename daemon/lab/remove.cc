#include "daemon/lab/remove.h"

#include "daemon/lab/cgroup.h"
#include "daemon/lab/config.h"
#include "daemon/lab/network.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>

#include <filesystem>
#include <poll.h>
#include <signal.h>

namespace orlop::lab {

namespace fs = std::filesystem;

namespace {

constexpr const char* bpffs_root = "/sys/fs/bpf";

bool exists(const std::string& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

// Names of folders in `folder` that start with `prefix`-.
std::vector<std::string> folders_of(const std::string& folder, const std::string& prefix) {
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        if (at->is_directory(error) && at->path().filename().string().starts_with(prefix)) {
            found.push_back(at->path().string());
        }
    }
    return found;
}

std::string cgroup_of(const Location& location) {
    const auto root = find_cgroup_root();
    return root ? *root + "/" + location.prefix : std::string();
}

std::vector<std::string> node_cgroups(const std::string& cgroup) {
    return folders_of(cgroup, "n");
}

void wait_until_empty(const std::string& cgroup, int tenths) {
    for (int i = 0; i < tenths * 5 && cgroup_populated(cgroup); ++i) {
        ::poll(nullptr, 0, 20);
    }
}

// orlopd's own shutdown removes rules and routes in pods; with the pods' processes gone there is
// nothing to drain. Five seconds, then the pins and namespaces go anyway.
void stop_orlopds(const std::string& cgroup) {
    for (const std::string& node : node_cgroups(cgroup)) {
        signal_cgroup(node + "/orlopd", SIGTERM);
    }
    for (const std::string& node : node_cgroups(cgroup)) {
        wait_until_empty(node + "/orlopd", 50);
    }
}

void kill_pods(const std::string& cgroup, std::vector<std::string>& failures) {
    for (const std::string& node : node_cgroups(cgroup)) {
        for (const std::string& group : folders_of(node, "")) {
            const std::string name = fs::path(group).filename().string();
            if (name == "orlopd" || name == "resolver") {
                continue;
            }
            if (auto killed = kill_cgroup(group, std::chrono::seconds(5)); !killed) {
                failures.push_back(killed.error().context);
            }
        }
    }
}

void note(std::vector<std::string>& failures, const Result<void>& step) {
    if (!step) {
        failures.push_back(step.error().context);
    }
}

// Only a folder that holds a lab's own file is ever deleted as a whole.
void remove_state(const Location& location, std::vector<std::string>& failures) {
    if (!exists(config_path(location))) {
        return;
    }
    std::error_code error;
    fs::remove_all(location.state_dir, error);
    if (error) {
        failures.push_back(location.state_dir + ": " + error.message());
    }
}

}  // namespace

std::vector<std::string> list_traces(const Location& location) {
    std::vector<std::string> traces;
    for (const std::string& name : list_netns(location.prefix + "-")) {
        traces.push_back("netns " + name);
    }
    const std::string cgroup = cgroup_of(location);
    if (!cgroup.empty() && exists(cgroup)) {
        traces.push_back("cgroup " + cgroup);
    }
    for (const std::string& path : folders_of(bpffs_root, location.prefix + "-")) {
        traces.push_back("bpf " + path);
    }
    if (exists(config_path(location))) {
        traces.push_back("state " + location.state_dir);
    }
    return traces;
}

Result<void> remove_everything(const Location& location) {
    std::vector<std::string> failures;
    const std::string cgroup = cgroup_of(location);
    if (!cgroup.empty() && exists(cgroup)) {
        note(failures, kill_cgroup(cgroup + "/supervisor", std::chrono::seconds(5)));
        kill_pods(cgroup, failures);
        stop_orlopds(cgroup);
        note(failures, kill_cgroup(cgroup, std::chrono::seconds(10)));
    }
    for (const std::string& path : folders_of(bpffs_root, location.prefix + "-")) {
        std::error_code error;
        fs::remove_all(path, error);
        if (error) {
            failures.push_back(path + ": " + error.message());
        }
    }
    // Pods' names sort after their node's; links go with either end.
    for (const std::string& name : list_netns(location.prefix + "-")) {
        note(failures, delete_netns(name));
    }
    if (!cgroup.empty()) {
        note(failures, remove_cgroup(cgroup));
    }
    remove_state(location, failures);
    if (failures.empty()) {
        return {};
    }
    std::string text = "lab down left something:";
    for (const std::string& failure : failures) {
        text += "\n  " + failure;
    }
    return fail(ErrorKind::system, text);
}

}  // namespace orlop::lab
