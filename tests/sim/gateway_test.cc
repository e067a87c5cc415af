// A gateway on the fake ring, and callers that originate TLS: the caller's TLS ends at the gateway,
// which is itself an endpoint of the service that the caller names.
#include "tests/sim/http2_peer.h"

#include <gmock/gmock.h>

namespace orlop::sim {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t seeds = 40;

std::string indented(const std::string& text) {
    std::string out = "    ";
    for (char c : text) {
        out += c;
        out += c == '\n' ? "    " : "";
    }
    return out + "\n";
}

std::string gateway(const std::string& servers) {
    return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n"
           "  selector: {istio: ingressgateway}\n  servers:\n" +
           servers;
}

constexpr const char* plain_server =
    "  - port: {number: 9090, name: http, protocol: HTTP}\n    hosts: ['*']\n";
constexpr const char* tls_server =
    "  - port: {number: 9090, name: https, protocol: HTTPS}\n    hosts: ['*']\n"
    "    tls: {mode: SIMPLE, credentialName: edge}\n";
constexpr const char* to_shop = R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to-shop}
spec:
  hosts: ['*']
  gateways: [web]
  http: [{route: [{destination: {host: shop}}], retries: {attempts: 0}}]
)";

// Service `edge` at 10.96.0.2 is the gateway of n1, service `shop` the application behind it.
class Edge {
public:
    explicit Edge(FakeOptions options = {})
        : world(options),
          app(world, "10.0.0.1:9090", [](const Request&, std::size_t) { return Reply{}; }) {
        world.service("shop", 1);
        world.pod("shop-1", "10.0.0.1", "shop");
        world.service("edge", 2);
        world.pod("edge-1", "10.0.0.2", "edge");
        world.apply("to-shop.yaml", to_shop);
    }
    void open(const std::string& servers) {
        world.apply("gateway.yaml", gateway(servers));
        proxy::ProxyCore& core = *world.node(0).core;
        core.add_pod("gateway/n1", std::make_shared<Network>());
        core.open_gateway("gateway/n1",
                          *SocketAddress::parse("0.0.0.0:9090"),
                          UniqueFd(world.network.listen(*SocketAddress::parse("10.0.0.2:9090"))));
        hand_out_contexts();
    }
    void open_with_tls(const std::string& rule) {
        auto now = std::chrono::system_clock::now();
        auto ca = mtls::CertificateAuthority::create_in_memory("cluster.local", now).value();
        auto svid = ca.issue({"cluster.local", "default", "edge"}, mtls::svid_ttl_default, now);
        auto secret = [](const std::string& name, const std::string& ns) {
            return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: " + ns +
                   "}\nstringData:\n";
        };
        world.apply("edge.yaml",
                    secret("edge", "istio-system") + "  tls.crt: |\n" +
                        indented(svid->chain_pem()) + "  tls.key: |\n" + indented(svid->key_pem()));
        world.apply("roots.yaml",
                    secret("edge-cacert", "default") + "  ca.crt: |\n" + indented(ca.roots_pem()));
        world.apply("rule.yaml",
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                    "metadata: {name: edge}\nspec:\n  host: edge\n  trafficPolicy:\n"
                    "    tls: {" +
                        rule + "}\n");
        open(tls_server);
    }
    void hand_out_contexts() {
        proxy::ProxyCore& core = *world.node(0).core;
        for (const TlsTermsPtr& terms : core.pinned()->snapshot->tls_terms()) {
            TlsTerms filled = *terms;
            if (terms->mesh_identity && ca) {
                auto svid = ca->issue(*terms->mesh_identity,
                                      mtls::svid_ttl_default,
                                      std::chrono::system_clock::now());
                filled.certificates = svid->chain_pem();
                filled.private_key = svid->key_pem();
                filled.roots = ca->roots_pem();
            }
            auto made = net::make_tls(std::make_shared<const TlsTerms>(std::move(filled)));
            core.set_tls(terms->key, made.value());
        }
    }
    // The gateway's TLS is ISTIO_MUTUAL, and its caller shows a certificate of the mesh.
    void open_with_mesh_tls(const SpiffeId& caller) {
        auto now = std::chrono::system_clock::now();
        ca.emplace(mtls::CertificateAuthority::create_in_memory("cluster.local", now).value());
        auto svid = ca->issue(caller, mtls::svid_ttl_default, now);
        world.apply("caller.yaml",
                    "apiVersion: v1\nkind: Secret\nmetadata: {name: caller}\nstringData:\n"
                    "  tls.crt: |\n" +
                        indented(svid->chain_pem()) + "  tls.key: |\n" + indented(svid->key_pem()) +
                        "  ca.crt: |\n" + indented(ca->roots_pem()));
        world.apply("rule.yaml",
                    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                    "metadata: {name: edge}\nspec:\n  host: edge\n  trafficPolicy:\n"
                    "    tls: {mode: MUTUAL, credentialName: caller, subjectAltNames: "
                    "['spiffe://cluster.local/ns/istio-system/sa/"
                    "istio-ingressgateway-service-account']}\n");
        open("  - port: {number: 9090, name: https, protocol: HTTPS}\n    hosts: ['*']\n"
             "    tls: {mode: ISTIO_MUTUAL}\n");
    }
    Answer get(const std::string& path) {
        return world.ask("GET " + path + " HTTP/1.1\r\nhost: edge\r\nx-request-id: test\r\n\r\n",
                         "10.96.0.2:80");
    }

