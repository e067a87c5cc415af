#include "daemon/lab/pod.h"

#include "daemon/base/unique_fd.h"
#include "daemon/lab/addresses.h"
#include "daemon/lab/cgroup.h"
#include "daemon/lab/names.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <set>
#include <unistd.h>

namespace orlop::lab {

namespace {

std::string field_value(const Pod& pod, const LabConfig& config, const std::string& path) {
    const auto ips = pod.ips(config.families);
    if (path == "metadata.name") {
        return pod.meta.name;
    }
    if (path == "metadata.namespace") {
        return pod.meta.ns;
    }
    if (path == "metadata.uid") {
        return pod.uid;
    }
    if (path == "status.podIP") {
        return ips.front();
    }
    if (path == "status.podIPs") {
        return ips.size() == 2 ? ips[0] + "," + ips[1] : ips.front();
    }
    if (path == "status.hostIP") {
        return gateway4(pod.node);
    }
    if (path == "spec.nodeName") {
        return node_name(pod.node);
    }
    if (path == "spec.serviceAccountName") {
        return pod.pod.service_account;
    }
    if (path.starts_with("metadata.labels['") && path.ends_with("']")) {
        const auto found = pod.meta.labels.find(path.substr(17, path.size() - 19));
        return found == pod.meta.labels.end() ? "" : found->second;
    }
    return {};
}

// Adds the ports in state LISTEN of a /proc/<pid>/net/tcp table.
void add_listeners(const std::string& table, std::set<int>& ports) {
    const auto text = read_text_file(table);
    std::size_t line = text ? text->find('\n') : std::string::npos;
    while (line != std::string::npos && line + 1 < text->size()) {
        const std::size_t next = text->find('\n', line + 1);
        // "  0: 00000000:2382 00000000:0000 0A ..."
        const std::size_t slot = text->find(": ", line);
        const std::size_t colon = text->find(':', slot + 2);
        const std::size_t remote = text->find(' ', colon);
        const std::size_t state = text->find(' ', remote + 1);
        if (state != std::string::npos && text->compare(state + 1, 2, "0A") == 0) {
            ports.insert(static_cast<int>(std::strtol(text->c_str() + colon + 1, nullptr, 16)));
        }
        line = next;
    }
}

Result<void> make_folder(const std::string& path, unsigned mode) {
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
        return fail_errno(errno, "make folder " + path);
    }
    ::chmod(path.c_str(), mode);
    return {};
}

}  // namespace

std::vector<std::string> Pod::ips(Families families) const {
    std::vector<std::string> addresses = {pod_ip4(node, number)};
    if (families == Families::dual) {
        addresses.push_back(pod_ip6(node, number));
    }
    return addresses;
}

bool Pod::any_process() const {
    return std::any_of(
        runs.begin(), runs.end(), [](const ContainerRun& run) { return run.pid != 0; });
}

const char* phase_word(const Pod& pod) {
    switch (pod.phase) {
    case PodPhase::pending:
        return "Pending";
    case PodPhase::running:
    case PodPhase::terminating:
        return "Running";
    case PodPhase::succeeded:
        return "Succeeded";
    case PodPhase::failed:
        return "Failed";
    }
    return "Unknown";
}

PodView view_of(const Pod& pod, const LabConfig& config) {
    PodView view;
    view.uid = pod.uid;
    view.meta = pod.meta;
    if (pod.owner_kind == "Deployment") {
        view.owner_kind = "ReplicaSet";
        view.owner_name = pod.owner_name + "-" + pod.template_hash;
    } else {
        view.owner_kind = pod.owner_kind;
        view.owner_name = pod.owner_name;
    }
    view.node = node_name(pod.node);
    view.phase = phase_word(pod);
    view.created = pod.created;
    view.deleted = pod.deleted;
    view.ips = pod.ips(config.families);
    view.host_ip = gateway4(pod.node);
    view.ready = pod.ready ? PodView::Ready::yes : PodView::Ready::no;
    return view;
}

PodPlan plan_of(const Pod& pod, const LabConfig& config) {
    const LabLayout layout(config);
    const std::string node = node_name(pod.node);
    return {layout.pod_netns(node, pod.serial),
            layout.node_netns(node),
            pod.node,
            pod.number,
            config.families};
}

std::string pod_cgroup(const Pod& pod, const LabConfig& config) {
    return LabLayout(config).node_cgroup(node_name(pod.node)) + "/" + pod.meta.ns + "_" +
           pod.meta.name;
}

PodMounts mounts_of(const std::string& uid, const LabConfig& config) {
    const std::string folder = LabLayout(config).pod_dir(uid);
    return {folder + "/resolv.conf",
            folder + "/hosts",
            folder + "/nsswitch.conf",
            folder + "/tmp",
            config.apps_dir};
}

