// Two nodes, each with its own orlopd: mutual TLS on the wire between them, everything else as if
// there were no mesh.
#include "tests/support/mesh_lab.h"
#include "tests/support/wire_tap.h"

#include <fmt/core.h>

#include <filesystem>
#include <fstream>

namespace orlop::support {
namespace {

constexpr const char* marker = "Marker-4711-of-the-application";
constexpr int marked_calls = 20;

constexpr const char* near_pod = R"(
apiVersion: v1
kind: Service
metadata: {name: near}
spec:
  selector: {app: near}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-raw, port: 81, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: near, labels: {app: near}}
spec:
  nodeName: n1
  containers: [{name: c, image: example.org/http-echo:v1, ports: [{containerPort: 8080}]}]
)";

constexpr const char* far_pods = R"(
apiVersion: v1
kind: Pod
metadata: {name: echo, labels: {app: echo}}
spec:
  nodeName: n2
  serviceAccountName: echo
  containers: [{name: c, image: example.org/http-echo:v1, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: banner}
spec:
  selector: {app: banner}
  ports: [{name: tcp-banner, port: 9000}, {name: undeclared, port: 9001, targetPort: 9000}]
---
apiVersion: v1
kind: Pod
metadata: {name: banner, labels: {app: banner}}
spec:
  nodeName: n2
  containers:
  - name: c
    image: example.org/tcp-echo:v1
    ports: [{containerPort: 9000}]
    env: [{name: BANNER, value: "220 the server speaks first"}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  nodeName: n1
  serviceAccountName: client
  containers: [{name: c, image: curlimages/curl}]
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: outside}
spec:
  nodeName: n1
  containers: [{name: c, image: curlimages/curl}]
)";

class TwoNodes : public MeshLab {
protected:
    void far_echo() {
        start({.nodes = 2});
        apply("pods.yaml", echo_service_yaml + "---" + far_pods);
        enrol("default");
    }
    std::string tap_file() { return location_.state_dir + "/wire.pcap"; }
    void call_with_markers() {
        for (int i = 0; i < marked_calls; ++i) {
            const Reply reply = get("client",
                                    fmt::format("http://echo/{}", marker),
                                    {"-X",
                                     "POST",
                                     "-H",
                                     fmt::format("X-Marked: {}", marker),
                                     "-d",
                                     marker,
                                     i % 2 == 0 ? "-4" : "-6"});
            ASSERT_EQ(reply.status, 200) << reply.text;
            ASSERT_NE(reply.text.find(marker), std::string::npos) << reply.text;
        }
    }
    // One connection with bash: what the server sends first, then the echo of a line.
    std::string talk(const std::string& host, int port) {
        return run_in("client",
                      {"timeout",
                       "10",
                       "bash",
                       "-c",
                       fmt::format("exec 3<>/dev/tcp/{}/{}; head -n1 <&3; echo {} >&3; "
                                   "head -n1 <&3",
                                   host,
                                   port,
                                   marker)});
    }
    std::string state(const std::string& file) { return location_.state_dir + "/" + file; }
    // A certificate as the mesh's own CA would give it, for a client that is not orlopd.
    void issue_certificate(const std::string& name,
                           const std::string& uri,
                           const std::string& ca,
                           const std::string& ca_key) {
        std::ofstream(state(name + ".ext"))
            << "subjectAltName=critical,URI:" << uri
            << "\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n"
               "basicConstraints=critical,CA:FALSE\n";
        here({"openssl",
              "req",
              "-new",
              "-newkey",
              "ec",
              "-pkeyopt",
              "ec_paramgen_curve:P-256",
              "-nodes",
              "-subj",
              "/",
              "-keyout",
              state(name + ".key"),
              "-out",
              state(name + ".csr")});
        here({"openssl",
              "x509",
              "-req",
              "-in",
              state(name + ".csr"),
              "-CA",
              ca,
              "-CAkey",
              ca_key,
              "-CAcreateserial",
              "-days",
              "1",
              "-extfile",
              state(name + ".ext"),
              "-out",
              state(name + ".pem")});
    }
    std::string foreign_client(const std::vector<std::string>& certificate) {
        const std::string address = pod("echo").ip;
        // A pod has a /tmp of its own: a source tree there is not visible in it.
        const std::string script = state("hbone_client.py");
        std::filesystem::copy_file(std::string(ORLOP_SOURCE_DIR) + "/tests/support/hbone_client.py",
                                   script,
                                   std::filesystem::copy_options::overwrite_existing);
        std::vector<std::string> argv = {
            "/usr/bin/python3", script, address, address + ":8080", state("ca/root-cert.pem")};
        argv.insert(argv.end(), certificate.begin(), certificate.end());
        return run_in("outside/stranger", argv);
    }
};

