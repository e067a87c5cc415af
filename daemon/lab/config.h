// LabConfig: what up() decided, kept in <state>/lab.conf for the supervisor and for down().
// LabLayout: where everything lives, derived from it. Values; pure.
#pragma once

#include "daemon/base/error.h"
#include "daemon/lab/lab.h"

#include <string>
#include <string_view>
#include <vector>

namespace orlop::lab {

struct LabConfig {
    Location location;
    int nodes = 1;
    Families families = Families::dual;
    Mesh mesh = Mesh::off;
    std::string cgroup_root;  // the cgroup2 mount
    std::string lab_file;     // absolute; may be empty
    std::string apps_dir;     // absolute
    std::string orlopd_path;
    std::vector<std::string> orlopd_args;
};

// One "name value" line per field; values end with the line.
std::string render_config(const LabConfig& config);
Result<LabConfig> parse_config(std::string_view text);

class LabLayout {
public:
    explicit LabLayout(const LabConfig& config)
        : state_(config.location.state_dir), prefix_(config.location.prefix),
          cgroup_root_(config.cgroup_root) {}

    std::string socket() const { return state_ + "/lab.sock"; }
    std::string config_dir() const { return state_ + "/config"; }
    std::string ca_dir() const { return state_ + "/ca"; }
    std::string logs_dir() const { return state_ + "/logs"; }
    std::string pods_dir() const { return state_ + "/pods"; }
    std::string pod_dir(const std::string& uid) const { return pods_dir() + "/" + uid; }
    std::string pod_log(const std::string& ns, const std::string& pod) const {
        return logs_dir() + "/" + ns + "_" + pod + ".log";
    }
    std::string node_dir(const std::string& node) const { return state_ + "/nodes/" + node; }
    std::string node_netns(const std::string& node) const { return prefix_ + "-" + node; }
    std::string pod_netns(const std::string& node, int serial) const {
        return node_netns(node) + "-p" + std::to_string(serial);
    }
    std::string cgroup() const { return cgroup_root_ + "/" + prefix_; }
    std::string supervisor_cgroup() const { return cgroup() + "/supervisor"; }
    std::string node_cgroup(const std::string& node) const { return cgroup() + "/" + node; }
    std::string bpffs(const std::string& node) const {
        return "/sys/fs/bpf/" + prefix_ + "-" + node;
    }

private:
    std::string state_;
    std::string prefix_;
    std::string cgroup_root_;
};

inline std::string config_path(const Location& location) {
    return location.state_dir + "/lab.conf";
}
inline std::string node_name(int number) {
    return "n" + std::to_string(number);
}

}  // namespace orlop::lab
