// ServiceEntry, WorkloadEntry, Sidecar, tls and tcp routes: what is refused, and what it compiles
// to.
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace orlop::control {
namespace {

using testing::HasSubstr;

const std::string head = "apiVersion: networking.istio.io/v1\n";

std::string entry(const std::string& spec, const std::string& name = "e") {
    return head + "kind: ServiceEntry\nmetadata: {name: " + name +
           ", namespace: default}\nspec: " + spec + "\n---\n";
}

std::string sidecar(const std::string& spec, const std::string& name = "s") {
    return head + "kind: Sidecar\nmetadata: {name: " + name +
           ", namespace: default}\nspec: " + spec + "\n---\n";
}

std::string routes(const std::string& spec, const std::string& name = "v") {
    return head + "kind: VirtualService\nmetadata: {name: " + name +
           ", namespace: default}\nspec: " + spec + "\n---\n";
}

std::string errors_of(const std::string& text) {
    std::string out;
    DecodedText decoded = decode_text(text, {.file = "x.yaml"});
    for (const DecodedObject& object : decoded.objects) {
        for (const Finding& finding : object.findings) {
            out += finding.severity == Severity::error ? finding.to_string() + "\n" : "";
        }
    }
    for (const Finding& finding : decoded.errors) {
        out += finding.to_string() + "\n";
    }
    return out;
}

const std::string http = "ports: [{number: 80, name: http, protocol: HTTP}]";
const std::string tcp = "ports: [{number: 3306, name: tcp, protocol: TCP}]";

TEST(ServiceEntry, what_istio_refuses_is_refused_with_its_words) {
    struct Case {
        std::string spec;
        const char* says;
    } cases[] = {
        {"{" + http + "}", "at least one host"},
        {"{hosts: ['*'], " + http + "}", "invalid host *"},
        {"{hosts: ['a b'], " + http + "}", "is no host name"},
        {"{hosts: [a.example, A.example], " + http + "}", "duplicate host"},
        {"{hosts: [a.example]}", "at least one port"},
        {"{hosts: [a.example], ports: [{number: 70000, name: x}]}", "number"},
        {"{hosts: [a.example], ports: [{number: 80, name: a}, {number: 80, name: b}]}",
         "port 80 already defined"},
        {"{hosts: [a.example], ports: [{number: 80, name: a}, {number: 81, name: a}]}",
         "port name a already defined"},
        {"{hosts: [a.example], ports: [{number: 80, name: a, protocol: SPDY}]}",
         "unsupported protocol"},
        {"{hosts: [a.example], addresses: [ten], " + http + "}", "invalid address"},
        {"{hosts: [a.example], addresses: [10.0.0.0/8], resolution: DNS, " + http + "}",
         "CIDR addresses are allowed only for NONE/STATIC"},
        {"{hosts: [a.example], endpoints: [{address: 1.2.3.4}], " + http + "}",
         "no endpoints should be provided for resolution type none"},
        {"{hosts: [a.example], resolution: STATIC, endpoints: [{address: b.example}], " + http +
             "}",
         "a STATIC endpoint is an IP address"},
        {"{hosts: [a.example], resolution: STATIC, endpoints: [{address: 'unix:/x'}], " + http +
             "}",
         "unix domain sockets"},
        {"{hosts: [a.example], resolution: STATIC, endpoints: [{address: 1.2.3.4, ports: {web: "
         "1}}], " +
             http + "}",
         "endpoint port web is not defined"},
        {"{hosts: [a.example], resolution: STATIC, endpoints: [{address: 1.2.3.4, ports: {http: "
         "0}}], " +
             http + "}",
         "want a port"},
        {"{hosts: ['*.example'], resolution: DNS, " + http + "}", "hosts must be FQDN"},
        {"{hosts: [a.example], resolution: DNS_ROUND_ROBIN, endpoints: [{address: 1.2.3.4}, "
         "{address: 1.2.3.5}], " +
             http + "}",
         "only be 0 or 1 endpoint"},
        {"{hosts: [a.example], resolution: DYNAMIC_DNS, " + http + "}", "not offered"},
        {"{hosts: [a.example, b.example], resolution: DNS, " + tcp + "}",
         "multiple hosts provided with non-HTTP"},
        {"{hosts: [a.example], resolution: STATIC, endpoints: [{address: 1.2.3.4}], "
         "workloadSelector: {labels: {a: b}}, " +
             http + "}",
         "only one of WorkloadSelector or Endpoints"},
        {"{hosts: [a.example], exportTo: ['~', a], " + http + "}", "stands alone"},
        {"{hosts: [a.example], exportTo: [A], " + http + "}", "is no namespace"},
        {"{hosts: [a.example], location: MOON, " + http + "}", "location"},
    };
    for (const Case& one : cases) {
        EXPECT_THAT(errors_of(entry(one.spec)), HasSubstr(one.says)) << one.spec;
    }
}

TEST(ServiceEntry, what_istio_accepts_is_accepted) {
    for (const std::string& spec : {
             "{hosts: [a.example], " + http + "}",
             "{hosts: ['*.example.com'], location: MESH_EXTERNAL, " + http + "}",
             "{hosts: [a.example, b.example], resolution: DNS, " + http + "}",
             "{hosts: [a.example, b.example], " + tcp + "}",
             "{hosts: [a.example], addresses: [10.0.0.0/24], resolution: STATIC, endpoints: "
             "[{address: 1.2.3.4, ports: {http: 8080}, labels: {v: v1}, weight: 3}], " +
                 http + "}",
             "{hosts: [a.example], resolution: DNS, endpoints: [{address: us.a.example}], " + http +
                 "}",
             "{hosts: [a.example], exportTo: ['~'], " + http + "}",
             "{hosts: [a.example], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: "
             "{labels: {app: a}}, subjectAltNames: [x], " +
                 http + "}",
         }) {
        EXPECT_EQ(errors_of(entry(spec)), "") << spec;
    }
}

TEST(Sidecar, what_is_malformed_is_refused) {
    struct Case {
        const char* spec;
        const char* says;
    } cases[] = {
        {"{}", "empty configuration"},
        {"{egress: [{hosts: []}]}", "at least one host"},
        {"{egress: [{hosts: [reviews]}]}", "form namespace/dnsName"},
        {"{egress: [{hosts: ['A/x']}]}", "is no namespace"},
        {"{egress: [{hosts: ['./a b']}]}", "is no host name"},
        {"{egress: [{hosts: ['~/a']}]}", "~ stands for no namespace"},
        {"{egress: [{hosts: ['*/*']}, {port: {number: 80}, hosts: ['*/*']}]}", "last one"},
        {"{egress: [{port: {number: 80}, hosts: ['*/*']}, {port: {number: 80}, hosts: ['*/*']}]}",
         "listed twice"},
        {"{workloadSelector: {labels: {}}, egress: [{hosts: ['*/*']}]}", "selects nothing"},
        {"{outboundTrafficPolicy: {mode: SOME}}", "mode"},
    };
    for (const Case& one : cases) {
        EXPECT_THAT(errors_of(sidecar(one.spec)), HasSubstr(one.says)) << one.spec;
    }
    EXPECT_EQ(errors_of(sidecar("{egress: [{hosts: ['./*', 'istio-system/*', '~/*']}]}")), "");
    EXPECT_EQ(errors_of(sidecar("{outboundTrafficPolicy: {}}")), "");
}

// --- compiled ---

class Mesh {
public:
    Mesh& file(const std::string& name, const std::string& text) {
        auto decoded = decode_text(text, {.file = name});
        for (const DecodedObject& object : decoded.objects) {
            EXPECT_NE(object.object, nullptr) << name << "\n" << errors_of(text);
        }
        store_.replace_source(name, std::move(decoded), ++clock_);
        return *this;
    }
    const model::Snapshot& build() {
        result_ =
            compiler_.compile(store_, {.node = "n1", .generation = ++generation_, .dns = &answers});
        return *result_.snapshot;
    }
    std::string findings() const {
        std::string out;
        for (const Finding& finding : result_.findings) {
            out += finding.to_string() + "\n";
        }
        return out;
    }
    const std::set<std::string>& names() const { return result_.dns_names; }
    DnsAnswers answers;

private:
    ObjectStore store_;
    Compiler compiler_;
    CompileResult result_;
    std::int64_t clock_ = 0;
    std::uint64_t generation_ = 0;
};

std::string pod(const std::string& name, const std::string& ip, const std::string& ns) {
    return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: " + ns +
           "\n  uid: uid-" + name + "\n  labels: {app: " + name +
           "}\nspec:\n  nodeName: n1\n  containers:\n  - name: c\nstatus:\n  phase: Running\n"
           "  podIP: " +
           ip + "\n---\n";
}

std::string service(const std::string& name,
                    const std::string& ip,
                    const std::string& ns,
                    const std::string& port = "name: http, port: 80, targetPort: 9090") {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + ns +
           "}\nspec:\n  clusterIP: " + ip + "\n  ports: [{" + port +
           "}]\n  selector: {app: " + name + "}\n---\n";
}

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}
SocketAddress at(const char* text) {
    return *SocketAddress::parse(text);
}

std::string addresses_of(const model::Destination* destination) {
    std::string out;
    for (const auto& endpoint : destination->endpoints) {
        out += endpoint.address.to_string() + " ";
    }
    return out;
}

TEST(ServiceEntry, static_endpoints_are_found_by_host_and_by_virtual_address) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: [api.example.com], addresses: [240.0.0.1, 240.1.0.0/16], resolution: "
                    "STATIC, endpoints: [{address: 192.0.2.1}, {address: 192.0.2.2, ports: {http: "
                    "8080}}], " +
                    http + "}"));
    const auto& snapshot = mesh.build();
    const auto* host = snapshot.find_virtual_host("default", "API.example.com:80", 80);
    ASSERT_NE(host, nullptr);
    const auto* to = host->routes.at(0).destinations.at(0).destination.get();
    EXPECT_EQ(to->cluster_name, "outbound|80||api.example.com");
    EXPECT_EQ(addresses_of(to), "192.0.2.1:80 192.0.2.2:8080 ");
    EXPECT_TRUE(to->service->external);
    for (const char* address : {"240.0.0.1:80", "240.1.2.3:80", "192.0.2.2:8080"}) {
        auto target = snapshot.resolve_outbound("default", at(address));
        ASSERT_NE(target.destination, nullptr) << address;
        EXPECT_EQ(addresses_of(target.destination), addresses_of(to)) << address;
        EXPECT_FALSE(target.by_port);
    }
    EXPECT_EQ(snapshot.resolve_outbound("default", at("240.1.2.3:81")).destination, nullptr);
}