TEST_F(TwoNodes, no_byte_of_a_request_is_on_the_wire_but_mutual_tls_is) {
    start({.nodes = 2});
    apply("pods.yaml", echo_service_yaml + "---" + far_pods);
    {
        WireTap tap(node("n1").netns, "uplink", tap_file());
        ASSERT_TRUE(tap.listening());
        call_with_markers();
        ASSERT_NE(tap.stop().find(marker), std::string::npos)
            << "the tap itself sees plaintext when nobody is enrolled";
    }
    enrol("default");
    WireTap tap(node("n1").netns, "uplink", tap_file());
    ASSERT_TRUE(tap.listening());
    call_with_markers();
    const std::string& bytes = tap.stop();
    EXPECT_GT(bytes.size(), 1000U);
    for (const char* part : {marker, "HTTP/1.1", "X-Marked", "x-request-id"}) {
        EXPECT_EQ(bytes.find(part), std::string::npos) << part;
    }
    EXPECT_GT(tap.packets("tcp port 15008"), 0);
    EXPECT_EQ(tap.packets("tcp and not port 15008"), 0);
    EXPECT_NE(metrics("n2").find("connection_security_policy=\"mutual_tls\""), std::string::npos);
}

TEST_F(TwoNodes, the_application_sees_the_caller_s_own_address_in_both_families) {
    far_echo();
    apply("near.yaml", near_pod);
    const auto client = pod("client");
    const auto either = [&client](const Reply& reply) {
        return reply.text.find("peer: " + client.ip + ":") != std::string::npos ||
               reply.text.find("peer: [" + client.ip6 + "]:") != std::string::npos;
    };
    // A service's address of one family may lead to an endpoint of the other. IPv6 first, so that
    // no connection of the other family is waiting in a pool.
    for (const char* family : {"-6", "-4"}) {
        for (const char* url : {"http://echo/", "http://near/", "http://near:81/"}) {
            const Reply reply = get("client", url, {family});
            EXPECT_TRUE(either(reply)) << url << family << reply.text;
        }
    }
    for (const char* name : {"echo", "near"}) {
        const auto callee = pod(name);
        const Reply four = get("client", fmt::format("http://{}:8080/", callee.ip));
        EXPECT_NE(four.text.find("peer: " + client.ip + ":"), std::string::npos) << four.text;
        const Reply six = get("client", fmt::format("http://[{}]:8080/", callee.ip6));
        EXPECT_NE(six.text.find("peer: [" + client.ip6 + "]:"), std::string::npos) << six.text;
    }
}

TEST_F(TwoNodes, strict_takes_the_mesh_s_calls_and_refuses_plaintext_from_both_nodes) {
    far_echo();
    apply("strict.yaml",
          "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
          "metadata: {name: default}\nspec: {mtls: {mode: STRICT}}\n");
    EXPECT_EQ(load("client", "http://echo/", {"-n", "50", "-c", "2"}).success, 50);
    const Tally refused = load("outside/stranger", "http://echo.default/", {"-n", "50"});
    EXPECT_EQ(refused.refused, 50) << refused.text;
    const std::string beside =
        run_on("n1", {"http-get", "-t", "2s", "http://" + pod("echo").ip + ":8080/"});
    EXPECT_NE(beside.find("failed after"), std::string::npos)
        << "another node's address is no kubelet of this one: " << beside;
}

TEST_F(TwoNodes, large_bodies_arrive_whole_over_the_tunnel) {
    far_echo();
    const std::string sum = run_in("client",
                                   {"bash",
                                    "-c",
                                    "head -c 8000000 /dev/zero | tr '\\0' a > /tmp/body; "
                                    "curl -s -X POST --data-binary @/tmp/body http://echo/echo | "
                                    "cmp - /tmp/body && echo equal"});
    EXPECT_EQ(sum, "equal\n");
    EXPECT_EQ(run_in("client", {"bash", "-c", "curl -s http://echo/chunked/5000000 | wc -c"}),
              "5000000\n");
}