    World world;
    App app;
    std::optional<mtls::CertificateAuthority> ca;
};

// Whom the certificate of the fake edge names: an SVID has a URI and no DNS name.
const std::string named = "mode: SIMPLE, credentialName: edge, "
                          "subjectAltNames: ['spiffe://cluster.local/ns/default/sa/edge']";

TEST(Gateway, policies_that_select_it_are_asked_before_any_route) {
    Edge edge;
    edge.open(plain_server);
    edge.world.apply("policy.yaml",
                     "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                     "metadata: {name: edge, namespace: istio-system}\nspec:\n"
                     "  selector: {matchLabels: {istio: ingressgateway}}\n"
                     "  rules: [{to: [{operation: {paths: ['/open*']}}]}]\n");
    EXPECT_EQ(edge.get("/open").status, 200);
    Answer refused = edge.get("/secret");
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(refused.body, "RBAC: access denied");
    EXPECT_EQ(edge.app.requests.size(), 1u);
    edge.world.withdraw("policy.yaml");
    EXPECT_EQ(edge.get("/secret").status, 200);
    edge.world.finish();
}

TEST(Gateway, speaks_http2_to_those_who_know_it_and_to_those_who_negotiate_it) {
    for (bool tls : {false, true}) {
        for (std::uint64_t seed = 1; seed <= 5; ++seed) {
            Edge edge({.seed = seed});
            edge.world.service("edge", 2, "http2");
            if (tls) {
                edge.open_with_tls(named);
            } else {
                edge.open(plain_server);
            }
            EXPECT_EQ(edge.get("/a").status, 200) << "tls " << tls;
            auto got = talk(
                edge.world,
                [](Http2Peer& peer) {
                    peer.authority = "edge";
                    for (int i = 0; i < 10; ++i) {
                        ask(peer, "GET", "/b");
                    }
                },
                nullptr,
                "10.96.0.2:80");
            ASSERT_EQ(got.size(), 10U);
            for (const Http2Message& message : got) {
                EXPECT_EQ(message.status, 200) << "tls " << tls << " seed " << seed;
            }
            EXPECT_EQ(edge.app.requests.size(), 11U);
            edge.world.finish();
        }
    }
}

