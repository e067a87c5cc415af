// Gateways and DestinationRule tls as they are compiled.
#include "daemon/control/compile.h"
#include "daemon/control/compile/gateways.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "mtls/ca.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <unistd.h>

namespace orlop::control {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class Mesh {
public:
    Mesh& file(const std::string& name, const std::string& text) {
        store_.replace_source(name, decode_text(text, {.file = name}), ++clock_);
        for (const StoredObject* object : store_.objects()) {
            EXPECT_EQ(object->state, ObjectState::accepted) << object->key.to_string();
        }
        return *this;
    }
    const model::Snapshot& build() {
        result_ = compiler_.compile(store_, {.node = "n1", .generation = ++generation_});
        return *result_.snapshot;
    }
    std::vector<std::string> codes() const {
        std::vector<std::string> out;
        for (const Finding& finding : result_.findings) {
            out.push_back(finding.code);
        }
        return out;
    }
    const Findings& findings() const { return result_.findings; }
    bool files_changed() const { return compiler_.files_changed(); }

private:
    ObjectStore store_;
    Compiler compiler_;
    CompileResult result_;
    std::int64_t clock_ = 0;
    std::uint64_t generation_ = 0;
};

std::string service(const std::string& name, const std::string& ip) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           ", namespace: default}\nspec:\n  clusterIP: " + ip +
           "\n  ports: [{port: 80, targetPort: 8080, name: http}]\n  selector: {app: " + name +
           "}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name +
           "-1, namespace: default, uid: uid-" + name + ", labels: {app: " + name +
           "}}\nspec: {nodeName: n1, containers: [{name: c}]}\nstatus: {phase: Running, podIP: " +
           ip.substr(0, 3) + "1." + ip.substr(6) + "}\n---\n";
}
const std::string shop = service("frontend", "10.96.0.1") + service("admin", "10.96.0.2");

std::string
gateway(const std::string& name, const std::string& servers, const std::string& ns = "default") {
    return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: " + name +
           ", namespace: " + ns + "}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n" +
           servers + "---\n";
}
std::string http_server(const std::string& hosts, int port = 80, const std::string& rest = "") {
    return "  - port: {number: " + std::to_string(port) + ", name: http-" + std::to_string(port) +
           ", protocol: HTTP}\n    hosts: [" + hosts + "]\n" + rest;
}
std::string tls_server(const std::string& hosts, const std::string& tls, int port = 443) {
    return "  - port: {number: " + std::to_string(port) + ", name: https-" + std::to_string(port) +
           ", protocol: HTTPS}\n    hosts: [" + hosts + "]\n    tls: {" + tls + "}\n";
}
std::string virtual_service(const std::string& name,
                            const std::string& hosts,
                            const std::string& gateways,
                            const std::string& rest,
                            const std::string& ns = "default") {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name +
           ", namespace: " + ns + "}\nspec:\n  hosts: [" + hosts + "]\n  gateways: [" + gateways +
           "]\n" + rest + "---\n";
}
std::string to(const std::string& host) {
    return "  http:\n  - route: [{destination: {host: " + host +
           ".default.svc.cluster.local, port: {number: 80}}}]\n";
}

SocketAddress at(int port) {
    return *SocketAddress::parse("0.0.0.0:" + std::to_string(port));
}

// "cluster" of the first route of the host, or why there is none.
std::string leads_to(const model::Snapshot& snapshot,
                     int port,
                     const std::string& authority,
                     const std::string& sni = "") {
    const auto* listener = snapshot.find_gateway(at(port));
    const auto* server = listener == nullptr ? nullptr : listener->find_server(sni);
    const auto* host = server == nullptr ? nullptr : server->hosts.find(authority);
    if (host == nullptr) {
        return listener == nullptr ? "no listener" : server == nullptr ? "no server" : "no host";
    }
    const auto& route = host->routes.at(0);
    if (route.redirect) {
        return "redirect to " + route.redirect->scheme;
    }
    const auto& destination = route.destinations.at(0).destination;
    return destination ? destination->cluster_name : "nowhere";
}
constexpr const char* frontend = "outbound|80||frontend.default.svc.cluster.local";
constexpr const char* admin = "outbound|80||admin.default.svc.cluster.local";

