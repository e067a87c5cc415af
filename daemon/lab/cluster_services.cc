// Services of the cluster: who stands behind them, on NAT and in names; and the cluster's status.
#include "daemon/lab/cluster.h"
#include "daemon/lab/names.h"
#include "daemon/lab/nat.h"
#include "daemon/lab/network.h"
#include "daemon/lab/notes.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <signal.h>

namespace orlop::lab {

namespace {

bool selects(const Labels& selector, const Labels& labels) {
    if (selector.empty()) {
        return false;
    }
    return std::all_of(selector.begin(), selector.end(), [&labels](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    });
}

// targetPort is a number, or the name of a port of the pod's containers; 0: the pod has none.
std::uint16_t resolve_port(const std::string& target, const PodTemplate& pod) {
    std::uint16_t number = 0;
    const auto [end, code] = std::from_chars(target.data(), target.data() + target.size(), number);
    if (code == std::errc{} && end == target.data() + target.size()) {
        return number;
    }
    for (const Container& container : pod.containers) {
        for (const ContainerPort& port : container.ports) {
            if (port.name == target) {
                return port.port;
            }
        }
    }
    return 0;
}

}  // namespace

std::vector<const Pod*> Cluster::endpoints_of(const Service& service) const {
    std::vector<const Pod*> pods;
    for (const auto& [uid, pod] : pods_) {
        if (pod.ready && pod.phase == PodPhase::running && pod.meta.ns == service.object.meta.ns &&
            selects(service.object.selector, pod.meta.labels)) {
            pods.push_back(&pod);
        }
    }
    return pods;
}

std::vector<std::string> Cluster::service_ips(const Service& service) const {
    if (service.number == 0) {
        return {};
    }
    std::vector<std::string> ips = {service_ip4(service.number)};
    if (config_.families == Families::dual) {
        ips.push_back(service_ip6(service.number));
    }
    return ips;
}

void Cluster::sync_services() {
    sync_nat();
    sync_names();
}

void Cluster::collect_nat(const Service& service,
                          Families family,
                          std::vector<NatPort>& ports) const {
    const bool v4 = family == Families::v4_only;
    const auto pods = endpoints_of(service);
    for (const ServicePort& port : service.object.ports) {
        NatPort rule;
        rule.service_ip = v4 ? service_ip4(service.number) : service_ip6(service.number);
        rule.protocol = port.protocol == "UDP" ? "udp" : "tcp";
        rule.port = port.port;
        for (const Pod* pod : pods) {
            const std::uint16_t target = resolve_port(port.target_port, pod->pod);
            if (target != 0) {
                rule.endpoints.push_back(
                    {v4 ? pod_ip4(pod->node, pod->number) : pod_ip6(pod->node, pod->number),
                     target});
            }
        }
        ports.push_back(std::move(rule));
    }
}

void Cluster::sync_nat() {
    std::vector<NatPort> ports4;
    std::vector<NatPort> ports6;
    std::vector<std::string> ips4;
    std::vector<std::string> ips6;
    for (const auto& [key, service] : services_) {
        if (service.number != 0) {
            collect_nat(service, Families::v4_only, ports4);
            collect_nat(service, Families::dual, ports6);
        }
    }
    for (const auto& [uid, pod] : pods_) {
        if (pod.number != 0) {
            ips4.push_back(pod_ip4(pod.node, pod.number));
            ips6.push_back(pod_ip6(pod.node, pod.number));
        }
    }
    std::string text4 = render_nat(NatFamily::ip, ports4, ips4);
    std::string text6 = config_.families == Families::dual
                            ? render_nat(NatFamily::ip6, ports6, ips6)
                            : std::string();
    if (text4 == nat4_written_ && text6 == nat6_written_) {
        return;
    }
    for (const Node& node : nodes_) {
        Place place;
        place.netns = netns_path(layout_.node_netns(node_name(node.number)));
        if (auto loaded = run({"nft", "-f", "-"}, text4 + text6, place); !loaded) {
            note("service addresses: {}", loaded.error().context);
        }
    }
    nat4_written_ = std::move(text4);
    nat6_written_ = std::move(text6);
}

void Cluster::sync_names() {
    std::vector<NamedService> names;
    for (const auto& [key, service] : services_) {
        NamedService named{key.first, key.second, service_ips(service)};
        if (service.number == 0) {
            for (const Pod* pod : endpoints_of(service)) {
                const auto ips = pod->ips(config_.families);
                named.ips.insert(named.ips.end(), ips.begin(), ips.end());
            }
        }
        names.push_back(std::move(named));
    }
    std::string text = render_service_hosts(names);
    if (text == names_written_) {
        return;
    }
    for (const Node& node : nodes_) {
        const std::string path = layout_.node_dir(node_name(node.number)) + "/dns/hosts";
        if (auto written = write_atomically(path, text); !written) {
            note("service names: {}", written.error().context);
        }
        if (node.resolver != 0) {
            ::kill(node.resolver, SIGHUP);  // dnsmasq reads its hosts again
        }
    }
    names_written_ = std::move(text);
}

ServiceStatus Cluster::service_status(const Key& key, const Service& service) const {
    ServiceStatus status;
    status.ns = key.first;
    status.name = key.second;
    status.type = service.object.type;
    const auto ips = service_ips(service);
    status.cluster_ip = ips.empty() ? "None" : ips[0];
    status.cluster_ip6 = ips.size() == 2 ? ips[1] : "";
    for (const ServicePort& port : service.object.ports) {
        status.ports += fmt::format("{}{}->{}/{}",
                                    status.ports.empty() ? "" : ",",
                                    port.port,
                                    port.target_port,
                                    port.protocol);
    }
    status.endpoints = static_cast<int>(endpoints_of(service).size());
    return status;
}

Status Cluster::status() const {
    Status status;
    for (const Node& node : nodes_) {
        status.nodes.push_back(node_status(node));
    }
    for (const auto& [uid, pod] : pods_) {
        status.pods.push_back(pod_status(pod));
    }
    std::sort(status.pods.begin(), status.pods.end(), [](const PodStatus& a, const PodStatus& b) {
        return std::tie(a.ns, a.name) < std::tie(b.ns, b.name);
    });
    for (const auto& [key, service] : services_) {
        status.services.push_back(service_status(key, service));
    }
    for (const auto& [key, job] : jobs_) {
        status.jobs.push_back({key.first, key.second, job.phase, job.exit_code});
    }
    return status;
}

PodStatus Cluster::pod_status(const Pod& pod) const {
    PodStatus status;
    status.ns = pod.meta.ns;
    status.name = pod.meta.name;
    status.uid = pod.uid;
    status.node = node_name(pod.node);
    status.phase = pod.phase == PodPhase::terminating ? "Terminating" : phase_word(pod);
    status.ready = pod.ready;
    if (pod.number != 0) {
        const auto ips = pod.ips(config_.families);
        status.ip = ips.front();
        status.ip6 = ips.size() == 2 ? ips[1] : "";
        status.netns = netns_path(plan_of(pod, config_).netns);
        status.cgroup = pod_cgroup(pod, config_);
    }
    status.service_account = pod.pod.service_account;
    for (const auto& [name, value] : pod.meta.labels) {
        status.labels += (status.labels.empty() ? "" : ",") + name + "=" + value;
    }
    for (const ContainerRun& run : pod.runs) {
        status.restarts += run.restarts;
        status.pid = status.pid == 0 ? run.pid : status.pid;
        if (pod.phase == PodPhase::running && run.pid == 0 && !run.ended) {
            status.phase = "CrashLoopBackOff";
        }
    }
    status.owner = pod.owner_kind.empty() ? "" : pod.owner_kind + "/" + pod.owner_name;
    return status;
}

}  // namespace orlop::lab
