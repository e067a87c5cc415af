#include "daemon/lab/network.h"

#include "daemon/base/unique_fd.h"
#include "daemon/lab/addresses.h"
#include "daemon/lab/process.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sched.h>
#include <unistd.h>
#include <utility>

namespace orlop::lab {

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

struct CloseDir {
    void operator()(DIR* dir) const { ::closedir(dir); }
};

// Steps that stop at the first failure: each is an `ip` batch or a command.
class Steps {
public:
    void ip(std::vector<std::string> words) {
        words.insert(words.begin(), "ip");
        add(run(std::move(words)));
    }
    void batch(const std::string& netns, const char* family, const std::string& lines) {
        if (result_ && !lines.empty()) {
            add(run({"ip", family, "-n", netns, "-batch", "-"}, lines));
        }
    }
    void add(Result<void> step) {
        if (result_ && !step) {
            result_ = std::move(step);
        }
    }
    bool good() const { return result_.has_value(); }
    Result<void> take() { return std::move(result_); }

private:
    Result<void> result_;
};

Result<void> write_setting(const std::string& path, const std::string& value) {
    UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file.valid() ||
        ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
        return fail_errno(errno, fmt::format("write {} to {}", value, path));
    }
    return {};
}

// /proc/sys/net shows the namespace of the calling thread: enter, write, come back.
Result<void> write_settings(const std::string& netns, const Settings& settings) {
    UniqueFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    UniqueFd target(::open(netns_path(netns).c_str(), O_RDONLY | O_CLOEXEC));
    if (!home.valid() || !target.valid() || ::setns(target.get(), CLONE_NEWNET) != 0) {
        return fail_errno(errno, "enter network namespace " + netns);
    }
    Result<void> result;
    for (const auto& [name, value] : settings) {
        result = write_setting("/proc/sys/net/" + name, value);
        if (!result) {
            break;
        }
    }
    if (::setns(home.get(), CLONE_NEWNET) != 0) {
        // Going on in the wrong namespace would configure the wrong machine.
        std::abort();
    }
    return result;
}

Settings common_settings(Families families) {
    Settings settings = {
        // A machine that prefers bbr passes it on to new namespaces, where it needs fq to pace.
        {"ipv4/tcp_congestion_control", "reno"},
        {"ipv4/conf/all/rp_filter", "2"},
        {"ipv4/conf/default/rp_filter", "2"},
        {"ipv4/conf/all/accept_redirects", "0"},
        {"ipv4/conf/default/accept_redirects", "0"},
    };
    const char* disabled = families == Families::dual ? "0" : "1";
    for (const char* scope : {"all", "default"}) {
        settings.emplace_back(fmt::format("ipv6/conf/{}/disable_ipv6", scope), disabled);
        settings.emplace_back(fmt::format("ipv6/conf/{}/accept_dad", scope), "0");
        settings.emplace_back(fmt::format("ipv6/conf/{}/accept_ra", scope), "0");
        settings.emplace_back(fmt::format("ipv6/conf/{}/accept_redirects", scope), "0");
    }
    return settings;
}

Settings node_settings(Families families) {
    Settings settings = common_settings(families);
    settings.emplace_back("ipv4/ip_forward", "1");
    settings.emplace_back("ipv4/conf/all/send_redirects", "0");
    settings.emplace_back("ipv4/conf/default/send_redirects", "0");
    if (families == Families::dual) {
        settings.emplace_back("ipv6/conf/all/forwarding", "1");
    }
    // With br_netfilter in the kernel the bridge would run NAT itself and cut out the routing, and
    // with it the masquerading of a pod that calls itself through a service.
    for (const char* call : {"bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"}) {
        if (::access((std::string("/proc/sys/net/") + call).c_str(), F_OK) == 0) {
            settings.emplace_back(call, "0");
        }
    }
    return settings;
}

}  // namespace

std::string netns_path(const std::string& name) {
    return "/run/netns/" + name;
}