TEST(Gateways, serve_the_virtual_services_that_name_them) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    EXPECT_THAT(mesh.build().gateways(), IsEmpty());
    EXPECT_EQ(mesh.build().gateway_workload(), nullptr);
    mesh.file("gw.yaml",
              gateway("web", http_server("'*'")) +
                  virtual_service("all", "'*'", "web", to("frontend")) +
                  virtual_service("admin", "admin.example.com", "default/web", to("admin")) +
                  virtual_service(
                      "old", "old.example.com", "web.default.svc.cluster.local", to("admin")) +
                  virtual_service("other", "other.example.com", "elsewhere/web", to("admin")) +
                  virtual_service("mesh-only", "inner.example.com", "mesh", to("admin")));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(leads_to(snapshot, 80, "any.example.org:80"), frontend);
    EXPECT_EQ(leads_to(snapshot, 80, "ADMIN.example.com"), admin);
    EXPECT_EQ(leads_to(snapshot, 80, "old.example.com"), admin);
    EXPECT_EQ(leads_to(snapshot, 80, "other.example.com"), frontend);
    EXPECT_EQ(leads_to(snapshot, 80, "inner.example.com"), frontend);
    EXPECT_THAT(
        mesh.findings(),
        Contains(Field(&Finding::message, HasSubstr("Gateway elsewhere/web does not exist"))));
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::hint, HasSubstr("write default/web"))));
    ASSERT_NE(snapshot.gateway_workload(), nullptr);
    EXPECT_EQ(snapshot.gateway_workload()->workload_name, "istio-ingressgateway");
    EXPECT_EQ(snapshot.gateway_workload()->identity.to_string(),
              "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account");
    EXPECT_EQ(snapshot.share_workload(snapshot.gateway_workload()->uid),
              snapshot.gateway_workload());
}

TEST(Gateways, do_not_apply_routes_of_the_mesh_and_the_other_way_round) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("web", http_server("'*'")) +
                  virtual_service("only-gateway", "frontend", "web", to("admin")));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(leads_to(snapshot, 80, "frontend.default.svc.cluster.local"), admin);
    const auto* inner = snapshot.find_virtual_host("default", "frontend", 80);
    ASSERT_NE(inner, nullptr);
    EXPECT_EQ(inner->routes.at(0).destinations.at(0).destination->cluster_name, frontend);
}

TEST(Gateways, take_matches_that_are_meant_for_them) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("web", http_server("'*'")) +
                  virtual_service("both",
                                  "shop.example.com",
                                  "web, mesh",
                                  "  http:\n"
                                  "  - match: [{uri: {prefix: /in}, gateways: [mesh]}]\n"
                                  "    route: [{destination: {host: admin}}]\n"
                                  "  - match: [{uri: {prefix: /out}, gateways: [web]}]\n"
                                  "    route: [{destination: {host: frontend}}]\n"));
    const auto& snapshot = mesh.build();
    const auto* host =
        snapshot.find_gateway(at(80))->find_server("")->hosts.find("shop.example.com");
    ASSERT_NE(host, nullptr);
    ASSERT_EQ(host->routes.size(), 1u);
    EXPECT_EQ(host->routes[0].matches.at(0).uri->text, "/out");
}

TEST(Gateways, meet_hosts_of_servers_and_virtual_services) {
    struct Case {
        const char* served;
        const char* wanted;
        const char* authority;
        bool reached;
    };
    const Case cases[] = {
        {"'*'", "a.example.com", "a.example.com", true},
        {"'*.example.com'", "a.example.com", "a.example.com", true},
        {"a.example.com", "'*.example.com'", "a.example.com", true},
        {"a.example.com", "'*.example.com'", "b.example.com", false},
        {"a.example.com", "'*'", "a.example.com", true},
        {"a.example.com", "'*'", "b.example.com", false},
        {"'*.org'", "a.example.com", "a.example.com", false},
        {"default/a.example.com", "a.example.com", "a.example.com", true},
        {"./a.example.com", "a.example.com", "a.example.com", true},
        {"prod/a.example.com", "a.example.com", "a.example.com", false},
    };
    for (const Case& c : cases) {
        Mesh mesh;
        mesh.file("shop.yaml", shop);
        mesh.file("gw.yaml",
                  gateway("web", http_server(c.served)) +
                      virtual_service("a", c.wanted, "web", to("frontend")));
        EXPECT_EQ(leads_to(mesh.build(), 80, c.authority), c.reached ? frontend : "no host")
            << c.served << " " << c.wanted;
    }
}

