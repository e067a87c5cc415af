#include "daemon/lab/names.h"

#include <fmt/core.h>

namespace orlop::lab {

std::string render_service_hosts(const std::vector<NamedService>& services) {
    std::string text;
    for (const NamedService& service : services) {
        for (const std::string& ip : service.ips) {
            text += fmt::format("{} {}.{}.svc.cluster.local\n", ip, service.name, service.ns);
        }
    }
    return text;
}

std::string render_pod_hosts(const std::string& pod, const std::vector<std::string>& ips) {
    std::string text = "127.0.0.1\tlocalhost\n"
                       "::1\tlocalhost ip6-localhost ip6-loopback\n";
    for (const std::string& ip : ips) {
        text += fmt::format("{}\t{}\n", ip, pod);
    }
    return text;
}

std::string render_resolv_conf(const std::string& ns, const std::string& nameserver) {
    return fmt::format("nameserver {}\n"
                       "search {}.svc.cluster.local svc.cluster.local cluster.local\n"
                       "options ndots:5 timeout:2 attempts:2\n",
                       nameserver,
                       ns);
}

std::vector<std::string> resolver_argv(const Resolver& resolver) {
    std::vector<std::string> argv = {
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--addn-hosts=" + resolver.hosts_path,
        // The lab's names are all there are: any other is answered at once with NXDOMAIN.
        "--local=/#/",
        "--bind-interfaces",
        "--except-interface=lo",
        "--user=root",
        "--group=root",
        "--cache-size=0",
        "--local-ttl=1",
        "--log-facility=-",
        "--pid-file=" + resolver.pid_path};
    for (const std::string& address : resolver.listen) {
        argv.push_back("--listen-address=" + address);
    }
    return argv;
}

}  // namespace orlop::lab
