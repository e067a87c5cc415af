// Compiling what changed gives what compiling everything gives, for random changes of a small mesh
// in which everything collides: addresses, uids, selectors, exports.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace orlop::control {
namespace {

using Texts = std::vector<std::string>;

constexpr int pods = 12;
constexpr int addresses = 14;
const Texts namespaces = {"a", "b"};

std::string ip_of(int number) {
    return fmt::format("10.0.0.{}", number + 1);
}

// The random mesh: what one change writes into one file, or nothing to remove the file.
class World {
public:
    explicit World(unsigned seed) : dice_(seed) {}

    int below(int limit) { return static_cast<int>(dice_() % static_cast<unsigned>(limit)); }
    template <class List> const auto& one_of(const List& list) {
        return list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
    }

    std::pair<std::string, std::string> change() {
        switch (below(16)) {
        case 0:
        case 1:
            return config();
        case 2:
            return service(below(6));
        case 3:
        case 4:
        case 5:
            return slice(below(4));
        case 6:
            return sandbox();
        case 7:
            return node_status();
        default:
            return pod(below(pods));
        }
    }

    std::pair<std::string, std::string> pod(int number) {
        std::string file = fmt::format("pod{}.yaml", number);
        if (below(5) == 0) {
            return {file, ""};
        }
        // Now and then the address or the uid of another pod.
        int address = below(12) == 0 ? below(addresses) : number;
        int uid = below(60) == 0 ? below(pods) : number;
        std::string extra =
            below(20) == 0
                ? "  annotations: {traffic.sidecar.istio.io/excludeInboundPorts: \"x\"}\n"
                : "";
        return {file,
                fmt::format("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{0}\n  namespace: {1}\n"
                            "  uid: u{2}\n  labels: {{app: {3}, version: {4}}}\n{5}spec:\n"
                            "  nodeName: {6}\n{7}  containers: [{{name: c, ports: [{{name: web, "
                            "containerPort: {8}}}]}}]\nstatus:\n  phase: {9}\n  podIP: {10}\n"
                            "  hostIP: 10.9.9.{11}\n  conditions: [{{type: Ready, status: "
                            "\"{12}\"}}]\n",
                            number,
                            namespaces[static_cast<std::size_t>(number % 2)],
                            uid,
                            one_of(Texts{"x", "y", "z"}),
                            one_of(Texts{"v1", "v2"}),
                            extra,
                            one_of(Texts{"n1", "n1", "n2"}),
                            below(15) == 0 ? "  hostNetwork: true\n" : "",
                            one_of(std::vector<int>{9090, 9090, 9191}),
                            below(12) == 0 ? "Succeeded" : "Running",
                            ip_of(address),
                            below(15) == 0 ? 2 : 1,
                            below(4) == 0 ? "False" : "True")};
    }

    std::pair<std::string, std::string> service(int number) {
        std::string file = fmt::format("service{}.yaml", number);
        if (below(6) == 0) {
            return {file, ""};
        }
        std::string selector = fmt::format("  selector: {{app: {}{}}}\n",
                                           one_of(Texts{"x", "y"}),
                                           below(3) == 0 ? ", version: v1" : "");
        Texts extras = {
            "",
            "",
            "  publishNotReadyAddresses: true\n",
        };
        Texts ports = {"{name: http, port: 80, targetPort: 9090}",
                       "{name: http, port: 80, targetPort: web}",
                       "{name: http, port: 80, targetPort: 9090}, {name: tcp, port: 81, "
                       "targetPort: 9090}, {name: dns, port: 53, protocol: UDP}"};
        return {
            file,
            fmt::format("apiVersion: v1\nkind: Service\nmetadata:\n  name: s{0}\n  namespace: "
                        "{1}\n{2}spec:\n  clusterIP: {3}\n  ports: [{4}]\n{5}{6}",
                        number,
                        namespaces[static_cast<std::size_t>(number % 2)],
                        below(4) == 0 ? "  annotations: {networking.istio.io/exportTo: a}\n" : "",
                        below(3) == 0 ? "None" : fmt::format("10.1.0.{}", number),
                        one_of(ports),
                        below(5) == 0 ? "" : selector,
                        one_of(extras))};
    }

