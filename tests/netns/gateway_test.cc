// orlopd as ingress of its node, spoken to by curl with certificates that openssl made; and callers
// that originate TLS by a DestinationRule.
#include "tests/support/await.h"
#include "tests/support/mesh_lab.h"
#include "tests/support/steady_load.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace orlop::support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// Pods with TLS of their own: `vault` shows a certificate, `safe` also demands one.
constexpr const char* vault_yaml = R"(
apiVersion: v1
kind: Service
metadata: {{name: {0}}}
spec:
  selector: {{app: {0}}}
  ports: [{{name: tls, port: 443, targetPort: 8443}}, {{name: http, port: 80, targetPort: 8443}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, labels: {{app: {0}}}}}
spec:
  containers: [{{name: c, image: example.org/{0}:v1, ports: [{{containerPort: 8443}}]}}]
)";

std::string secret_entry(const std::string& name, const std::string& file) {
    std::ifstream in(file);
    std::string text = "  " + name + ": |\n";
    for (std::string line; std::getline(in, line);) {
        text += "    " + line + "\n";
    }
    return text;
}

// As long as a busy machine may take.
constexpr std::chrono::seconds patience{20};

class Gateway : public MeshLab {
protected:
    void SetUp() override {
        MeshLab::SetUp();
        directory_ =
            fmt::format("/run/orlop-gateway-{}", ::getpid());  // pods have a /tmp of their own
        fs::create_directory(directory_);
    }
    void TearDown() override {
        MeshLab::TearDown();
        fs::remove_all(directory_);
    }

    // --- certificates ---
    std::string file(const std::string& name) const { return directory_ + "/" + name; }
    void shell(const std::string& command) {
        here({"/bin/sh", "-c", "cd " + directory_ + " && umask 077 && " + command + " 2>&1"});
    }
    void root(const std::string& name) {
        shell(fmt::format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                          "-subj /CN={0} -days 2 -keyout {0}.key -out {0}.pem",
                          name));
    }
    void certificate(const std::string& name, const std::string& dns, const std::string& issuer) {
        shell(fmt::format("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                          "-subj /CN={0} -keyout {0}.key -out {0}.csr && "
                          "printf 'subjectAltName=DNS:{1}' > {0}.ext && "
                          "openssl x509 -req -in {0}.csr -CA {2}.pem -CAkey {2}.key "
                          "-CAcreateserial -days 2 -extfile {0}.ext -out {0}.pem",
                          name,
                          dns,
                          issuer));
        EXPECT_TRUE(fs::exists(file(name + ".pem")));
    }
    std::string secret(const std::string& name, const std::string& of, const std::string& roots) {
        std::string text =
            "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\nstringData:\n";
        text += secret_entry("tls.crt", file(of + ".pem"));
        text += secret_entry("tls.key", file(of + ".key"));
        return roots.empty() ? text : text + secret_entry("ca.crt", file(roots + ".pem"));
    }

    // --- the mesh and callers from outside it ---
    void begin(const std::vector<std::string>& images = {}) {
        start({.images = images});
        apply("echo.yaml", echo_yaml);
        apply("client.yaml", client_yaml);
        enrol("default");
    }
    // curl in the node's network, which is no pod's. `host` resolves to the gateway.
    std::string curl(const std::string& url, std::vector<std::string> options = {}) {
        std::vector<std::string> argv = {
            "curl", "-sS", "--noproxy", "*", "-m", "10", "-w", "\nstatus=%{http_code}\n"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.push_back(url);
        return run_on("n1", argv);
    }
    std::vector<std::string>
    trusting(const std::string& host, int port, std::vector<std::string> more = {}) {
        std::vector<std::string> options = {"--cacert",
                                            file("ca.pem"),
                                            "--resolve",
                                            fmt::format("{}:{}:{}", host, port, node().ip)};
        options.insert(options.end(), more.begin(), more.end());
        return options;
    }
    std::string here_url() { return "http://" + node().ip; }

    std::string directory_;
};

