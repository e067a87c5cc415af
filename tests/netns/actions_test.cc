// Actions of routes end to end: a mirror, a rate limit and spans, with real processes.
#include "tests/support/await.h"
#include "tests/support/mesh_lab.h"

#include <fmt/core.h>

namespace orlop::support {
namespace {

constexpr const char* copy_yaml = R"(
apiVersion: v1
kind: Service
metadata: {name: copy}
spec:
  selector: {app: copy}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: copy, labels: {app: copy}}
spec:
  containers: [{name: c, image: example.org/http-echo:v1, ports: [{containerPort: 8080}]}]
)";

class Actions : public MeshLab {
protected:
    void start_mesh() {
        start({});
        apply("echo", echo_yaml);
        apply("client", client_yaml);
        apply("copy", copy_yaml);
        enrol("default");
    }
};

TEST_F(Actions, a_mirror_sees_every_request_and_a_limit_refuses_the_third) {
    start_mesh();
    apply("mirror", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - route: [{destination: {host: echo}}]
    mirror: {host: copy}
    headers: {response: {set: {x-by: "%UPSTREAM_CLUSTER%"}}}
)");
    constexpr long calls = 10;
    for (long i = 0; i < calls; ++i) {
        EXPECT_EQ(get("client", "http://echo/mirrored").status, 200);
    }
    const auto copies = [&] {
        return access_lines({"outbound|80||copy.default.svc.cluster.local", "echo-shadow"});
    };
    EXPECT_TRUE(await([&] { return copies() == calls; }, std::chrono::seconds(10))) << copies();
    EXPECT_EQ(access_lines({"outbound|80||echo.default.svc.cluster.local", "/mirrored"}), calls);

    apply("limit", R"(
apiVersion: orlop.dev/v1
kind: RateLimit
metadata: {name: few}
spec: {hosts: [echo], requests: 2, interval: 1h}
)");
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_EQ(get("client", "http://echo/").status, 429);
    EXPECT_EQ(metric("orlop_rate_limited_total", "by=\"rate_limit\""), 1);
}

}  // namespace
}  // namespace orlop::support
