#include "daemon/lab/config.h"

#include <fmt/core.h>

#include <charconv>

namespace orlop::lab {

std::string render_config(const LabConfig& config) {
    std::string text = fmt::format(
        "state_dir {}\nprefix {}\nnodes {}\nfamilies {}\nmesh {}\ncgroup_root {}\nlab_file {}\n"
        "apps_dir {}\norlopd_path {}\n",
        config.location.state_dir,
        config.location.prefix,
        config.nodes,
        config.families == Families::dual ? "dual" : "v4_only",
        config.mesh == Mesh::on ? "on" : "off",
        config.cgroup_root,
        config.lab_file,
        config.apps_dir,
        config.orlopd_path);
    for (const std::string& argument : config.orlopd_args) {
        text += fmt::format("orlopd_arg {}\n", argument);
    }
    return text;
}

Result<LabConfig> parse_config(std::string_view text) {
    LabConfig config;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const std::size_t space = std::min(line.find(' '), line.size());
        const std::string_view name = line.substr(0, space);
        const std::string value(line.substr(std::min(space + 1, line.size())));
        if (name == "state_dir") {
            config.location.state_dir = value;
        } else if (name == "prefix") {
            config.location.prefix = value;
        } else if (name == "nodes") {
            std::from_chars(value.data(), value.data() + value.size(), config.nodes);
        } else if (name == "families") {
            config.families = value == "dual" ? Families::dual : Families::v4_only;
        } else if (name == "mesh") {
            config.mesh = value == "on" ? Mesh::on : Mesh::off;
        } else if (name == "cgroup_root") {
            config.cgroup_root = value;
        } else if (name == "lab_file") {
            config.lab_file = value;
        } else if (name == "apps_dir") {
            config.apps_dir = value;
        } else if (name == "orlopd_path") {
            config.orlopd_path = value;
        } else if (name == "orlopd_arg") {
            config.orlopd_args.push_back(value);
        }
    }
    if (config.nodes < 1 || config.nodes > 2 || config.cgroup_root.empty()) {
        return fail(ErrorKind::invalid_input,
                    "lab.conf: nodes or cgroup_root is missing: run `orlopctl lab down`");
    }
    return config;
}

}  // namespace orlop::lab