TEST(ServiceEntry, names_are_looked_up_and_answers_become_endpoints) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: [api.example.com], resolution: DNS, " + http + "}", "one") +
                  entry("{hosts: [b.example.com], resolution: DNS, endpoints: [{address: "
                        "us.example.com}, {address: 192.0.2.9}], " +
                            http + "}",
                        "two"));
    const auto& before = mesh.build();
    EXPECT_EQ(mesh.names(), (std::set<std::string>{"api.example.com", "us.example.com"}));
    const auto* host = before.find_virtual_host("default", "api.example.com", 80);
    EXPECT_EQ(addresses_of(host->whole.get()), "");
    mesh.answers["api.example.com"] = {ip("192.0.2.1"), ip("2001:db8::1")};
    mesh.answers["us.example.com"] = {ip("192.0.2.7")};
    const auto& after = mesh.build();
    host = after.find_virtual_host("default", "api.example.com", 80);
    EXPECT_EQ(addresses_of(host->whole.get()), "192.0.2.1:80 [2001:db8::1]:80 ");
    host = after.find_virtual_host("default", "b.example.com", 80);
    EXPECT_EQ(addresses_of(host->whole.get()), "192.0.2.7:80 192.0.2.9:80 ");
}

std::string alias(const std::string& name, const std::string& target) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           "}\nspec: {type: ExternalName, externalName: " + target +
           ", ports: [{port: 80, name: http}]}\n---\n";
}