TEST(Gateways, see_only_what_is_exported_to_them) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file(
        "gw.yaml",
        gateway("web", http_server("'*'")) +
            virtual_service("a", "a.com", "web", "  exportTo: ['.']\n" + to("frontend")) +
            virtual_service("b", "b.com", "web", "  exportTo: [istio-system]\n" + to("frontend")));
    EXPECT_EQ(leads_to(mesh.build(), 80, "a.com"), "no host");
    EXPECT_EQ(leads_to(mesh.build(), 80, "b.com"), frontend);
}

TEST(Gateways, share_a_port) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("one", http_server("a.com")) + gateway("two", http_server("b.com")) +
                  virtual_service("a", "a.com", "one", to("frontend")) +
                  virtual_service("b", "b.com", "two", to("admin")) +
                  virtual_service("c", "a.com", "two", to("admin")));
    EXPECT_EQ(leads_to(mesh.build(), 80, "a.com"), frontend);
    EXPECT_EQ(leads_to(mesh.build(), 80, "b.com"), admin);
    EXPECT_EQ(mesh.build().gateways().size(), 2u);  // IPv4 and IPv6
}

TEST(Gateways, join_routes_of_one_host_in_the_meshs_own_or_istios_way) {
    const std::string broad = virtual_service("broad", "a.com", "web", to("frontend"));
    const std::string narrow = virtual_service("narrow",
                                               "a.com",
                                               "web",
                                               "  http:\n  - match: [{uri: {prefix: /admin}}]\n"
                                               "    route: [{destination: {host: admin}}]\n");
    for (const char* way : {"overlay", "oldest"}) {
        Mesh mesh;
        mesh.file("mesh.yaml",
                  "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\nspec: "
                  "{conflictResolution: " +
                      std::string(way) + "}\n");
        mesh.file("shop.yaml", shop).file("gw.yaml", gateway("web", http_server("'*'")));
        mesh.file("broad.yaml", broad).file("narrow.yaml", narrow);
        const auto& snapshot = mesh.build();
        const auto* host = snapshot.find_gateway(at(80))->find_server("")->hosts.find("a.com");
        ASSERT_NE(host, nullptr) << way;
        ASSERT_EQ(host->routes.size(), 2u) << way;
        EXPECT_EQ(host->routes[0].destinations[0].destination->cluster_name, admin) << way;
        EXPECT_EQ(host->routes[1].destinations[0].destination->cluster_name, frontend) << way;
    }
}

TEST(Gateways, send_plain_callers_to_https) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("web", http_server("'*.com'", 80, "    tls: {httpsRedirect: true}\n")) +
                  virtual_service("a", "a.com", "web", to("frontend")));
    EXPECT_EQ(leads_to(mesh.build(), 80, "a.com"), "redirect to https");
    EXPECT_EQ(leads_to(mesh.build(), 80, "b.com"), "redirect to https");
    EXPECT_EQ(leads_to(mesh.build(), 80, "b.org"), "no host");
}

TEST(Gateways, listen_where_they_are_told_to) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml", gateway("web", http_server("'*'", 80, "    bind: 127.0.0.1\n")));
    ASSERT_EQ(mesh.build().gateways().size(), 1u);
    EXPECT_EQ(mesh.build().gateways()[0]->address.to_string(), "127.0.0.1:80");
    mesh.file("mesh.yaml",
              "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
              "spec: {gateway: {addresses: [192.0.2.1], nodes: [n1]}}\n");
    mesh.file("gw.yaml", gateway("web", http_server("'*'")));
    ASSERT_EQ(mesh.build().gateways().size(), 1u);
    EXPECT_EQ(mesh.build().gateways()[0]->address.to_string(), "192.0.2.1:80");
    mesh.file("mesh.yaml",
              "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
              "spec: {gateway: {nodes: [n2]}}\n");
    EXPECT_THAT(mesh.build().gateways(), IsEmpty());
    mesh.file("mesh.yaml",
              "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: m}\n"
              "spec: {gateway: {labels: {istio: edge}}}\n");
    EXPECT_THAT(mesh.build().gateways(), IsEmpty());
    EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::path, "spec.selector")));
}

