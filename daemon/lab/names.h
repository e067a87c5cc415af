// What a pod's resolver knows: pure text of hosts files, resolv.conf and dnsmasq's arguments.
#pragma once

#include <string>
#include <vector>

namespace orlop::lab {

struct NamedService {
    std::string ns;
    std::string name;
    std::vector<std::string> ips;  // the service's own addresses, or its pods' when headless
};

// Lines for dnsmasq: "address name.ns.svc.cluster.local".
std::string render_service_hosts(const std::vector<NamedService>& services);
// A pod's own /etc/hosts, as the kubelet writes it.
std::string render_pod_hosts(const std::string& pod, const std::vector<std::string>& ips);
std::string render_resolv_conf(const std::string& ns, const std::string& nameserver);

struct Resolver {
    std::string hosts_path;
    std::vector<std::string> listen;  // addresses
    std::string pid_path;
};
std::vector<std::string> resolver_argv(const Resolver& resolver);

}  // namespace orlop::lab
