// orlopd ends and comes back: what runs goes on, and policy decides what happens in between.
#include "tests/support/await.h"
#include "tests/support/mesh_lab.h"
#include "tests/support/steady_load.h"

#include <fmt/core.h>

#include <future>
#include <nlohmann/json.hpp>
#include <set>

namespace orlop::support {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t some_calls = 60;

class Restart : public MeshLab {
protected:
    void pods(const MeshOptions& options = {}) {
        start(options);
        apply("echo.yaml", echo_yaml);
        apply("client.yaml", client_yaml);
        enrol("default");
    }
};

TEST_F(Restart, a_request_in_flight_is_answered_before_orlopd_ends) {
    pods();
    auto slow =
        std::async(std::launch::async, [this] { return get("client", "http://echo/delay/3000"); });
    ASSERT_TRUE(await([this] { return ask("/status").value("connections", 0) > 0; }, seconds(10)));
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::stop));
    const Reply reply = slow.get();
    EXPECT_EQ(reply.status, 200) << reply.text;
    EXPECT_EQ(node().orlopd_pid, 0);
}

// The exporter sends once a second: what orlopd ends with is still in its queue.
TEST_F(Restart, spans_that_are_queued_when_orlopd_ends_still_reach_the_collector) {
    pods();
    apply("zipkin.yaml", R"(
apiVersion: v1
kind: Pod
metadata: {name: zipkin, namespace: outside}
spec:
  containers: [{name: c, image: "openzipkin/zipkin:2", ports: [{containerPort: 9411}]}]
)");
    apply("tracing.yaml",
          fmt::format("apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {{name: default}}\n"
                      "spec: {{accessLog: text, tracing: {{sampling: 100, exporter: zipkin, "
                      "address: \"{}:9411\"}}}}\n",
                      pod("outside/zipkin").ip));
    constexpr long calls = 10;
    EXPECT_EQ(load("client", "http://echo/", {"-n", std::to_string(calls)}).success, calls);
    EXPECT_NE(ctl({"logs", "deployment/echo"}).find("GET / HTTP/1.1"), std::string::npos);
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::stop));
    const auto spans = [this] {
        const std::string text = log_of("outside/zipkin");
        long count = 0;
        for (std::size_t at = text.find("\"traceId\""); at != std::string::npos;
             at = text.find("\"traceId\"", at + 1)) {
            ++count;
        }
        return count;
    };
    EXPECT_TRUE(await([&] { return spans() == calls; }, seconds(5))) << spans();
}

TEST_F(Restart, without_strict_new_connections_go_direct_while_there_is_no_orlopd) {
    pods();
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::kill));
    ASSERT_TRUE(await([this] { return get("client", "http://echo/", {"-t", "1s"}).status == 200; },
                      seconds(10)))
        << "outbound and inbound capture open when orlopd is gone";
    SteadyLoad inside(lab_, "client", {.url = "http://echo/"});
    SteadyLoad outside(lab_, "outside/stranger", {.url = "http://echo.default/"});
    ASSERT_TRUE(inside.await_successes(some_calls)) << inside.failures();
    ASSERT_TRUE(outside.await_successes(some_calls)) << outside.failures();
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::start));
    ASSERT_TRUE(await_serving());
    ASSERT_TRUE(inside.await_successes(some_calls)) << inside.failures();
    ASSERT_TRUE(outside.await_successes(some_calls)) << outside.failures();
    EXPECT_EQ(inside.stop().failed(), 0U) << inside.failures();
    EXPECT_EQ(outside.stop().failed(), 0U) << outside.failures();
    EXPECT_NE(metrics().find("istio_requests_total"), std::string::npos) << "captured again";
}

TEST_F(Restart, the_next_orlopd_keeps_the_root_and_the_captured_pods) {
    pods();
    const auto identities = [this] {
        std::set<std::string> roots;
        for (const auto& row : ask("/config/certs")["certs"]) {
            if (row.value("type", "") == "Root") {
                roots.insert(row.value("notAfter", ""));
            }
        }
        return roots;
    };
    const std::string root = here({"cat", location_.state_dir + "/ca/root-cert.pem"});
    const auto before = identities();
    ASSERT_TRUE(lab_.mesh("n1", lab::MeshAction::restart));
    ASSERT_TRUE(await_serving());
    settle();
    EXPECT_EQ(here({"cat", location_.state_dir + "/ca/root-cert.pem"}), root);
    EXPECT_EQ(identities(), before);
    EXPECT_EQ(ask("/status")["pods"]["enrolled"], 2);
    EXPECT_EQ(get("client", "http://echo/").status, 200);
    EXPECT_EQ(here({"stat", "-c", "%a", location_.state_dir + "/ca/ca-key.pem"}), "600\n");
    EXPECT_EQ(here({"stat", "-c", "%a", node().socket}), "600\n");
}

TEST_F(Restart, certificates_are_renewed_without_a_failed_request) {
    // The shortest life that orlopd takes; renewed at half of it. The second renewal comes when the
    // certificate that the first connections were made with has run out.
    start({.nodes = 2, .orlopd_args = {"--svid-ttl", "60"}});
    apply("echo.yaml", echo_yaml);
    apply("client.yaml", client_yaml);
    apply("far.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {selector: {app: far}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far, labels: {app: far}}
spec:
  nodeName: n2
  containers: [{name: c, image: example.org/http-echo:v1, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: near-client}
spec:
  nodeName: n1
  containers: [{name: c, image: curlimages/curl}]
)");
    enrol("default");
    const auto serials = [this] {
        std::set<std::string> found;
        for (const auto& row : ask("/config/certs")["certs"]) {
            if (row.value("type", "") == "Leaf") {
                found.insert(row.value("serial", ""));
            }
        }
        return found;
    };
    SteadyLoad kept(lab_, "near-client", {.url = "http://far/", .options = {"-k"}});
    SteadyLoad fresh(lab_, "near-client", {.url = "http://far/"});
    ASSERT_TRUE(fresh.await_successes(some_calls)) << fresh.failures();
    EXPECT_FALSE(serials().empty());
    for (int renewal = 0; renewal < 2; ++renewal) {
        const auto before = serials();
        ASSERT_TRUE(await([&] { return serials() != before; }, seconds(60))) << "no renewal";
        ASSERT_TRUE(kept.await_successes(some_calls)) << kept.failures();
        ASSERT_TRUE(fresh.await_successes(some_calls)) << fresh.failures();
    }
    EXPECT_EQ(kept.stop().failed(), 0U) << kept.failures();
    EXPECT_EQ(fresh.stop().failed(), 0U) << fresh.failures();
}

}  // namespace
}  // namespace orlop::support