TEST(ExternalName, is_looked_up_and_answers_to_its_names_in_the_registry) {
    Mesh mesh;
    mesh.file(
        "a",
        alias("api", "api.example.com.") +
            routes("{hosts: [api], http: [{timeout: 2s, route: [{destination: {host: api}}]}]}"));
    mesh.build();
    EXPECT_EQ(mesh.names(), (std::set<std::string>{"api.example.com"}));
    mesh.answers["api.example.com"] = {ip("192.0.2.1")};
    const auto& snapshot = mesh.build();
    for (const char* name : {"api", "api.default", "api.default.svc.cluster.local"}) {
        const auto* host = snapshot.find_virtual_host("default", name, 80);
        ASSERT_NE(host, nullptr) << name;
        EXPECT_EQ(addresses_of(host->whole.get()), "192.0.2.1:80 ") << name;
        EXPECT_EQ(host->routes.at(0).timeout, std::chrono::seconds(2)) << name;
    }
    auto target = snapshot.resolve_outbound("default", *SocketAddress::parse("192.0.2.1:80"));
    ASSERT_NE(target.service, nullptr) << "whoever looked the alias up connects to that address";
    EXPECT_EQ(target.service->host, "api.default.svc.cluster.local");
}

TEST(ExternalName, of_a_service_of_the_mesh_has_its_endpoints) {
    Mesh mesh;
    mesh.file("a",
              "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"
              "spec: {clusterIP: 10.96.0.1, selector: {app: shop}, "
              "ports: [{port: 80, targetPort: 9090, name: http}]}\n---\n" +
                  pod("shop", "10.0.0.1", "default") +
                  alias("store", "shop.default.svc.cluster.local"));
    const auto& snapshot = mesh.build();
    EXPECT_TRUE(mesh.names().empty()) << "nobody asks DNS for it";
    const auto* host = snapshot.find_virtual_host("default", "store", 80);
    ASSERT_NE(host, nullptr);
    EXPECT_EQ(addresses_of(host->whole.get()), "10.0.0.1:9090 ");
    auto target = snapshot.resolve_outbound("default", *SocketAddress::parse("10.96.0.1:80"));
    EXPECT_EQ(target.service->host, "shop.default.svc.cluster.local");
}

