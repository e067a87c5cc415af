// Nodes of the cluster: their namespaces, resolvers and orlopds.
#include "daemon/base/unique_fd.h"
#include "daemon/lab/cgroup.h"
#include "daemon/lab/cluster.h"
#include "daemon/lab/names.h"
#include "daemon/lab/network.h"
#include "daemon/lab/notes.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"
#include "daemon/lab/wire.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace orlop::lab {

namespace {

std::vector<std::string> node_ips(int number, Families families) {
    std::vector<std::string> ips = {gateway4(number)};
    if (families == Families::dual) {
        ips.push_back(gateway6(number));
    }
    return ips;
}

// Capture takes milliseconds; a dead orlopd must not hold pods back for ever.
constexpr int force_patience_ms = 2000;

Result<UniqueFd> open_log(const std::string& path) {
    UniqueFd log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.valid()) {
        return fail_errno(errno, "open " + path);
    }
    return log;
}

// A resolver that is not yet bound would cost the first pod a lost query and its 2 s of patience.
Result<void> wait_for_port_53(pid_t pid, const std::string& log) {
    for (int attempt = 0; attempt < 400; ++attempt) {
        const auto table = read_text_file(fmt::format("/proc/{}/net/udp", pid));
        if (table && table->find(":0035 ") != std::string::npos) {
            return {};
        }
        if (!is_running(identify(pid))) {
            break;
        }
        ::poll(nullptr, 0, 5);
    }
    const auto said = read_text_file(log);
    return fail(ErrorKind::system, "dnsmasq does not serve: " + (said ? *said : log));
}

}  // namespace

Result<void> Cluster::start() {
    std::vector<std::string> lines;
    for (int number = 1; number <= config_.nodes; ++number) {
        nodes_.push_back({.number = number});
    }
    for (Node& node : nodes_) {
        if (auto started = start_node(node); !started) {
            return started;
        }
    }
    if (nodes_.size() == 2) {
        const auto plan = [this](const Node& node) {
            return NodePlan{
                layout_.node_netns(node_name(node.number)), node.number, config_.families};
        };
        if (auto joined = join_nodes(plan(nodes_[0]), plan(nodes_[1])); !joined) {
            return joined;
        }
    }
    ensure_namespace("default", lines);
    sync_services();
    for (Node& node : nodes_) {
        if (auto started = start_resolver(node); !started) {
            return started;
        }
        if (config_.mesh == Mesh::off) {
            continue;
        }
        if (auto started = start_orlopd(node); !started) {
            return started;
        }
    }
    return {};
}

Result<void> Cluster::start_node(Node& node) {
    const std::string name = node_name(node.number);
    const std::string folder = layout_.node_dir(name);
    std::error_code error;
    for (const char* part : {"/sandboxes", "/state", "/dns"}) {
        std::filesystem::create_directories(folder + part, error);
    }
    if (error) {
        return fail_errno(error.value(), "make folder " + folder);
    }
    for (const char* part : {"", "/orlopd", "/resolver"}) {
        if (auto made = make_cgroup(layout_.node_cgroup(name) + part); !made) {
            return made;
        }
    }
    if (auto empty = write_atomically(folder + "/dns/hosts", ""); !empty) {
        return empty;
    }
    const NodePlan plan{layout_.node_netns(name), node.number, config_.families};
    if (auto made = make_node_network(plan); !made) {
        return made;
    }
    write_object("Node", {"", name}, render_node(name, node_ips(node.number, config_.families)));
    return {};
}

Result<void> Cluster::start_resolver(Node& node) {
    const std::string name = node_name(node.number);
    const std::string folder = layout_.node_dir(name) + "/dns";
    auto log = open_log(folder + "/dnsmasq.log");
    if (!log) {
        return std::unexpected(log.error());
    }
    Spawn request;
    request.argv = resolver_argv(
        {folder + "/hosts", node_ips(node.number, config_.families), folder + "/dnsmasq.pid"});
    request.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    request.place.cgroup = layout_.node_cgroup(name) + "/resolver";
    request.place.netns = netns_path(layout_.node_netns(name));
    request.stdout_fd = log->get();
    request.stderr_fd = log->get();
    request.session = Session::own;
    const auto pid = spawn(request);
    if (!pid) {
        return std::unexpected(pid.error());
    }
    node.resolver = *pid;
    return wait_for_port_53(*pid, folder + "/dnsmasq.log");
}