TEST(Gateway, knows_its_caller_by_a_certificate_of_the_mesh) {
    for (const char* account : {"shopper", "stranger"}) {
        Edge edge;
        edge.open_with_mesh_tls({"cluster.local", "town", account});
        edge.world.apply(
            "policy.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
            "metadata: {name: edge, namespace: istio-system}\nspec:\n"
            "  selector: {matchLabels: {istio: ingressgateway}}\n  rules:\n"
            "  - from: [{source: {principals: [cluster.local/ns/town/sa/shopper]}}]\n");
        int status = std::string_view(account) == "shopper" ? 200 : 403;
        EXPECT_EQ(edge.get("/a").status, status) << edge.world.explain("test");
        EXPECT_EQ(edge.app.requests.size(), status == 200 ? 1u : 0u);
        edge.world.finish();
    }
}

TEST(Gateway, a_404_names_the_gateway_that_had_no_route) {
    Edge edge;
    edge.open(plain_server);
    auto from_outside = [&](const std::string& path) {
        return edge.world.ask(
            "GET " + path + " HTTP/1.1\r\nhost: edge.example.com\r\nx-request-id: test\r\n\r\n",
            "10.0.0.2:9090");
    };
    edge.world.apply("to-shop.yaml", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to-shop}
spec:
  hosts: [edge.example.com]
  gateways: [web]
  http: [{match: [{uri: {prefix: /open}}], route: [{destination: {host: shop}}]}]
)");
    EXPECT_EQ(from_outside("/closed").status, 404);
    EXPECT_EQ(edge.world.flags("test"), "NR");
    EXPECT_THAT(edge.world.explain("test"), HasSubstr("route      none at Gateway default/web"));
    EXPECT_THAT(edge.world.explain("test"), HasSubstr("no route of the host's VirtualServices"));
    EXPECT_THAT(edge.world.explain("test"), HasSubstr("at Gateway default/web http (port 9090)"));
    edge.world.withdraw("to-shop.yaml");
    EXPECT_EQ(from_outside("/open").status, 404);
    EXPECT_THAT(edge.world.explain("test"), HasSubstr("no VirtualService serves this host"));
    edge.world.finish();
}

TEST(Gateway, serves_what_virtual_services_bind_to_it) {
    Edge edge;
    edge.open(plain_server);
    EXPECT_EQ(edge.get("/a").status, 200);
    ASSERT_EQ(edge.app.requests.size(), 1u);
    EXPECT_EQ(edge.app.requests[0].field("x-forwarded-proto"), "http");
    EXPECT_EQ(edge.app.requests[0].count("x-forwarded-for"), 1u);
    edge.world.withdraw("to-shop.yaml");
    EXPECT_EQ(edge.get("/b").status, 404);
    edge.world.finish();
}

TEST(Gateway, keeps_the_connections_of_a_port_that_is_no_longer_served) {
    Edge edge;
    edge.open(plain_server);
    EXPECT_EQ(edge.get("/a").status, 200);
    std::size_t opened = edge.world.sockets.opened();
    edge.world.withdraw("gateway.yaml");
    edge.world.node(0).core->close_gateway("gateway/n1", *SocketAddress::parse("0.0.0.0:9090"));
    EXPECT_EQ(edge.get("/b").status, 404);
    EXPECT_EQ(edge.world.sockets.opened(), opened) << "the same connection served both";
    edge.world.finish();
}

constexpr const char* tcp_server =
    "  - port: {number: 9090, name: tcp, protocol: TCP}\n    hosts: ['*']\n";
constexpr const char* bytes_to_shop = R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to-shop}
spec:
  hosts: ['*']
  gateways: [web]
  tcp: [{match: [{port: 9090}], route: [{destination: {host: shop}}]}]
)";