TEST(ExternalName, that_cannot_be_followed_says_so) {
    EXPECT_THAT(errors_of("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                          "spec: {type: ExternalName}\n"),
                HasSubstr("spec.externalName: a Service of type ExternalName needs it"));
    EXPECT_THAT(errors_of(alias("a", "'http://b'")), HasSubstr("is no DNS name"));
    Mesh mesh;
    mesh.file("a",
              "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
              "spec: {type: ExternalName, externalName: b.example}\n");
    mesh.build();
    EXPECT_THAT(mesh.findings(), HasSubstr("[ORL036]"));
}

TEST(ServiceEntry, dns_round_robin_takes_one_address) {
    Mesh mesh;
    mesh.file("a", entry("{hosts: [a.example], resolution: DNS_ROUND_ROBIN, " + http + "}"));
    mesh.answers["a.example"] = {ip("192.0.2.1"), ip("192.0.2.2")};
    const auto* host = mesh.build().find_virtual_host("default", "a.example", 80);
    EXPECT_EQ(addresses_of(host->whole.get()), "192.0.2.1:80 ");
}

TEST(ServiceEntry, without_addresses_its_ports_say_what_is_spoken_there) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: ['*.example.com'], ports: [{number: 443, name: tls, protocol: TLS}, "
                    "{number: 80, name: http, protocol: HTTP}]}",
                    "wild") +
                  entry("{hosts: [db.example.com], resolution: STATIC, endpoints: [{address: "
                        "192.0.2.5}], " +
                            tcp + "}",
                        "db"));
    const auto& snapshot = mesh.build();
    auto tls = snapshot.resolve_outbound("default", at("203.0.113.1:443"));
    EXPECT_TRUE(tls.by_port);
    EXPECT_EQ(tls.port->protocol, model::Protocol::tls);
    EXPECT_EQ(tls.service, nullptr);
    auto db = snapshot.resolve_outbound("default", at("203.0.113.1:3306"));
    EXPECT_TRUE(db.by_port);
    ASSERT_NE(db.destination, nullptr);
    EXPECT_EQ(addresses_of(db.destination), "192.0.2.5:3306 ");
    const auto* host = snapshot.find_virtual_host("default", "www.example.com", 443);
    ASSERT_NE(host, nullptr);
    EXPECT_EQ(host->whole->service->resolution, model::Resolution::original);
    EXPECT_EQ(snapshot.find_virtual_host("default", "example.com", 443), nullptr);
    EXPECT_EQ(snapshot.resolve_outbound("default", at("203.0.113.1:25")).port, nullptr);
}