TEST(Gateways, report_servers_that_cannot_share_a_port) {
    Mesh mesh;
    mesh.file("gw.yaml",
              gateway("one", http_server("'*'", 443)) +
                  gateway("two", tls_server("a.com", "mode: PASSTHROUGH")) +
                  gateway("three",
                          "  - port: {number: 443, name: tcp, protocol: TCP}\n    hosts: ['*']\n"));
    EXPECT_EQ(leads_to(mesh.build(), 443, "a.com"), "no host");
    EXPECT_EQ(std::ranges::count(mesh.codes(), "ORL030"), 2);
}

// --- TLS ---

class GatewayTls : public ::testing::Test {
protected:
    std::string secret(const std::string& name, const std::string& ns = "istio-system") const {
        return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: " + ns +
               "}\nstringData:\n  tls.crt: |\n" + indented(svid_.chain_pem()) + "  tls.key: |\n" +
               indented(svid_.key_pem()) + "---\n";
    }
    std::string roots(const std::string& name, const std::string& ns = "istio-system") const {
        return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: " + ns +
               "}\nstringData:\n  ca.crt: |\n" + indented(ca_.roots_pem()) + "---\n";
    }
    static std::string indented(const std::string& text) {
        std::string out = "    ";
        for (char c : text) {
            out += c;
            out += c == '\n' ? "    " : "";
        }
        return out + "\n";
    }
    const model::GatewayServer& server(const model::Snapshot& snapshot) {
        const auto* found = snapshot.find_gateway(at(443))->find_server("a.com");
        EXPECT_NE(found, nullptr);
        return *found;
    }

    WallTime now_ = std::chrono::system_clock::now();
    mtls::CertificateAuthority ca_ =
        mtls::CertificateAuthority::create_in_memory("cluster.local", now_).value();
    mtls::Svid svid_ =
        ca_.issue({"cluster.local", "default", "site"}, std::chrono::hours(1), now_).value();
};

TEST_F(GatewayTls, has_the_credentials_of_its_secret) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("web",
                      tls_server("a.com",
                                 "mode: SIMPLE, credentialName: web, "
                                 "minProtocolVersion: TLSV1_3")) +
                  virtual_service("a", "a.com", "web", to("frontend")));
    const auto& without = mesh.build();
    EXPECT_THAT(server(without).broken, HasSubstr("Secret istio-system/web does not exist"));
    EXPECT_THAT(mesh.codes(), Contains("ORL031"));
    mesh.file("secret.yaml", secret("web"));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(server(snapshot).broken, "");
    ASSERT_NE(server(snapshot).tls, nullptr);
    EXPECT_EQ(server(snapshot).tls->peer, TlsPeer::unchecked);
    EXPECT_EQ(server(snapshot).tls->version_min, TlsVersion::tls1_3);
    EXPECT_EQ(leads_to(snapshot, 443, "a.com", "a.com"), frontend);
    EXPECT_EQ(leads_to(snapshot, 443, "a.com", "b.com"), "no server");
    ASSERT_EQ(snapshot.tls_terms().size(), 1u);
    for (const Finding& finding : mesh.findings()) {
        EXPECT_THAT(finding.to_string(), Not(HasSubstr("PRIVATE KEY")));
    }
}

TEST_F(GatewayTls, wants_roots_to_judge_clients) {
    Mesh mesh;
    mesh.file("gw.yaml", gateway("web", tls_server("a.com", "mode: MUTUAL, credentialName: web")));
    mesh.file("secret.yaml", secret("web"));
    EXPECT_THAT(server(mesh.build()).broken, HasSubstr("web-cacert has ca.crt"));
    mesh.file("roots.yaml", roots("web-cacert"));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(server(snapshot).broken, "");
    EXPECT_EQ(server(snapshot).tls->peer, TlsPeer::required);
}

TEST_F(GatewayTls, of_the_mesh_shows_the_gateways_identity) {
    Mesh mesh;
    mesh.file("gw.yaml", gateway("web", tls_server("a.com", "mode: ISTIO_MUTUAL")));
    const auto& snapshot = mesh.build();
    ASSERT_TRUE(server(snapshot).tls->mesh_identity);
    EXPECT_EQ(server(snapshot).tls->mesh_identity->service_account,
              "istio-ingressgateway-service-account");
    EXPECT_EQ(server(snapshot).tls->certificates, "");
}

