// HTTP/2 and gRPC between pods, spoken by others' code at both ends: gRPC's C core, Node, curl and
// nghttp2.
#include "tests/support/mesh_lab.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <filesystem>

namespace orlop::support {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// `calls` (gRPC) and `web` (Node, HTTP/2 only) on node `{0}`; `{1}` and `{2}` are their programs.
constexpr const char* servers_yaml = R"(
apiVersion: v1
kind: Service
metadata: {{name: calls}}
spec:
  selector: {{app: calls}}
  ports: [{{name: grpc, port: 9000}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: calls, labels: {{app: calls}}}}
spec:
  nodeName: {0}
  containers:
  - name: c
    image: python
    command: [/usr/bin/python3, {1}, serve, "9000"]
    readinessProbe: {{tcpSocket: {{port: 9000}}}}
    ports: [{{containerPort: 9000}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports: [{{name: http2, port: 80, targetPort: 9080}}, {{name: any, port: 81, targetPort: 9080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  nodeName: {0}
  containers:
  - name: c
    image: node
    command: [node, {2}, serve, "9080"]
    readinessProbe: {{tcpSocket: {{port: 9080}}}}
    ports: [{{containerPort: 9080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{app: client}}}}
spec:
  nodeName: n1
  containers: [{{name: c, image: curlimages/curl}}]
)";

std::string virtual_service(const std::string& host, const std::string& route) {
    return fmt::format("apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                       "metadata: {{name: {0}}}\nspec:\n  hosts: [{0}]\n  http:\n"
                       "  - route: [{{destination: {{host: {0}}}}}]\n{1}",
                       host,
                       route);
}

// Servers on the caller's node, or on another.
class ForeignHttp2 : public MeshLab, public testing::WithParamInterface<const char*> {
protected:
    void begin() {
        start({.nodes = 2});
        for (const char* name : {"grpc_peer.py", "http2_peer.mjs"}) {
            std::filesystem::copy_file(std::string(ORLOP_SOURCE_DIR) + "/tests/support/" + name,
                                       state(name));
        }
        apply("servers.yaml",
              fmt::format(fmt::runtime(servers_yaml),
                          GetParam(),
                          state("grpc_peer.py"),
                          state("http2_peer.mjs")));
        enrol("default");
    }
    std::string state(const std::string& file) { return location_.state_dir + "/" + file; }
    // "OK" or a status on the first line, then the answers.
    std::string call(const std::string& method, const std::vector<std::string>& words) {
        std::vector<std::string> argv = {"env",
                                         "GRPC_DNS_RESOLVER=native",
                                         "/usr/bin/python3",
                                         state("grpc_peer.py"),
                                         "call",
                                         "calls:9000",
                                         method};
        argv.insert(argv.end(), words.begin(), words.end());
        return run_in("client", argv);
    }
};

INSTANTIATE_TEST_SUITE_P(Nodes, ForeignHttp2, testing::Values("n1", "n2"));

TEST_P(ForeignHttp2, grpc_calls_of_all_four_kinds_pass) {
    begin();
    EXPECT_EQ(call("Unary", {"hello"}), "OK\necho hello\n");
    EXPECT_EQ(call("Split", {"abc"}), "OK\na\nb\nc\n");
    EXPECT_EQ(call("Join", {"one", "two", "three"}), "OK\nonetwothree\n");
    EXPECT_EQ(call("Chat", {"one", "two", "three"}), "OK\nheard one\nheard two\nheard three\n");
    EXPECT_EQ(call("Fail", {"x"}), "NOT_FOUND no such word\n");
    EXPECT_GE(metric("istio_requests_total",
                     "request_protocol=\"grpc\",connection_security_policy=\"unknown\""),
              5);
    EXPECT_GE(metric("istio_requests_total", "grpc_response_status=\"5\""), 1);
    EXPECT_GE(metric("istio_request_messages_total"), 8);
    EXPECT_GE(access_lines({"POST /orlop.test.Echo/Unary HTTP/2", " 200 "}), 1);
}

TEST_P(ForeignHttp2, policies_hold_for_grpc) {
    begin();
    apply("calls.yaml",
          virtual_service("calls", "    timeout: 0.3s\n    retries: {attempts: 0}\n"));
    EXPECT_THAT(call("Sleep", {"x"}), StartsWith("UNAVAILABLE upstream request timeout"));
    EXPECT_GE(access_lines({"/orlop.test.Echo/Sleep", " UT "}), 1);
    EXPECT_EQ(call("Flaky", {"x"}), "UNAVAILABLE not yet\n");
    apply("calls.yaml",
          virtual_service("calls",
                          "    retries: {attempts: 2, perTryTimeout: 5s, retryOn: unavailable}\n"));
    EXPECT_EQ(call("Flaky", {"x"}), "OK\nhealed\n");  // the second call: even, no retry needed
    EXPECT_EQ(call("Flaky", {"x"}), "OK\nhealed\n");  // the third fails, the fourth is its retry
    EXPECT_THAT(call("Sleep", {"x", "deadline"}), StartsWith("DEADLINE_EXCEEDED"));
    apply("calls.yaml",
          virtual_service(
              "calls",
              "    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}\n"));
    EXPECT_EQ(call("Unary", {"x"}), "RESOURCE_EXHAUSTED fault filter abort\n");
    apply("denied.yaml",
          "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: calls}\n"
          "spec:\n  selector: {matchLabels: {app: calls}}\n"
          "  rules: [{to: [{operation: {paths: ['/orlop.test.Echo/Unary']}}]}]\n");
    apply("calls.yaml", virtual_service("calls", "    timeout: 5s\n"));
    EXPECT_EQ(call("Unary", {"x"}), "OK\necho x\n");
    EXPECT_EQ(call("Split", {"x"}), "PERMISSION_DENIED RBAC: access denied\n");
}

TEST_P(ForeignHttp2, node_curl_and_nghttp_speak_through_it) {
    begin();
    for (const char* port : {"80", "81"}) {
        const std::string url = fmt::format("http://web:{}/x", port);
        const std::string two =
            run_in("client", {"curl", "-sS", "-m", "10", "-i", "--http2-prior-knowledge", url});
        EXPECT_THAT(two, StartsWith("HTTP/2 200")) << port;
        EXPECT_THAT(two, HasSubstr("/x over HTTP/2")) << port;
        const std::string node = run_in("client",
                                        {"node",
                                         state("http2_peer.mjs"),
                                         "call",
                                         fmt::format("http://web:{}", port),
                                         "1000000"});
        EXPECT_EQ(node, "status 200\ntrailer behind\nsame\n") << port;
    }
    const std::string one = run_in("client", {"curl", "-sS", "-m", "10", "-i", "http://web/x"});
    EXPECT_THAT(one, StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(one, HasSubstr("x-served-by: node"));
    const std::string nghttp = run_in("client", {"nghttp", "-v", "http://web/many"});
    EXPECT_THAT(nghttp, HasSubstr(":status: 200"));
    EXPECT_THAT(nghttp, HasSubstr("x-trailer: behind"));
    const std::string load =
        run_in("client", {"h2load", "-n", "2000", "-c", "4", "-m", "50", "http://web/load"});
    EXPECT_THAT(load, HasSubstr("2000 succeeded, 0 failed, 0 errored, 0 timeout")) << load;
    EXPECT_THAT(load, HasSubstr("2000 2xx")) << load;
}

}  // namespace
}  // namespace orlop::support