std::string gateway(const std::string& servers) {
    return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n"
           "  selector: {istio: ingressgateway}\n  servers:\n" +
           servers;
}
std::string https(int port, const std::string& host, const std::string& tls) {
    return fmt::format("  - port: {{number: {}, name: https-{}, protocol: HTTPS}}\n"
                       "    hosts: ['{}']\n    tls: {{{}}}\n",
                       port,
                       host.substr(0, host.find('.')),
                       host,
                       tls);
}
constexpr const char* to_echo = R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to-echo}
spec:
  hosts: ['*']
  gateways: [web]
  http: [{route: [{destination: {host: echo}}]}]
)";
constexpr const char* plain_server =
    "  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: ['*']\n";

TEST_F(Gateway, tutorial_002_is_reachable_through_its_own_gateway) {
    start({.nodes = 2});
    apply("client.yaml", client_yaml);
    for (const char* name : {"002-frontend.yaml",
                             "002-product.yaml",
                             "002-pricing.yaml",
                             "002-inventory.yaml",
                             "002-gateway.yaml"}) {
        apply_tutorial(name);
    }
    enrol("default");
    ASSERT_TRUE(
        await([&] { return curl(here_url()).find("\"name\": \"frontend\"") != std::string::npos; },
              patience));
    // The other node's gateway serves as well: over HBONE when the pod is not its own.
    const std::string other = curl("http://" + node("n2").ip);
    EXPECT_THAT(other, HasSubstr("\"name\": \"frontend\""));
    EXPECT_THAT(metrics(), HasSubstr("source_workload=\"istio-ingressgateway\""));
    EXPECT_THAT(metrics("n2"), HasSubstr("source_workload=\"istio-ingressgateway\""));
}

TEST_F(Gateway, says_who_called_and_drops_what_strangers_may_not_say) {
    begin();
    apply("gateway.yaml", gateway(plain_server));
    EXPECT_THAT(curl(here_url()), HasSubstr("status=404"));
    apply("to-echo.yaml", to_echo);
    const std::string text = curl(here_url() + "/x",
                                  {"-i",
                                   "-H",
                                   "X-Forwarded-For: 192.0.2.9",
                                   "-H",
                                   "X-Forwarded-Proto: https",
                                   "-H",
                                   "x-envoy-retry-on: 5xx",
                                   "-H",
                                   "x-envoy-external-address: 192.0.2.9"});
    EXPECT_THAT(text, HasSubstr("status=200"));
    EXPECT_THAT(text, HasSubstr("server: istio-envoy"));
    EXPECT_THAT(text, testing::ContainsRegex("x-forwarded-for: 192.0.2.9,[0-9.]+"));
    EXPECT_THAT(text, HasSubstr("x-forwarded-proto: http\r\n"));
    EXPECT_THAT(text, HasSubstr("x-request-id: "));
    EXPECT_THAT(text, Not(HasSubstr("x-envoy-retry-on")));
    EXPECT_THAT(text, Not(HasSubstr("x-envoy-external-address")));
}

TEST_F(Gateway, reaches_pods_that_refuse_plaintext) {
    start({.nodes = 2});
    apply("echo.yaml", echo_yaml);
    enrol("default");
    apply("strict.yaml",
          "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
          "metadata: {name: default}\nspec: {mtls: {mode: STRICT}}\n");
    apply("gateway.yaml", gateway(plain_server));
    apply("to-echo.yaml", to_echo);
    for (const char* name : {"n1", "n2"}) {  // on the pod's own node, and over HBONE
        const std::string url = "http://" + node(name).ip;
        EXPECT_TRUE(
            await([&] { return curl(url).find("status=200") != std::string::npos; }, patience))
            << name;
    }
    EXPECT_THAT(curl("http://" + pod("echo").ip + ":8080"), HasSubstr("status=000"));
}