Result<void> Cluster::start_orlopd(Node& node) {
    const std::string name = node_name(node.number);
    const std::string folder = layout_.node_dir(name);
    auto log = open_log(folder + "/orlopd.log");
    if (!log) {
        return std::unexpected(log.error());
    }
    Spawn request;
    request.argv = {config_.orlopd_path,
                    "--node-name",
                    name,
                    "--config-dir",
                    layout_.config_dir(),
                    "--sandbox-dir",
                    folder + "/sandboxes",
                    "--state-dir",
                    folder + "/state",
                    "--socket",
                    folder + "/orlopd.sock",
                    "--cgroup",
                    layout_.node_cgroup(name),
                    "--bpffs",
                    layout_.bpffs(name),
                    "--ca-dir",
                    layout_.ca_dir(),
                    "--access-log",
                    folder + "/orlopd.access.log",
                    "--dns-servers",
                    node_ips(node.number, config_.families).front()};
    request.argv.insert(request.argv.end(), config_.orlopd_args.begin(), config_.orlopd_args.end());
    request.place.cgroup = layout_.node_cgroup(name) + "/orlopd";
    request.place.netns = netns_path(layout_.node_netns(name));
    request.stdout_fd = log->get();
    request.stderr_fd = log->get();
    request.session = Session::own;
    const auto pid = spawn(request);
    if (!pid) {
        node.mesh_state = "missing";
        return std::unexpected(pid.error());
    }
    node.orlopd = *pid;
    node.mesh_state = "running";
    return {};
}

void Cluster::bring_into_force(const Node& node) {
    if (node.orlopd == 0) {
        return;
    }
    const std::string name = node_name(node.number);
    const auto socket = connect_to(layout_.node_dir(name) + "/orlopd.sock");
    if (!socket) {
        note("orlopd of {} is not asked to capture: {}", name, socket.error().context);
        return;
    }
    constexpr std::string_view request = "POST /refresh HTTP/1.1\r\nHost: orlopd\r\n"
                                         "Content-Length: 0\r\nConnection: close\r\n\r\n";
    pollfd answer{socket->get(), POLLIN, 0};
    if (::send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(request.size()) ||
        ::poll(&answer, 1, force_patience_ms) != 1) {
        note("orlopd of {} does not answer: a pod starts uncaptured", name);
    }
}

Result<void> Cluster::mesh(const std::string& node, MeshAction action) {
    bool found = false;
    for (Node& each : nodes_) {
        if (!node.empty() && node != node_name(each.number)) {
            continue;
        }
        found = true;
        if (auto done = mesh_one(each, action); !done) {
            return done;
        }
    }
    if (!found) {
        return fail(ErrorKind::not_found, "no node " + node + ": see `orlopctl lab ps`");
    }
    return {};
}

Result<void> Cluster::mesh_one(Node& node, MeshAction action) {
    switch (action) {
    case MeshAction::start:
        if (node.orlopd != 0) {
            return {};
        }
        if (!program_exists(config_.orlopd_path)) {
            return fail(ErrorKind::not_found, "no orlopd at " + config_.orlopd_path);
        }
        return start_orlopd(node);
    case MeshAction::stop:
    case MeshAction::restart:  // the handle waits, then asks for `start`
        if (node.orlopd != 0) {
            ::kill(node.orlopd, SIGTERM);
        }
        return {};
    case MeshAction::kill:
        if (node.orlopd != 0) {
            ::kill(node.orlopd, SIGKILL);
        }
        return {};
    }
    return {};
}

NodeStatus Cluster::node_status(const Node& node) const {
    NodeStatus status;
    status.name = node_name(node.number);
    status.netns = netns_path(layout_.node_netns(status.name));
    status.cgroup = layout_.node_cgroup(status.name);
    const auto ips = node_ips(node.number, config_.families);
    status.ip = ips.front();
    status.ip6 = ips.size() == 2 ? ips[1] : "";
    status.state_dir = layout_.node_dir(status.name);
    status.socket = status.state_dir + "/orlopd.sock";
    status.orlopd_pid = node.orlopd;
    status.mesh_state = node.mesh_state;
    return status;
}

}  // namespace orlop::lab