TEST(Gateway, passes_bytes_by_the_tcp_route_of_its_port) {
    Edge edge;
    edge.world.apply("to-shop.yaml", bytes_to_shop);
    edge.open(tcp_server);
    EXPECT_EQ(edge.get("/a").status, 200);
    ASSERT_EQ(edge.app.requests.size(), 1u);
    EXPECT_EQ(edge.app.requests[0].count("x-forwarded-for"), 0u) << "bytes are not edited";
    edge.world.finish();
}

TEST(Gateway, ends_connections_that_no_route_wants) {
    Edge edge;
    edge.world.withdraw("to-shop.yaml");
    edge.open(tcp_server);
    EXPECT_EQ(edge.get("/a").status, 503);
    EXPECT_TRUE(edge.app.requests.empty());
    edge.world.finish();
}

TEST(Gateway, refuses_plaintext_where_it_expects_tls) {
    Edge edge;
    edge.open_with_tls("mode: DISABLE");
    EXPECT_EQ(edge.get("/a").status, 503);
    EXPECT_TRUE(edge.app.requests.empty());
    edge.world.finish();
}

TEST(Gateway, ends_the_tls_that_a_caller_originates) {
    Edge edge;
    edge.open_with_tls(named);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(edge.get("/a").status, 200) << edge.world.explain("test");
    }
    ASSERT_EQ(edge.app.requests.size(), 3u);
    EXPECT_EQ(edge.app.requests[0].field("x-forwarded-proto"), "https");
    EXPECT_EQ(edge.app.connections, 1u);
    edge.world.finish();
}

TEST(Gateway, a_caller_that_cannot_believe_it_answers_503_and_says_why) {
    struct Case {
        const char* tls;
        const char* says;
    };
    const Case cases[] = {
        {"mode: SIMPLE, credentialName: edge", "none of the names"},
        {"mode: SIMPLE", "operating system"},
        {"mode: SIMPLE, caCertificates: /nowhere/ca.pem", "cannot read /nowhere/ca.pem"},
    };
    for (const Case& c : cases) {
        Edge edge;
        edge.open_with_tls(c.tls);
        EXPECT_EQ(edge.get("/a").status, 503) << c.tls;
        EXPECT_TRUE(edge.app.requests.empty()) << c.tls;
        EXPECT_THAT(edge.world.flags("test"), HasSubstr("UF")) << c.tls;
        EXPECT_THAT(edge.world.explain("test"), HasSubstr(c.says)) << c.tls;
        edge.world.finish();
    }
}

// Whatever the network does, every caller gets one answer or an end, and nothing is left behind.
TEST(Gateway, survives_faults_in_the_middle_of_handshakes) {
    std::size_t good = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        FakeOptions options{.seed = seed};
        options.faults = seed % 2 == 0 ? FakeFaults::harsh() : FakeFaults::rare();
        Edge edge(options);
        edge.open_with_tls(named);
        for (int i = 0; i < 4; ++i) {
            Answer answer = edge.get("/a");
            good += answer.complete && answer.status == 200 ? 1 : 0;
        }
        edge.world.finish();
    }
    EXPECT_GT(good, seeds);  // of 4 per seed: the faults spare most
}

Task<void> ask_and_leave(World* world, int after_ms) {
    ScriptedPeer peer(world->loop, world->network.socket({}));
    if (co_await peer.connect(*SocketAddress::parse("10.96.0.2:80")) == 0) {
        co_await peer.send("GET / HTTP/1.1\r\nhost: edge\r\n\r\n");
        co_await Sleep(world->loop, milliseconds(after_ms));
        peer.reset();
    }
}

TEST(Gateway, a_caller_that_leaves_ends_the_handshake_made_for_it) {
    for (int leave_ms = 0; leave_ms < 12; ++leave_ms) {
        Edge edge;
        edge.open_with_tls(named);
        edge.world.scope().spawn(&ask_and_leave, &edge.world, leave_ms);
        EXPECT_EQ(edge.world.settle(), FakeEnd::done);
        edge.world.finish();
    }
}

}  // namespace
}  // namespace orlop::sim