TEST_F(Gateway, ends_tls_by_name_and_judges_clients) {
    root("ca");
    root("other-ca");
    certificate("shop", "shop.example.com", "ca");
    certificate("bank", "bank.example.com", "ca");
    certificate("visitor", "visitor.example.org", "ca");
    certificate("stranger", "visitor.example.org", "other-ca");
    begin();
    apply("shop.yaml", secret("shop", "shop", ""), "istio-system");
    apply("bank.yaml", secret("bank", "bank", "ca"), "istio-system");
    apply("to-echo.yaml", to_echo);
    apply("gateway.yaml",
          gateway("  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: ['*']\n"
                  "    tls: {httpsRedirect: true}\n" +
                  https(443, "shop.example.com", "mode: SIMPLE, credentialName: shop") +
                  https(443, "bank.example.com", "mode: MUTUAL, credentialName: bank")));
    const std::string shop = "https://shop.example.com/hello";
    const std::string bank = "https://bank.example.com/hello";
    const std::string served = curl(shop, trusting("shop.example.com", 443));
    for (const char* version : {"1.1", "2"}) {
        EXPECT_THAT(curl(shop,
                         trusting("shop.example.com",
                                  443,
                                  {std::string("--http") + version, "-w", "%{http_version}"})),
                    testing::EndsWith(version));
    }
    EXPECT_THAT(curl(here_url(), {"--http2-prior-knowledge", "-w", "%{http_version}"}),
                testing::EndsWith("2"));
    EXPECT_THAT(served, HasSubstr("GET /hello"));
    EXPECT_THAT(served, HasSubstr("x-forwarded-proto: https\r\n"));
    EXPECT_THAT(curl(shop, trusting("shop.example.com", 443, {"--tls-max", "1.2"})),
                HasSubstr("status=200"));
    auto show = [&](const char* who) {
        return trusting(
            "bank.example.com",
            443,
            {"--cert", file(std::string(who) + ".pem"), "--key", file(std::string(who) + ".key")});
    };
    EXPECT_THAT(curl(bank, show("visitor")), HasSubstr("status=200"));
    EXPECT_THAT(curl(bank, trusting("bank.example.com", 443)), HasSubstr("status=000"));
    EXPECT_THAT(curl(bank, show("stranger")), HasSubstr("status=000"));
    // A name that no server has is refused before any certificate is shown.
    EXPECT_THAT(curl("https://else.example.com/", trusting("else.example.com", 443)),
                HasSubstr("status=000"));
    const std::string moved = curl(here_url() + "/a?b=c", {"-i", "-H", "Host: shop.example.com"});
    EXPECT_THAT(moved, HasSubstr("HTTP/1.1 301"));
    EXPECT_THAT(moved, HasSubstr("location: https://shop.example.com/a?b=c"));
    const std::string findings = ask("/analyze").dump();
    EXPECT_THAT(findings, HasSubstr("\"findings\""));
    EXPECT_THAT(findings, Not(HasSubstr("PRIVATE")));
    EXPECT_THAT(findings, Not(HasSubstr("ORL032")));  // files of Secrets are their owner's
}