    std::pair<std::string, std::string> slice(int number) {
        std::string file = fmt::format("slice{}.yaml", number);
        if (below(4) == 0) {
            return {file, ""};
        }
        std::string members;
        for (int i = below(4); i >= 0; --i) {
            members += fmt::format("- {{addresses: [{}], conditions: {{ready: {}}}}}\n",
                                   ip_of(below(addresses)),
                                   below(4) == 0 ? "false" : "true");
        }
        return {file,
                fmt::format("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n"
                            "  name: e{0}\n  namespace: {1}\n  labels: "
                            "{{kubernetes.io/service-name: s{2}}}\naddressType: IPv4\n"
                            "ports: [{{name: http, port: 9090}}, {{name: tcp, port: 9191}}]\n"
                            "endpoints:\n{3}",
                            number,
                            one_of(namespaces),
                            below(6),
                            members)};
    }

    std::pair<std::string, std::string> sandbox() {
        int number = below(pods);
        std::string file = fmt::format("sandbox{}.yaml", number);
        return {
            file,
            below(3) == 0
                ? ""
                : fmt::format("apiVersion: orlop.dev/v1\nkind: PodSandbox\nmetadata: {{name: "
                              "x{0}, namespace: a, uid: u{1}}}\nspec: {{netns: /run/netns/p{2}, "
                              "cgroup: /sys/fs/cgroup/p}}\n",
                              number,
                              below(10) == 0 ? below(pods) : number,
                              below(3))};
    }

    std::pair<std::string, std::string> node_status() {
        Texts uids;
        for (int i = 0; i < pods; ++i) {
            if (below(2) == 0) {
                uids.push_back(fmt::format("u{}", i));
            }
        }
        std::string node = one_of(Texts{"n1", "n2"});
        return {"status-" + node + ".yaml",
                fmt::format("apiVersion: orlop.dev/v1\nkind: NodeStatus\nmetadata: {{name: {0}}}\n"
                            "spec: {{node: {0}, redirected: [{1}]}}\n",
                            node,
                            fmt::join(uids, ", "))};
    }

    std::pair<std::string, std::string> config();

private:
    std::mt19937 dice_;
};

// name, then what it may be; everything that can decide something about endpoints.
const std::vector<std::pair<std::string, std::string>> configs = {
    {"vs", R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: split, namespace: a}
spec:
  hosts: [s0]
  http:
  - match: [{uri: {prefix: /x}}]
    route: [{destination: {host: s2}}]
    mirror: {host: s1.b.svc.cluster.local}
  - route:
    - {destination: {host: s0, subset: v1}, weight: 30}
    - {destination: {host: s0, subset: v2}, weight: 70}
)"},
    {"vs-private", R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: private, namespace: b}
spec:
  hosts: [s0.a.svc.cluster.local]
  exportTo: ["."]
  http: [{route: [{destination: {host: s1}}]}]
  tcp: [{match: [{port: 81}], route: [{destination: {host: s3, port: {number: 80}}}]}]
)"},
    {"dr", R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s0, namespace: a}
spec:
  host: s0
  trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
)"},
    {"dr-hash", R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s1, namespace: b}
spec:
  host: s1
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
)"},
    {"dr-private", R"(apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s2-b, namespace: b}
spec:
  host: s2.a.svc.cluster.local
  exportTo: ["."]
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
)"},
    {"sidecar", R"(apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: side, namespace: a}
spec:
  workloadSelector: {labels: {app: x}}
  egress: [{hosts: ["./*", "b/s1.b.svc.cluster.local"]}]
)"},
    {"sidecar-b", R"(apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: all, namespace: b}
spec: {egress: [{hosts: ["*/*"]}]}
)"},
    {"se", R"(apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: a}
spec:
  hosts: [out.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_EXTERNAL
  endpoints: [{address: 10.0.0.3}, {address: 192.0.2.1, labels: {version: v1}}]
)"},
    {"se-pods", R"(apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: in, namespace: b}
spec:
  hosts: [in.example.com]
  addresses: [10.1.9.9]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9090}]
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: {labels: {app: z}}
)"},
    {"we", R"(apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: b}
spec: {address: 192.0.2.7, labels: {app: z}}
)"},
    {"pa", R"(apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: a}
spec: {selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}
)"},
    {"pa-twin", R"(apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: twin, namespace: a}
spec: {selector: {matchLabels: {version: v1}}, mtls: {mode: DISABLE}}
)"},
    {"pa-broken", R"(apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: broken, namespace: b}
spec: {mtls: {mode: STRICKT}}
)"},
    {"authz", R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-a, namespace: a}
