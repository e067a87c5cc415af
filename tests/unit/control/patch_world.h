// A small mesh that changes at random, in which everything collides: addresses, uids, selectors,
// exports. For patch_test.cc.
#pragma once

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace orlop::control {

using Texts = std::vector<std::string>;

inline constexpr int pods = 12;
inline constexpr int addresses = 14;
inline const Texts namespaces = {"a", "b"};

inline std::string ip_of(int number) {
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
inline const std::vector<std::pair<std::string, std::string>> configs = {
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

inline std::pair<std::string, std::string> World::config() {
    const auto& [name, text] = one_of(configs);
    return {name + ".yaml", below(2) == 0 ? "" : text};
}

}  // namespace orlop::control