TEST_F(Gateway, follows_new_certificates_and_ports_while_requests_flow) {
    root("ca");
    certificate("shop", "shop.example.com", "ca");
    begin();
    apply("shop.yaml", secret("shop", "shop", ""), "istio-system");
    apply("to-echo.yaml", to_echo);
    const std::string simple = https(443, "shop.example.com", "mode: SIMPLE, credentialName: shop");
    apply("gateway.yaml", gateway(plain_server + simple));
    const std::string url = "https://shop.example.com/";
    ASSERT_THAT(curl(url, trusting("shop.example.com", 443)), HasSubstr("status=200"));
    SteadyLoad load(
        lab_, "outside/stranger", SteadyLoad::Wish{here_url() + "/", {"-t", "2s", "-m", "120s"}});
    ASSERT_TRUE(load.await_attempts(20));
    auto serial = [&] {
        return run_on("n1",
                      {"/bin/sh",
                       "-c",
                       "openssl s_client -connect " + node().ip +
                           ":443 -servername shop.example.com < /dev/null 2>/dev/null | "
                           "openssl x509 -noout -serial"});
    };
    const std::string before = serial();
    EXPECT_THAT(before, HasSubstr("serial="));
    certificate("shop", "shop.example.com", "ca");
    apply("shop.yaml", secret("shop", "shop", ""), "istio-system");
    EXPECT_TRUE(await([&] { return serial() != before; }, patience));
    EXPECT_THAT(curl(url, trusting("shop.example.com", 443)), HasSubstr("status=200"));
    apply("gateway.yaml",
          gateway(std::string(plain_server) +
                  "  - port: {number: 8081, name: more, protocol: HTTP}\n    hosts: ['*']\n"));
    EXPECT_TRUE(
        await([&] { return curl(here_url() + ":8081/").find("status=200") != std::string::npos; },
              patience));
    EXPECT_THAT(curl(url, trusting("shop.example.com", 443)), HasSubstr("status=000"));
    ASSERT_TRUE(load.await_attempts(40));
    const auto& end = load.stop();
    EXPECT_EQ(end.failed(), 0U) << load.failures();
}

TEST_F(Gateway, istio_mutual_takes_callers_whom_the_meshs_own_ca_vouches_for) {
    root("other-ca");
    certificate("stranger", "a.example.org", "other-ca");
    begin();
    const std::string ca = location_.state_dir + "/ca/";
    fs::copy_file(ca + "root-cert.pem", file("ca.pem"));
    fs::copy_file(ca + (fs::exists(ca + "ca-cert.pem") ? "ca-cert.pem" : "root-cert.pem"),
                  file("mesh.pem"));
    fs::copy_file(ca + "ca-key.pem", file("mesh.key"));
    certificate("member", "a.example.org", "mesh");
    apply("to-echo.yaml", to_echo);
    apply("gateway.yaml", gateway(https(443, "edge.example.com", "mode: ISTIO_MUTUAL")));
    // The gateway shows its SPIFFE identity, which curl cannot compare with a name.
    auto show = [&](const std::string& who) {
        return trusting("edge.example.com",
                        443,
                        {"-k", "--cert", file(who + ".pem"), "--key", file(who + ".key")});
    };
    const std::string url = "https://edge.example.com/";
    EXPECT_TRUE(
        await([&] { return curl(url, show("member")).find("status=200") != std::string::npos; },
              patience));
    EXPECT_THAT(curl(url, show("stranger")), HasSubstr("status=000"));
    EXPECT_THAT(curl(url, trusting("edge.example.com", 443, {"-k"})), HasSubstr("status=000"));
    const std::string shown =
        run_on("n1",
               {"/bin/sh",
                "-c",
                "openssl s_client -connect " + node().ip +
                    ":443 -servername edge.example.com < /dev/null 2>/dev/null | "
                    "openssl x509 -noout -ext subjectAltName"});
    EXPECT_THAT(shown, HasSubstr("/sa/istio-ingressgateway-service-account"));
}

TEST_F(Gateway, a_port_that_cannot_be_bound_is_reported_with_the_gateway_that_wants_it) {
    begin();
    apply("to-echo.yaml", to_echo);
    // orlopd's own metrics have the port.
    apply("gateway.yaml",
          gateway("  - port: {number: 15020, name: taken, protocol: HTTP}\n    hosts: ['*']\n"));
    const std::string status = ask("/status").dump();
    EXPECT_THAT(status, HasSubstr("cannot listen on 0.0.0.0:15020"));
    EXPECT_THAT(status, HasSubstr("Gateway default/web"));
    apply("gateway.yaml", gateway(plain_server));
    EXPECT_THAT(curl(here_url()), HasSubstr("status=200"));
    EXPECT_THAT(ask("/status").dump(), Not(HasSubstr("cannot listen")));
}