TEST_F(TwoNodes, a_server_that_speaks_first_is_heard_and_its_bytes_are_not_on_the_wire) {
    far_echo();
    WireTap tap(node("n1").netns, "uplink", tap_file());
    ASSERT_TRUE(tap.listening());
    const std::string expected = fmt::format("220 the server speaks first\n{}\n", marker);
    EXPECT_EQ(talk("banner", 9000), expected) << "port declared as tcp";
    EXPECT_EQ(talk("banner", 9001), expected) << "port without a declared protocol";
    EXPECT_EQ(talk(pod("banner").ip, 9000), expected) << "by the pod's own address";
    const std::string& bytes = tap.stop();
    EXPECT_EQ(bytes.find("the server speaks first"), std::string::npos);
    EXPECT_EQ(bytes.find(marker), std::string::npos);
    EXPECT_GT(tap.packets("tcp port 15008"), 0);
}

TEST_F(TwoNodes, tls_of_the_applications_themselves_passes_end_to_end) {
    start({.nodes = 2});
    apply("pods.yaml", echo_service_yaml + "---" + far_pods);
    here({"openssl",
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-subj",
          "/CN=secure",
          "-addext",
          "subjectAltName=DNS:secure",
          "-days",
          "1",
          "-keyout",
          state("app.key"),
          "-out",
          state("app.pem")});
    apply("secure.yaml",
          fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: secure}}
spec:
  selector: {{app: secure}}
  ports: [{{name: https, port: 443, targetPort: 9443}}, {{name: any, port: 444, targetPort: 9443}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: secure, labels: {{app: secure}}}}
spec:
  nodeName: n2
  containers:
  - name: c
    image: openssl
    command: [openssl, s_server, -accept, "9443", -cert, {0}, -key, {1}, -www, -quiet]
    ports: [{{containerPort: 9443}}]
)",
                      state("app.pem"),
                      state("app.key")));
    enrol("default");
    for (const char* port : {"443", "444"}) {
        const std::string text = run_in("client",
                                        {"curl",
                                         "-sv",
                                         "--max-time",
                                         "10",
                                         "--cacert",
                                         state("app.pem"),
                                         fmt::format("https://secure:{}/", port)});
        EXPECT_NE(text.find("SSL certificate verify ok"), std::string::npos) << text;
        EXPECT_NE(text.find("s_server"), std::string::npos) << text;
    }
}

TEST_F(TwoNodes, a_foreign_http2_client_is_served_with_a_valid_certificate_and_not_without) {
    far_echo();
    const std::string ca = state("ca/root-cert.pem");
    const std::string key = state("ca/ca-key.pem");
    issue_certificate("foreign", "spiffe://cluster.local/ns/outside/sa/default", ca, key);
    const std::string served = foreign_client({state("foreign.pem"), state("foreign.key")});
    EXPECT_NE(served.find("connect 200"), std::string::npos) << served;
    EXPECT_NE(served.find("GET /foreign HTTP/1.1"), std::string::npos) << served;

    here({"openssl",
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-subj",
          "/CN=other root",
          "-days",
          "1",
          "-keyout",
          state("other-ca.key"),
          "-out",
          state("other-ca.pem")});
    issue_certificate("forged",
                      "spiffe://cluster.local/ns/default/sa/client",
                      state("other-ca.pem"),
                      state("other-ca.key"));
    issue_certificate("elsewhere", "spiffe://elsewhere/ns/default/sa/client", ca, key);
    issue_certificate("nobody", "https://cluster.local/ns/default/sa/client", ca, key);
    const std::vector<std::vector<std::string>> refused = {
        {},
        {state("forged.pem"), state("forged.key")},
        {state("elsewhere.pem"), state("elsewhere.key")},
        {state("nobody.pem"), state("nobody.key")}};
    const long before = lines_in_log("echo", "/foreign");
    EXPECT_EQ(before, 1);
    for (const auto& certificate : refused) {
        const std::string answer = foreign_client(certificate);
        EXPECT_EQ(answer.find("connect 200"), std::string::npos) << answer;
    }
    EXPECT_EQ(lines_in_log("echo", "/foreign"), before) << "a refused client reached the app";
}

}  // namespace
}  // namespace orlop::support