spec:
  selector: {matchLabels: {app: y, version: v2}}
  rules: [{from: [{source: {namespaces: [a]}}]}]
)"},
    {"authz-all", R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}
)"},
    {"authz-target", R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: target, namespace: b}
spec:
  targetRefs: [{kind: Service, group: "", name: s1}]
  rules: [{from: [{source: {namespaces: [a]}}]}]
)"},
    {"gateway", R"(apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: a}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["shop.example.com"]}
  - {port: {number: 8081, name: tcp, protocol: TCP}, hosts: ["*"]}
)"},
    {"vs-gateway", R"(apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: a}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http: [{route: [{destination: {host: s0}}]}]
  tcp: [{match: [{port: 8081}], route: [{destination: {host: s2, port: {number: 80}}}]}]
)"},
    {"limit", R"(apiVersion: orlop.dev/v1
kind: RateLimit
metadata: {name: slow, namespace: a}
spec: {hosts: [s0], requests: 10, interval: 1s}
)"},
    {"ns",
     "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: "
     "{istio.io/dataplane-mode: orlop}}\n"},
    {"node",
     "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: "
     "{topology.kubernetes.io/region: r}}\nstatus: {addresses: [{type: InternalIP, "
     "address: 10.9.9.1}]}\n"},
    {"netpol",
     "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, "
     "namespace: a}\nspec: {podSelector: {matchLabels: {app: x}}}\n"},
    {"mesh",
     "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: default}\nspec: "
     "{trustDomain: example.org}\n"},
    {"alias",
     "apiVersion: v1\nkind: Service\nmetadata: {name: alias, namespace: b}\nspec: {type: "
     "ExternalName, externalName: s0.a.svc.cluster.local, ports: [{name: http, port: 80}]}\n"},
    {"account", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x, namespace: a}\n"},
    {"endpoints",
     "apiVersion: v1\nkind: Endpoints\nmetadata: {name: s4, namespace: a}\nsubsets: "
     "[{addresses: [{ip: 10.0.0.2}], ports: [{name: http, port: 9090}]}]\n"},
};

std::pair<std::string, std::string> World::config() {
    const auto& [name, text] = one_of(configs);
    return {name + ".yaml", below(2) == 0 ? "" : text};
}

// --- a Snapshot as text ---

std::string text_of(const model::Destination* destination) {
    if (destination == nullptr) {
        return "-";
    }
    std::string out = fmt::format("{}#{}[", destination->cluster_name, destination->key);
    for (const model::Endpoint& endpoint : destination->endpoints) {
        out += fmt::format("{}*{}@{} ",
                           endpoint.address.to_string(),
                           endpoint.weight,
                           endpoint.workload ? endpoint.workload->uid : "");
    }
    for (const auto& cell : destination->health) {
        out += fmt::format("+{}/{}", cell->address.to_string(), cell->uid);
    }
    bool hashed = destination->hash_table != nullptr;
    bool fits = hashed && destination->hash_table->serves(*destination->policy.consistent_hash,
                                                          destination->endpoints);
    return out +
           fmt::format("] verdicts {} hash {} {}", destination->verdicts != nullptr, hashed, fits);
}

std::string text_of(const model::Workload& workload) {
    std::string policies;
    if (workload.authorization) {
        for (const auto* list : {&workload.authorization->deny, &workload.authorization->allow}) {
            for (const auto& policy : *list) {
                policies += policy->source->to_string() + " ";
            }
        }
    }
    std::string ips;
    for (const IpAddress& address : workload.addresses) {
        ips += address.to_string() + " ";
    }
    return fmt::format("{} {}/{} {} {} ready {} redirected {} enrol {} local {} netns {} mtls {} "
                       "policies {} sidecar {} region {} netpol {} version {}",
                       workload.uid,
                       workload.ns,
                       workload.name,
                       ips,
                       workload.identity.to_string(),
                       workload.ready,
                       workload.redirected,
                       workload.enrol_wanted,
                       workload.local,
                       workload.netns,
                       static_cast<int>(workload.mtls),
                       policies,
                       workload.sidecar,
                       workload.locality.region,
                       workload.network_policy_selected,
                       workload.version);
}