class GatewayAndTlsPods : public Gateway {
protected:
    void begin_with_vaults() {
        root("ca");
        certificate("vault", "vault.example.com", "ca");
        certificate("visitor", "visitor.example.org", "ca");
        const std::string server = file("tls_server.py");
        fs::copy_file(std::string(ORLOP_SOURCE_DIR) + "/tests/support/tls_server.py", server);
        const std::string common = "{command: [/usr/bin/python3, " + server + ", '8443', " +
                                   file("vault.pem") + ", " + file("vault.key");
        begin({"example.org/vault: " + common + "]}",
               "example.org/safe: " + common + ", " + file("ca.pem") + "]}"});
        for (const char* name : {"vault", "safe"}) {
            apply(std::string(name) + ".yaml", fmt::format(fmt::runtime(vault_yaml), name));
        }
    }
    // A DestinationRule's answer as a pod sees it.
    std::string through(const std::string& service, const std::string& tls) {
        apply("rule.yaml",
              "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: tls}\n"
              "spec:\n  host: " +
                  service +
                  "\n  trafficPolicy:\n    portLevelSettings:\n    - port: {number: 80}\n"
                  "      tls: {" +
                  tls + "}\n");
        return run_in(
            "client",
            {"curl", "-sS", "-i", "--noproxy", "*", "-m", "10", "http://" + service + "/p"});
    }
};

TEST_F(GatewayAndTlsPods, tls_of_a_pods_own_passes_by_its_name) {
    begin_with_vaults();
    apply("gateway.yaml",
          gateway("  - port: {number: 443, name: tls, protocol: TLS}\n"
                  "    hosts: ['*.example.com']\n    tls: {mode: PASSTHROUGH}\n"));
    apply("to-vault.yaml",
          "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: to-vault}\n"
          "spec:\n  hosts: [vault.example.com]\n  gateways: [web]\n"
          "  tls: [{match: [{port: 443, sniHosts: [vault.example.com]}], "
          "route: [{destination: {host: vault, port: {number: 443}}}]}]\n");
    const std::string text =
        curl("https://vault.example.com/inside", trusting("vault.example.com", 443));
    EXPECT_THAT(text, HasSubstr("sni=vault.example.com"));
    EXPECT_THAT(text, HasSubstr("path=/inside"));
    EXPECT_THAT(curl("https://else.example.com/", trusting("else.example.com", 443)),
                HasSubstr("status=000"));
}

TEST_F(GatewayAndTlsPods, callers_originate_tls_by_destination_rule) {
    begin_with_vaults();
    const std::string ca = "caCertificates: " + file("ca.pem");
    const std::string named = ca + ", sni: vault.example.com";
    const std::string shown =
        ", clientCertificate: " + file("visitor.pem") + ", privateKey: " + file("visitor.key");
    EXPECT_THAT(through("vault", "mode: SIMPLE, " + named),
                HasSubstr("sni=vault.example.com alpn=http/1.1 client= "));
    EXPECT_THAT(through("vault", "mode: SIMPLE, insecureSkipVerify: true"),
                HasSubstr("sni=vault.default.svc.cluster.local"));
    EXPECT_THAT(through("safe", "mode: MUTUAL, " + named + shown),
                HasSubstr("client=visitor.example.org"));
    // The callee's own name is not in its certificate; its CA is not among the system's; and the
    // one who demands a certificate gets none.
    EXPECT_THAT(through("vault", "mode: SIMPLE, " + ca), HasSubstr("HTTP/1.1 503"));
    EXPECT_THAT(through("vault", "mode: SIMPLE, sni: vault.example.com"),
                HasSubstr("HTTP/1.1 503"));
    EXPECT_THAT(through("safe", "mode: SIMPLE, " + named), HasSubstr("HTTP/1.1 503"));
    EXPECT_THAT(metrics(), HasSubstr("response_flags=\"UF"));
}

}  // namespace
}  // namespace orlop::support
