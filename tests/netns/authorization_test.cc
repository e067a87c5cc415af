// AuthorizationPolicy end to end: the callee on another node, on the same node, and called in clear
// from outside of the mesh.
#include "tests/support/mesh_lab.h"

#include <fmt/core.h>

namespace orlop::support {
namespace {

std::string echo_on(const std::string& name, const std::string& node) {
    return fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: {0}}}
spec:
  selector: {{app: {0}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, labels: {{app: {0}, guarded: "yes"}}}}
spec:
  nodeName: {1}
  containers: [{{name: c, image: example.org/http-echo:v1, ports: [{{containerPort: 8080}}]}}]
---
)",
                       name,
                       node);
}

constexpr const char* callers = R"(
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
kind: Pod
metadata: {name: other, labels: {app: other}}
spec:
  nodeName: n1
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

std::string policy(const std::string& rules) {
    return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
           "metadata: {name: guard}\nspec:\n  selector: {matchLabels: {guarded: 'yes'}}\n" +
           rules;
}

class AuthorizationLab : public MeshLab {
protected:
    void mesh() {
        start({.nodes = 2});
        apply("pods.yaml", echo_on("near", "n1") + echo_on("far", "n2") + callers);
        enrol("default");
    }
    void expect(const std::string& caller, const std::string& path, int status) {
        for (const char* host : {"near", "far"}) {
            const Reply reply = get(caller, fmt::format("http://{}.default{}", host, path));
            EXPECT_EQ(reply.status, status) << caller << " " << host << path << ": " << reply.text;
        }
    }
};

TEST_F(AuthorizationLab, an_identity_is_let_in_and_others_are_not) {
    mesh();
    expect("client", "/", 200);
    expect("other", "/", 200);
    expect("outside/stranger", "/", 200);
    apply("guard.yaml",
          policy("  rules:\n  - from:\n    - source: "
                 "{principals: [cluster.local/ns/default/sa/client]}\n"));
    expect("client", "/", 200);
    expect("other", "/", 403);
    expect("outside/stranger", "/", 0);
    EXPECT_NE(metrics("n2").find("orlop_refused_total{reason=\"authorization\"}"),
              std::string::npos);
}

TEST_F(AuthorizationLab, paths_and_methods_are_judged_at_the_callees_end) {
    mesh();
    apply("guard.yaml",
          policy("  rules:\n"
                 "  - to:\n    - operation: {methods: [GET], paths: ['/status/*']}\n"
                 "  - from:\n    - source: {serviceAccounts: [default/client]}\n"
                 "    to:\n    - operation: {paths: ['/private/{**}']}\n"));
    expect("client", "/status/204", 204);
    expect("other", "/status/204", 204);
    expect("outside/stranger", "/status/204", 204);
    expect("client", "/private/x", 200);
    expect("other", "/private/x", 403);
    expect("outside/stranger", "/private/x", 403);
    expect("client", "/elsewhere", 403);
    EXPECT_EQ(get("client", "http://far/status/204", {"-X", "POST"}).status, 403);
    const auto text = metrics("n2");
    EXPECT_NE(text.find("reporter=\"destination\""), std::string::npos);
    EXPECT_NE(text.find("response_code=\"403\""), std::string::npos) << "HTTP at the callee's end";
}

}  // namespace
}  // namespace orlop::support