TEST_F(GatewayTls, first_server_of_a_name_wins) {
    Mesh mesh;
    mesh.file("secret.yaml", secret("one") + secret("two"));
    mesh.file("gw.yaml",
              gateway("one", tls_server("a.com", "mode: SIMPLE, credentialName: one")) +
                  gateway("two", tls_server("'a.com', b.com", "mode: PASSTHROUGH")));
    const auto& snapshot = mesh.build();
    EXPECT_EQ(server(snapshot).name, "default/one https-443");
    EXPECT_EQ(snapshot.find_gateway(at(443))->find_server("b.com")->name, "default/two https-443");
    EXPECT_THAT(mesh.codes(), Contains("ORL030"));
}

TEST_F(GatewayTls, passes_through_by_the_tls_routes) {
    Mesh mesh;
    mesh.file("shop.yaml", shop);
    mesh.file("gw.yaml",
              gateway("web", tls_server("'*.com'", "mode: PASSTHROUGH")) +
                  virtual_service("a",
                                  "a.com, b.com, c.org",
                                  "web",
                                  "  tls:\n"
                                  "  - match: [{port: 443, sniHosts: [a.com]}]\n"
                                  "    route: [{destination: {host: frontend}}]\n"
                                  "  - match: [{port: 444, sniHosts: [b.com]}]\n"
                                  "    route: [{destination: {host: frontend}}]\n"
                                  "  - match: [{sniHosts: [b.com, c.org]}]\n"
                                  "    route: [{destination: {host: admin}}]\n"));
    const auto& passing = server(mesh.build());
    EXPECT_EQ(passing.service, model::GatewayService::bytes);
    EXPECT_EQ(passing.tls, nullptr);
    auto goes = [&](const char* sni) {
        const auto* route = passing.find_route(sni);
        return route == nullptr ? std::string("nowhere")
                                : route->choice.destinations.at(0).destination->cluster_name;
    };
    EXPECT_EQ(goes("a.com"), frontend);
    EXPECT_EQ(goes("b.com"), admin);
    EXPECT_EQ(goes("c.org"), "nowhere");
}

TEST_F(GatewayTls, reads_files_and_notices_new_ones) {
    std::string pattern = ::testing::TempDir() + "orlop-tls-XXXXXX";
    const std::string directory = ::mkdtemp(pattern.data());
    auto write = [&](const std::string& name, const std::string& text) {
        std::ofstream(directory + "/" + name) << text;
    };
    write("cert.pem", svid_.chain_pem());
    Mesh mesh;
    mesh.file("gw.yaml",
              gateway("web",
                      tls_server("a.com",
                                 "mode: SIMPLE, serverCertificate: " + directory +
                                     "/cert.pem, privateKey: " + directory + "/key.pem")));
    EXPECT_THAT(server(mesh.build()).broken, HasSubstr("cannot read " + directory + "/key.pem"));
    EXPECT_FALSE(mesh.files_changed());
    write("key.pem", svid_.key_pem());
    EXPECT_TRUE(mesh.files_changed());
    const auto& snapshot = mesh.build();
    EXPECT_EQ(server(snapshot).broken, "");
    EXPECT_THAT(mesh.codes(), Contains("ORL032"));  // the umask lets others read
    std::string before = server(snapshot).tls->key;
    auto newer =
        ca_.issue({"cluster.local", "default", "site"}, std::chrono::hours(2), now_).value();
    write("cert.pem", newer.chain_pem());
    write("key.pem", newer.key_pem());
    EXPECT_TRUE(mesh.files_changed());
    EXPECT_NE(server(mesh.build()).tls->key, before);
    for (const char* name : {"cert.pem", "key.pem"}) {
        ::unlink((directory + "/" + name).c_str());
    }
    ::rmdir(directory.c_str());
}

// --- DestinationRule tls ---

std::string rule(const std::string& tls) {
    return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, "
           "namespace: default}\nspec:\n  host: frontend\n  trafficPolicy:\n    tls: {" +
           tls + "}\n---\n";
}

