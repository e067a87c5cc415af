// Two pods of one node: the kernel attests both, so there is no TLS between them; it is labelled
// so, and a NetworkPolicy turns it off.
#include "tests/support/mesh_lab.h"

namespace orlop::support {
namespace {

constexpr const char* network_policy = R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: echo}
spec:
  podSelector: {matchLabels: {app: echo}}
  ingress: [{}]
)";
constexpr const char* strict_yaml = R"(
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
)";

class SameNode : public MeshLab {
protected:
    void pods() {
        start();
        apply("echo.yaml", echo_yaml);
        apply("client.yaml", client_yaml);
        enrol("default");
    }
    // Connections that any pod of the node holds to port 15008, seen from inside the caller.
    bool tunnel_open() {
        const std::string sockets = run_in("client", {"ss", "-tnH"});
        return sockets.find(":15008") != std::string::npos;
    }
};

TEST_F(SameNode, a_call_takes_the_attested_path_without_tls_and_is_labelled_so) {
    pods();
    apply("strict.yaml", strict_yaml);
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_FALSE(tunnel_open());
    EXPECT_EQ(metrics().find("connection_security_policy=\"mutual_tls\""), std::string::npos);
    EXPECT_NE(metrics().find("kernel_attested"), std::string::npos);
    EXPECT_EQ(get("outside/stranger", "http://echo.default/").status, 0)
        << "the path is no hole for callers outside the mesh";
}

TEST_F(SameNode, a_network_policy_that_selects_the_callee_turns_the_path_off) {
    pods();
    apply("policy.yaml", network_policy);
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_TRUE(tunnel_open());
    EXPECT_NE(metrics().find("connection_security_policy=\"mutual_tls\""), std::string::npos);
}

TEST_F(SameNode, the_path_can_be_switched_off_for_the_mesh) {
    start({.mesh = "{accessLog: text, sameNodeShortcut: false}"});
    apply("echo.yaml", echo_yaml);
    apply("client.yaml", client_yaml);
    enrol("default");
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_TRUE(tunnel_open());
}

}  // namespace
}  // namespace orlop::support