std::vector<std::string> list_netns(const std::string& name_prefix) {
    std::vector<std::string> names;
    std::unique_ptr<DIR, CloseDir> dir(::opendir("/run/netns"));
    while (dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
        if (std::string_view(entry->d_name).starts_with(name_prefix)) {
            names.emplace_back(entry->d_name);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<void> delete_netns(const std::string& name) {
    if (::access(netns_path(name).c_str(), F_OK) != 0) {
        return {};
    }
    return run({"ip", "netns", "del", name});
}

Result<void> make_node_network(const NodePlan& node) {
    Steps steps;
    steps.ip({"netns", "add", node.netns});
    if (steps.good()) {
        steps.add(write_settings(node.netns, node_settings(node.families)));
    }
    // A bridge without an address of its own takes its ports' lowest one, and changes it as pods
    // come and go: the others would send to the old one until their neighbour entries expire.
    // The route to the service range exists so that the node's own calls get as far as NAT.
    steps.batch(node.netns,
                "-4",
                fmt::format("link set lo up\n"
                            "link add br0 address 02:0a:f4:00:00:{:02x} type bridge stp_state 0 "
                            "forward_delay 0 mcast_snooping 0\n"
                            "addr add {}/24 dev br0\n"
                            "link set br0 up\n"
                            "route add {} dev br0\n",
                            node.number,
                            gateway4(node.number),
                            service_range4));
    if (node.families == Families::dual) {
        steps.batch(node.netns,
                    "-6",
                    fmt::format("addr add {}/64 dev br0 nodad\nroute add {} dev br0\n",
                                gateway6(node.number),
                                service_range6));
    }
    return steps.take();
}

Result<void> join_nodes(const NodePlan& first, const NodePlan& second) {
    Steps steps;
    steps.batch(first.netns,
                "-4",
                fmt::format("link add uplink type veth peer name uplink netns {}\n", second.netns));
    for (const auto& [here, there] : {std::pair{&first, &second}, std::pair{&second, &first}}) {
        steps.batch(here->netns,
                    "-4",
                    fmt::format("addr add {}/30 dev uplink\nlink set uplink up\n"
                                "route add {} via {} dev uplink src {}\n",
                                wire4(here->number),
                                pod_range4(there->number),
                                wire4(there->number),
                                gateway4(here->number)));
        if (here->families == Families::dual) {
            steps.batch(here->netns,
                        "-6",
                        fmt::format("addr add {}/64 dev uplink nodad\n"
                                    "route add {} via {} dev uplink src {}\n",
                                    wire6(here->number),
                                    pod_range6(there->number),
                                    wire6(there->number),
                                    gateway6(here->number)));
        }
    }
    return steps.take();
}

Result<void> make_pod_network(const PodPlan& pod) {
    Steps steps;
    steps.ip({"netns", "add", pod.netns});
    if (steps.good()) {
        steps.add(write_settings(pod.netns, common_settings(pod.families)));
    }
    steps.batch(pod.node_netns,
                "-4",
                fmt::format("link add p{0} type veth peer name eth0 netns {1}\n"
                            "link set p{0} master br0 up\n",
                            pod.number,
                            pod.netns));
    steps.batch(pod.netns,
                "-4",
                fmt::format("link set lo up\nlink set eth0 up\naddr add {}/32 dev eth0\n"
                            "route add default via {} dev eth0 onlink\n",
                            pod_ip4(pod.node, pod.number),
                            gateway4(pod.node)));
    if (pod.families == Families::dual) {
        steps.batch(pod.netns,
                    "-6",
                    fmt::format("addr add {}/128 dev eth0 nodad\n"
                                "route add default via {} dev eth0 onlink\n",
                                pod_ip6(pod.node, pod.number),
                                gateway6(pod.node)));
    }
    return steps.take();
}

Result<void> remove_pod_network(const PodPlan& pod) {
    const std::string port = fmt::format("p{}", pod.number);
    const auto cut = run({"ip", "-n", pod.node_netns, "link", "del", port});
    const auto gone = delete_netns(pod.netns);
    return gone ? cut : gone;
}

}  // namespace orlop::lab