std::vector<std::string> base_environment(const LabConfig& config) {
    return {"PATH=" + config.apps_dir +
                ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LANG=C.UTF-8"};
}

Result<void> set_up(const Pod& pod, const LabConfig& config) {
    const LabLayout layout(config);
    const std::string folder = layout.pod_dir(pod.uid);
    const PodMounts mounts = mounts_of(pod.uid, config);
    if (auto made = make_folder(folder, 0755); !made) {
        return made;
    }
    if (auto made = make_folder(mounts.tmp_dir, 01777); !made) {
        return made;
    }
    const auto ips = pod.ips(config.families);
    const std::string nsswitch = "passwd: files\ngroup: files\nhosts: files dns\n";
    for (const auto& [path, text] :
         {std::pair{mounts.resolv_conf, render_resolv_conf(pod.meta.ns, gateway4(pod.node))},
          std::pair{mounts.hosts, render_pod_hosts(pod.meta.name, ips)},
          std::pair{mounts.nsswitch, nsswitch}}) {
        if (auto written = write_atomically(path, text); !written) {
            return written;
        }
    }
    if (auto made = make_cgroup(pod_cgroup(pod, config)); !made) {
        return made;
    }
    if (auto made = make_pod_network(plan_of(pod, config)); !made) {
        return made;
    }
    const std::string sandbox =
        layout.node_dir(node_name(pod.node)) + "/sandboxes/" + pod.uid + ".yaml";
    return write_atomically(sandbox,
                            render_sandbox(view_of(pod, config),
                                           netns_path(plan_of(pod, config).netns),
                                           pod_cgroup(pod, config)));
}

Result<pid_t>
start_container(const Pod& pod, std::size_t index, const LabConfig& config, const LabFile& images) {
    const Container& container = pod.pod.containers[index];
    auto argv = command_of(container, images);
    if (!argv) {
        return std::unexpected(argv.error());
    }
    const std::string log = LabLayout(config).pod_log(pod.meta.ns, pod.meta.name);
    UniqueFd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!output.valid()) {
        return fail_errno(errno, "open " + log);
    }
    const PodMounts mounts = mounts_of(pod.uid, config);
    Spawn request;
    request.argv = std::move(*argv);
    request.env = environment_of(pod, container, config, images);
    request.place = {
        pod_cgroup(pod, config), netns_path(plan_of(pod, config).netns), pod.meta.name, &mounts};
    request.stdout_fd = output.get();
    request.stderr_fd = output.get();
    request.session = Session::own;
    return spawn(request);
}

Result<void> take_down(const Pod& pod, const LabConfig& config) {
    const LabLayout layout(config);
    const std::string cgroup = pod_cgroup(pod, config);
    const auto killed = kill_cgroup(cgroup, std::chrono::seconds(5));
    remove_file(layout.node_dir(node_name(pod.node)) + "/sandboxes/" + pod.uid + ".yaml");
    const auto network = remove_pod_network(plan_of(pod, config));
    const auto group = remove_cgroup(cgroup);
    std::error_code ignored;
    std::filesystem::remove_all(layout.pod_dir(pod.uid), ignored);
    for (const auto& step : {killed, network, group}) {
        if (!step) {
            return step;
        }
    }
    return {};
}

Result<std::vector<std::string>> command_of(const Container& container, const LabFile& images) {
    std::vector<std::string> argv = container.command;
    if (argv.empty()) {
        const ImageCommand* image = images.find(container.image);
        if (image == nullptr || image->argv.empty()) {
            return fail(ErrorKind::not_found,
                        fmt::format("image {} of container {} has no command: add it under "
                                    "`images:` of the lab file",
                                    container.image,
                                    container.name));
        }
        argv = image->argv;
    }
    argv.insert(argv.end(), container.args.begin(), container.args.end());
    return argv;
}

std::vector<std::string> environment_of(const Pod& pod,
                                        const Container& container,
                                        const LabConfig& config,
                                        const LabFile& images) {
    Labels variables;
    if (const ImageCommand* image = images.find(container.image); image != nullptr) {
        variables = image->env;
    }
    variables["HOSTNAME"] = pod.meta.name;
    for (const EnvVar& variable : container.env) {
        variables[variable.name] = variable.field_path.empty()
                                       ? variable.value
                                       : field_value(pod, config, variable.field_path);
    }
    std::vector<std::string> env;
    for (const std::string& line : base_environment(config)) {
        if (!variables.contains(line.substr(0, line.find('=')))) {
            env.push_back(line);
        }
    }
    for (const auto& [name, value] : variables) {
        env.push_back(name + "=" + value);
    }
    return env;
}

bool listens_on_all_ports(const Pod& pod) {
    const auto running = std::find_if(
        pod.runs.begin(), pod.runs.end(), [](const ContainerRun& run) { return run.pid != 0; });
    if (running == pod.runs.end()) {
        return false;
    }
    std::set<int> ports;
    add_listeners(fmt::format("/proc/{}/net/tcp", running->pid), ports);
    add_listeners(fmt::format("/proc/{}/net/tcp6", running->pid), ports);
    for (const Container& container : pod.pod.containers) {
        for (const ContainerPort& port : container.ports) {
            if (port.protocol == "TCP" && !ports.contains(port.port)) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace orlop::lab