class Dump {
public:
    explicit Dump(const model::Snapshot& snapshot) : snapshot_(snapshot) {
        for (const auto& destination : snapshot.destinations()) {
            known_.insert(destination.get());
            line("destination {}", text_of(destination.get()));
            line("found {}", text_of(snapshot.find_destination(destination->key)));
        }
        for (const auto& host : snapshot.virtual_hosts()) {
            line("host {}", text_of(host.get()));
        }
        for (const auto& workload : snapshot.workloads()) {
            line("workload {}", text_of(*workload));
        }
        for (const auto& workload : snapshot.local_workloads()) {
            line("local {} {}", workload->uid, workload->name);
        }
        for (const auto& gateway : snapshot.gateways()) {
            dump_gateway(*gateway);
        }
        for (const char* scope : {"", "a", "b", "a/side", "istio-system"}) {
            dump_scope(scope);
        }
        line("node addresses {} {}",
             snapshot.is_node_address(*IpAddress::parse("10.9.9.1")),
             snapshot.is_node_address(*IpAddress::parse("10.9.9.2")));
    }
    const std::string& text() const { return text_; }

private:
    template <class... Args> void line(fmt::format_string<Args...> format, Args&&... args) {
        text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
    }
    // Whatever leads to a destination leads to that of this Snapshot.
    std::string own(const model::Destination* destination) const {
        bool stale = destination != nullptr && !known_.contains(destination);
        return text_of(destination) + (stale ? " STALE" : "");
    }
    std::string text_of_route(const model::HttpRoute& route) const {
        std::string out = "(";
        for (const auto& choice : route.destinations) {
            out += fmt::format("{} of {} ", own(choice.destination.get()), choice.wanted);
        }
        for (const auto& mirror : route.mirrors) {
            out += "mirror " + own(mirror.destination.get());
        }
        return out + ")";
    }
    std::string text_of(const model::VirtualHost* host) const {
        if (host == nullptr) {
            return "-";
        }
        std::string out =
            fmt::format("{}:{} whole {} ", host->host, host->port, own(host->whole.get()));
        for (const auto& route : host->routes) {
            out += text_of_route(route);
        }
        for (const auto* streams : {&host->tls, &host->tcp}) {
            for (const auto& stream : *streams) {
                out += text_of_route(stream.choice);
            }
        }
        return out + fmt::format(" limits {}", host->rate_limits.size());
    }
    static std::string text_of(const model::Destination* destination) {
        return control::text_of(destination);
    }
    static std::string text_of(const model::Workload& workload) {
        return control::text_of(workload);
    }
    void dump_gateway(const model::GatewayListener& gateway) {
        for (const auto& server : gateway.servers) {
            line("gateway {} {} {}",
                 gateway.address.to_string(),
                 server.name,
                 text_of(server.hosts.find("shop.example.com")));
            for (const auto& route : server.routes) {
                line("  bytes {}", text_of_route(route.choice));
            }
        }
    }
    void dump_target(const std::string& scope, const SocketAddress& address) {
        auto target = snapshot_.resolve_outbound(scope, address);
        bool single = target.workload != nullptr || target.destination == nullptr ||
                      known_.contains(target.destination) ||
                      target.destination->endpoints.size() == 1;
        line("{} {} -> {} {} by port {} {} | {} | {} {}",
             scope,
             address.to_string(),
             target.service == nullptr ? "-" : target.service->host,
             target.port == nullptr ? 0 : target.port->port,
             target.by_port,
             target.workload == nullptr ? "-" : target.workload->uid,
             text_of(target.virtual_host),
             text_of(target.destination),
             single ? "" : "STALE");
    }
    void dump_scope(const std::string& scope) {
        Texts ips = {"10.1.9.9", "192.0.2.1", "192.0.2.7", "10.77.0.1"};
        for (int i = 0; i < addresses; ++i) {
            ips.push_back(ip_of(i));
        }
        for (int i = 0; i < 6; ++i) {
            ips.push_back(fmt::format("10.1.0.{}", i));
        }
        for (const std::string& ip : ips) {
            for (std::uint16_t port : {80, 81, 9090, 9191}) {
                dump_target(scope, {*IpAddress::parse(ip), port});
            }
        }
        for (const char* host : {"s0",
                                 "s1.b",
                                 "s2.a.svc",
                                 "s3.b.svc.cluster.local",
                                 "alias.b",
                                 "out.example.com",
                                 "in.example.com"}) {
            line("{} {} -> {}", scope, host, text_of(snapshot_.find_virtual_host(scope, host, 80)));
        }
    }