TEST(ServiceEntry, rules_and_subsets_by_endpoint_labels_apply) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: [a.example], resolution: STATIC, subjectAltNames: [san.example], "
                    "endpoints: [{address: 192.0.2.1, labels: {version: v1}}, {address: 192.0.2.2, "
                    "labels: {version: v2}}], " +
                    http + "}") +
                  head +
                  "kind: DestinationRule\nmetadata: {name: d, namespace: default}\nspec: {host: "
                  "a.example, subsets: [{name: v2, labels: {version: v2}}], trafficPolicy: "
                  "{connectionPool: {tcp: {maxConnections: 7}}}}\n---\n" +
                  routes("{hosts: [a.example], http: [{timeout: 3s, route: [{destination: {host: "
                         "a.example, subset: v2}}]}]}"));
    const auto* host = mesh.build().find_virtual_host("default", "a.example", 80);
    ASSERT_NE(host, nullptr);
    const auto& route = host->routes.at(0);
    EXPECT_EQ(route.timeout, std::chrono::seconds(3));
    const auto* to = route.destinations.at(0).destination.get();
    ASSERT_NE(to, nullptr) << mesh.findings();
    EXPECT_EQ(addresses_of(to), "192.0.2.2:80 ");
    EXPECT_EQ(to->policy.pool.max_connections, 7u);
}

TEST(ServiceEntry, a_selector_takes_pods_and_workload_entries_of_its_namespace) {
    Mesh mesh;
    mesh.file("a",
              pod("vm", "10.0.0.1", "default") + pod("vm2", "10.0.0.2", "default") +
                  entry("{hosts: [a.example], resolution: STATIC, location: MESH_INTERNAL, "
                        "workloadSelector: {labels: {app: vm}}, ports: [{number: 80, name: http, "
                        "protocol: HTTP, targetPort: 8080}]}") +
                  head +
                  "kind: WorkloadEntry\nmetadata: {name: w, namespace: default}\nspec: {address: "
                  "192.0.2.4, labels: {app: vm}, ports: {http: 9999}}\n");
    const auto* host = mesh.build().find_virtual_host("default", "a.example", 80);
    EXPECT_EQ(addresses_of(host->whole.get()), "10.0.0.1:8080 192.0.2.4:9999 ");
    EXPECT_EQ(host->whole->endpoints[0].workload->name, "vm");
}

