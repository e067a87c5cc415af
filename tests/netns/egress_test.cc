// What lies outside the registry: names looked up by DNS, REGISTRY_ONLY, and passing through.
#include "tests/support/await.h"
#include "tests/support/mesh_lab.h"

namespace orlop::support {
namespace {

// A namespace that is not in the mesh, reached by the addresses of its pods alone.
constexpr const char* legacy_yaml = R"(
apiVersion: v1
kind: Namespace
metadata: {name: legacy}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: legacy}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 8080, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: legacy}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "example.org/http-echo:v1", ports: [{containerPort: 8080}]}
)";

constexpr const char* entry_yaml = R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  addresses: [240.240.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: DNS
  endpoints: [{address: web.legacy.svc.cluster.local}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.example.com]
  http:
  - match: [{uri: {prefix: /blocked}}]
    directResponse: {status: 418}
  - route: [{destination: {host: api.example.com}}]
)";

constexpr const char* registry_only_yaml = R"(
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  egress: [{hosts: ["./*"]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
)";

class Egress : public MeshLab {
protected:
    void pods() {
        start();
        apply("echo.yaml", echo_yaml);
        apply("client.yaml", client_yaml);
        apply("legacy.yaml", legacy_yaml);
        enrol("default");
    }
    int status(const std::string& url, const std::string& host = "") {
        std::vector<std::string> options;
        if (!host.empty()) {
            options = {"-H", "Host: " + host};
        }
        return get("client", url, options).status;
    }
};

TEST_F(Egress, names_of_a_service_entry_are_looked_up_and_its_routes_act) {
    pods();
    apply("entry.yaml", entry_yaml);
    EXPECT_TRUE(await([&] { return status("http://240.240.1.1/", "api.example.com") == 200; },
                      std::chrono::seconds(20)))
        << "no endpoints out of DNS";
    EXPECT_EQ(status("http://240.240.1.1/blocked", "api.example.com"), 418);
    EXPECT_GT(access_lines({"outbound|80||api.example.com", " 200 "}), 0);
    EXPECT_NE(metrics().find("destination_service=\"api.example.com\""), std::string::npos);
}

TEST_F(Egress, what_nobody_described_passes_or_is_refused_as_the_sidecar_says) {
    pods();
    EXPECT_EQ(status("http://echo/"), 200);
    EXPECT_EQ(status("http://web.legacy:8080/"), 200) << "ALLOW_ANY is the default";
    apply("sidecar.yaml", registry_only_yaml);
    EXPECT_TRUE(await([&] { return status("http://240.240.9.9/", "unknown.example") == 502; },
                      std::chrono::seconds(20)));
    EXPECT_EQ(status("http://web.legacy:8080/"), 502) << "another namespace is not listed";
    EXPECT_EQ(status("http://echo/"), 200) << "its own namespace is listed";
    EXPECT_EQ(status("http://echo/", "unknown.example"), 200) << "a known address stays known";
    EXPECT_GT(access_lines({"BlackHoleCluster", " 502 "}), 0);
    EXPECT_NE(metrics().find("destination_service_name=\"BlackHoleCluster\""), std::string::npos);
}

}  // namespace
}  // namespace orlop::support