const model::Destination& frontend_of(const model::Snapshot& snapshot) {
    return *snapshot.find_virtual_host("default", "frontend", 80)
                ->routes.at(0)
                .destinations.at(0)
                .destination;
}

TEST_F(GatewayTls, callers_originate_it_as_the_rule_says) {
    struct Case {
        std::string tls;
        const char* server_name;
        std::vector<std::string> names;
        TlsPeer peer;
    };
    const std::string host = "frontend.default.svc.cluster.local";
    const Case cases[] = {
        {"mode: SIMPLE", host.c_str(), {host}, TlsPeer::required},
        {"mode: SIMPLE, sni: a.com", "a.com", {"a.com"}, TlsPeer::required},
        {"mode: SIMPLE, sni: a.com, subjectAltNames: [b.com, c.com]",
         "a.com",
         {"b.com", "c.com"},
         TlsPeer::required},
        {"mode: SIMPLE, insecureSkipVerify: true", host.c_str(), {}, TlsPeer::unchecked},
        {"mode: MUTUAL, credentialName: site", host.c_str(), {host}, TlsPeer::required},
    };
    std::set<std::uint64_t> keys;
    for (const Case& c : cases) {
        Mesh mesh;
        mesh.file("shop.yaml", shop + secret("site", "default") + roots("site-cacert", "default"));
        mesh.file("rule.yaml", rule(c.tls));
        const auto& destination = frontend_of(mesh.build());
        EXPECT_EQ(destination.broken, "") << c.tls;
        ASSERT_NE(destination.tls, nullptr) << c.tls;
        EXPECT_EQ(destination.tls->server_name, c.server_name) << c.tls;
        EXPECT_EQ(destination.tls->peer_names, c.names) << c.tls;
        EXPECT_EQ(destination.tls->peer, c.peer) << c.tls;
        EXPECT_EQ(destination.tls->alpn, std::vector<std::string>{"http/1.1"}) << c.tls;
        keys.insert(destination.key);
    }
    EXPECT_EQ(keys.size(), std::size(cases)) << "other TLS must not share connections";
}

TEST_F(GatewayTls, callers_do_not_originate_for_the_meshs_own_modes) {
    for (const char* tls : {"mode: DISABLE", "mode: ISTIO_MUTUAL"}) {
        Mesh mesh;
        mesh.file("shop.yaml", shop).file("rule.yaml", rule(tls));
        EXPECT_EQ(frontend_of(mesh.build()).tls, nullptr) << tls;
        EXPECT_EQ(frontend_of(mesh.build()).broken, "") << tls;
    }
}

TEST_F(GatewayTls, a_rule_that_cannot_work_is_reported_and_breaks_its_destination) {
    struct Case {
        const char* tls;
        const char* says;
    };
    const Case cases[] = {
        {"mode: SIMPLE, caCertificates: /nowhere/ca.pem", "cannot read /nowhere/ca.pem"},
        {"mode: MUTUAL, credentialName: missing", "Secret default/missing does not exist"},
        {"mode: MUTUAL, clientCertificate: /nowhere/c.pem, privateKey: /nowhere/k.pem",
         "cannot read /nowhere/c.pem"},
    };
    for (const Case& c : cases) {
        Mesh mesh;
        mesh.file("shop.yaml", shop).file("rule.yaml", rule(c.tls));
        const auto& destination = frontend_of(mesh.build());
        EXPECT_EQ(destination.tls, nullptr);
        EXPECT_THAT(destination.broken, HasSubstr(c.says));
        EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::message, HasSubstr(c.says))));
        EXPECT_THAT(mesh.findings(), Contains(Field(&Finding::path, "spec.trafficPolicy.tls")));
    }
}

TEST(GatewayKey, understands_every_way_to_write_it) {
    EXPECT_EQ(gateway_key("web", "shop"), "shop/web");
    EXPECT_EQ(gateway_key("./web", "shop"), "shop/web");
    EXPECT_EQ(gateway_key("edge/web", "shop"), "edge/web");
    EXPECT_EQ(gateway_key("web.edge", "shop"), "edge/web");
    EXPECT_EQ(gateway_key("web.edge.svc.cluster.local", "shop"), "edge/web");
    EXPECT_EQ(gateway_key("mesh", "shop"), "mesh");
}

}  // namespace
}  // namespace orlop::control