TEST(ServiceEntry, export_to_hides_it_from_other_namespaces) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: [own.example], exportTo: ['.'], " + http + "}", "own") +
                  entry("{hosts: [none.example], exportTo: ['~'], " + http + "}", "none"));
    const auto& snapshot = mesh.build();
    EXPECT_NE(snapshot.find_virtual_host("default", "own.example", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("other", "own.example", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("default", "none.example", 80), nullptr);
}

TEST(ServiceEntry, the_older_of_two_for_one_host_is_in_force_and_this_is_reported) {
    Mesh mesh;
    mesh.file("a", entry("{hosts: [a.example], " + http + "}", "one"));
    mesh.file("b", entry("{hosts: [a.example], " + tcp + "}", "two"));
    EXPECT_NE(mesh.build().find_virtual_host("default", "a.example", 80), nullptr);
    EXPECT_THAT(mesh.findings(), HasSubstr("already defined by ServiceEntry default/one"));
}

// --- names of services (istio-semantics §1.2) ---

TEST(Hosts, a_service_answers_to_its_names_and_the_bare_one_only_at_home) {
    Mesh mesh;
    mesh.file("a", service("web", "10.96.0.1", "shop") + pod("web", "10.0.0.1", "shop"));
    const auto& snapshot = mesh.build();
    for (const char* name : {"web",
                             "web.shop",
                             "web.shop.svc",
                             "web.shop.svc.cluster.local",
                             "WEB.shop:80",
                             "10.96.0.1",
                             "web.shop.svc.cluster.local."}) {
        EXPECT_NE(snapshot.find_virtual_host("shop", name, 80), nullptr) << name;
    }
    EXPECT_EQ(snapshot.find_virtual_host("other", "web", 80), nullptr);
    EXPECT_NE(snapshot.find_virtual_host("other", "web.shop", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("shop", "web", 81), nullptr);
}

TEST(Hosts, a_headless_service_is_found_by_the_addresses_of_its_pods) {
    Mesh mesh;
    mesh.file("a",
              service("db", "None", "shop", "name: tcp-db, port: 5432, targetPort: 5432") +
                  pod("db", "10.0.0.1", "shop"));
    auto target = mesh.build().resolve_outbound("shop", at("10.0.0.1:5432"));
    ASSERT_NE(target.destination, nullptr);
    EXPECT_EQ(target.service->host, "db.shop.svc.cluster.local");
    EXPECT_EQ(addresses_of(target.destination), "10.0.0.1:5432 ");
}

TEST(Hosts, the_longest_wildcard_of_a_virtual_service_wins) {
    Mesh mesh;
    mesh.file("a",
              entry("{hosts: ['*.example.com'], " + http + "}") +
                  routes("{hosts: ['*.com'], http: [{name: short, directResponse: {status: 200}}]}",
                         "short") +
                  routes("{hosts: ['*.b.example.com'], http: [{name: long, directResponse: "
                         "{status: 200}}]}",
                         "long"));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(snapshot.find_virtual_host("x", "a.b.example.com", 80)->routes.at(0).name, "long");
    EXPECT_EQ(snapshot.find_virtual_host("x", "a.example.com", 80)->routes.at(0).name, "short");
    EXPECT_EQ(snapshot.find_virtual_host("x", "other.com", 80)->routes.at(0).name, "short");
}

// --- Sidecar ---

const std::string two_services = service("web", "10.96.0.1", "shop") +
                                 service("pay", "10.96.0.2", "bank") +
                                 pod("web", "10.0.0.1", "shop") + pod("pay", "10.0.0.2", "bank") +
                                 pod("client", "10.0.0.9", "default");

TEST(Sidecar, a_namespace_sees_only_what_its_egress_lists) {
    Mesh mesh;
    mesh.file("a", two_services);
    mesh.file("b", sidecar("{egress: [{hosts: ['shop/*']}]}"));
    const auto& snapshot = mesh.build();
    EXPECT_NE(snapshot.find_virtual_host("default", "web.shop", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("default", "pay.bank", 80), nullptr);
    EXPECT_EQ(snapshot.resolve_outbound("default", at("10.96.0.2:80")).destination, nullptr);
    EXPECT_NE(snapshot.find_virtual_host("bank", "pay.bank", 80), nullptr);
    EXPECT_EQ(snapshot.outbound_policy("default"), model::OutboundPolicy::allow_any);
}

TEST(Sidecar, one_that_selects_beats_that_of_the_namespace_which_beats_the_root) {
    Mesh mesh;
    mesh.file("a", two_services);
    mesh.file("b",
              sidecar("{egress: [{hosts: ['shop/*']}]}", "ns") +
                  sidecar("{workloadSelector: {labels: {app: client}}, egress: [{hosts: "
                          "['bank/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
                          "own") +
                  head +
                  "kind: Sidecar\nmetadata: {name: root, namespace: istio-system}\nspec: "
                  "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n");
    const auto& snapshot = mesh.build();
    const auto* client = snapshot.find_workload_uid("uid-client");
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(client->scope(), "default/own");
    EXPECT_NE(snapshot.find_virtual_host(client->scope(), "pay.bank", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host(client->scope(), "web.shop", 80), nullptr);
    EXPECT_EQ(snapshot.outbound_policy(client->scope()), model::OutboundPolicy::registry_only);
    EXPECT_NE(snapshot.find_virtual_host("default", "web.shop", 80), nullptr);
    EXPECT_EQ(snapshot.outbound_policy("default"), model::OutboundPolicy::allow_any);
    EXPECT_EQ(snapshot.outbound_policy("shop"), model::OutboundPolicy::registry_only);
    EXPECT_NE(snapshot.find_virtual_host("shop", "pay.bank", 80), nullptr);
}

TEST(Sidecar, an_egress_listener_with_a_port_speaks_for_that_port) {
    Mesh mesh;
    mesh.file("a", two_services);
    mesh.file("b",
              sidecar("{egress: [{port: {number: 80, name: h, protocol: HTTP}, hosts: "
                      "['*/web.shop.svc.cluster.local']}, {hosts: ['*/*']}]}"));
    const auto& snapshot = mesh.build();
    EXPECT_NE(snapshot.find_virtual_host("default", "web.shop", 80), nullptr);
    EXPECT_EQ(snapshot.find_virtual_host("default", "pay.bank", 80), nullptr);
}

TEST(Sidecar, tilde_shows_nothing_and_two_for_one_namespace_are_reported) {
    Mesh mesh;
    mesh.file("a", two_services);
    mesh.file("b", sidecar("{egress: [{hosts: ['~/*']}]}", "one"));
    mesh.file("c", sidecar("{egress: [{hosts: ['*/*']}]}", "two"));
    EXPECT_EQ(mesh.build().find_virtual_host("default", "web.shop", 80), nullptr);
    EXPECT_THAT(mesh.findings(), HasSubstr("already has Sidecar default/one"));
}

// --- tls and tcp routes ---

TEST(StreamRoutes, are_lowered_for_the_ports_they_concern) {
    Mesh mesh;
    mesh.file("a",
              service("db", "10.96.0.3", "default", "name: tcp-db, port: 5432, targetPort: 5432") +
                  service("dc", "10.96.0.4", "default", "name: tcp, port: 5432, targetPort: 1") +
                  pod("db", "10.0.0.3", "default") +
                  routes("{hosts: [db], tcp: [{match: [{port: 5432, sourceLabels: {app: c}}, "
                         "{port: 99}], route: [{destination: {host: dc}, weight: 100}]}]}"));
    const auto& snapshot = mesh.build();
    auto target = snapshot.resolve_outbound("default", at("10.96.0.3:5432"));
    ASSERT_NE(target.virtual_host, nullptr);
    ASSERT_EQ(target.virtual_host->tcp.size(), 1u);
    const model::StreamRoute& route = target.virtual_host->tcp[0];
    EXPECT_EQ(route.matches.at(0).source_labels.at("app"), "c");
    EXPECT_EQ(route.choice.destinations.at(0).destination->cluster_name,
              "outbound|5432||dc.default.svc.cluster.local");
    EXPECT_EQ(target.virtual_host->whole->cluster_name,
              "outbound|5432||db.default.svc.cluster.local");
}

TEST(StreamRoutes, of_a_gateway_do_not_concern_the_mesh) {
    Mesh mesh;
    mesh.file("a",
              service("db", "10.96.0.3", "default", "name: tcp-db, port: 5432") +
                  routes("{hosts: [db], gateways: [g], tcp: [{route: [{destination: {host: "
                         "db}}]}, {match: [{gateways: [mesh]}], route: [{destination: {host: "
                         "nobody}}]}]}"));
    auto target = mesh.build().resolve_outbound("default", at("10.96.0.3:5432"));
    ASSERT_EQ(target.virtual_host->tcp.size(), 1u);
    EXPECT_EQ(target.virtual_host->tcp[0].choice.destinations.at(0).destination, nullptr);
    EXPECT_THAT(mesh.findings(), HasSubstr("nobody"));
}

TEST(StreamRoutes, the_newer_object_is_asked_first_or_the_oldest_alone) {
    auto one = routes("{hosts: [db], tcp: [{route: [{destination: {host: db}}]}]}", "one");
    auto two = routes("{hosts: [db], tcp: [{route: [{destination: {host: dc}}]}]}", "two");
    auto services = service("db", "10.96.0.3", "default", "name: tcp-db, port: 5432") +
                    service("dc", "10.96.0.4", "default", "name: tcp-db, port: 5432");
    for (bool oldest : {false, true}) {
        Mesh mesh;
        mesh.file("s", services).file("one", one).file("two", two);
        mesh.file("m",
                  std::string("apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: "
                              "mesh}\nspec: {conflictResolution: ") +
                      (oldest ? "oldest" : "overlay") + "}\n");
        auto target = mesh.build().resolve_outbound("default", at("10.96.0.3:5432"));
        ASSERT_EQ(target.virtual_host->tcp.size(), oldest ? 1u : 2u);
        EXPECT_EQ(target.virtual_host->tcp[0].choice.source->name, oldest ? "one" : "two");
    }
}

}  // namespace
}  // namespace orlop::control