    const model::Snapshot& snapshot_;
    std::set<const model::Destination*> known_;
    std::string text_;
};

Texts sorted(const Findings& findings) {
    Texts out;
    for (const Finding& finding : findings) {
        out.push_back(finding.to_string());
    }
    std::ranges::sort(out);
    return out;
}

std::string first_difference(const std::string& a, const std::string& b) {
    std::size_t at = 0;
    while (at < a.size() && at < b.size() && a[at] == b[at]) {
        ++at;
    }
    std::size_t begin = at == 0 ? 0 : a.rfind('\n', at - 1) + 1;
    auto line_at = [&](const std::string& text) {
        return begin >= text.size() ? "" : text.substr(begin, text.find('\n', at) - begin);
    };
    return a == b ? "" : line_at(a) + "\n  instead of\n" + line_at(b);
}

struct Counts {
    int patched = 0;
    int whole = 0;
};

Counts compare(unsigned seed, int steps) {
    World world(seed);
    ObjectStore store;
    Compiler incremental;
    Compiler from_scratch;
    std::int64_t clock = 0;
    std::uint64_t generation = 0;
    auto write = [&](const std::pair<std::string, std::string>& change) {
        const auto& [file, text] = change;
        return text.empty() ? store.remove_source(file)
                            : store.replace_source(
                                  file,
                                  decode_text(text, {.file = file, .origin = Origin::sandbox}),
                                  ++clock);
    };
    for (int i = 0; i < pods; ++i) {
        write(world.pod(i));
        write(world.service(i % 6));
    }
    Counts run;
    model::SnapshotPtr held;  // as the cores hold it: health cells live on
    for (int step = 0; step < steps; ++step) {
        bool changed = false;
        std::string last;
        for (int more = world.below(3); more >= 0; --more) {
            auto change = world.change();
            last += change.first + ": " + change.second + "\n";
            changed = write(change) || changed;
        }
        if (!changed) {
            continue;
        }
        CompileOptions options{.node = "n1", .generation = ++generation};
        CompileResult one = incremental.compile(store, options);
        options.extent = CompileExtent::everything;
        CompileResult two = from_scratch.compile(store, options);
        ++(one.extent == CompileExtent::what_changed ? run.patched : run.whole);
        EXPECT_EQ(two.extent, CompileExtent::everything);
        std::string difference =
            first_difference(Dump(*one.snapshot).text(), Dump(*two.snapshot).text());
        EXPECT_EQ(difference, "") << "seed " << seed << " step " << step << "\n" << last;
        EXPECT_EQ(sorted(one.findings), sorted(two.findings)) << "seed " << seed << "\n" << last;
        EXPECT_EQ(one.dns_names, two.dns_names);
        held = one.snapshot;
        if (testing::Test::HasFailure()) {
            break;
        }
    }
    return run;
}

TEST(Patch, compiling_what_changed_gives_what_compiling_everything_gives) {
    Counts all;
    for (unsigned seed = 1; seed <= 30 && !HasFailure(); ++seed) {
        Counts run = compare(seed, 120);
        all.patched += run.patched;
        all.whole += run.whole;
    }
    EXPECT_GT(all.patched, all.whole / 2);  // both ways were taken often
    EXPECT_GT(all.whole, 100);
    RecordProperty("patched", all.patched);
    RecordProperty("whole", all.whole);
}

}  // namespace
}  // namespace orlop::control
