// Circuit breaking, outlier detection and load balancing over real sockets, with the YAML of
// tutorial 002.
#include "tests/support/mesh_lab.h"

#include <fmt/core.h>

namespace orlop::support {
namespace {

class Breaker : public MeshLab {};

// Row 002-4: one connection and one waiting request; of twenty callers most are refused at once.
TEST_F(Breaker, refuses_at_once_what_the_pool_cannot_take) {
    start();
    apply("client.yaml", client_yaml);
    apply_tutorial("002-pricing.yaml");
    enrol("default");
    apply_tutorial("002-circuit-breaker.yaml");
    const Tally tally = load("client", "http://pricing/", {"-n", "200", "-c", "20", "-t", "20s"});
    EXPECT_EQ(tally.requests, 200) << tally.text;
    EXPECT_EQ(tally.count(200) + tally.count(503), 200) << tally.text;
    EXPECT_GE(tally.count(200), 1) << tally.text;
    // At any moment two of twenty are admitted, and a refusal is faster than an answer.
    EXPECT_GE(tally.count(503), 100) << tally.text;
    EXPECT_EQ(static_cast<long>(metric("envoy_cluster_upstream_rq_pending_overflow", "pricing")),
              tally.count(503));
    EXPECT_EQ(access_lines({" 503 UO ", "upstream_reset_before_response_started{overflow}"}),
              tally.count(503));
    const Reply one = get("client", "http://pricing/", {"-t", "20s"});
    EXPECT_EQ(one.status, 200) << one.text;
}

// Row 002-5: the instance that fails nine times of ten is taken out.
TEST_F(Breaker, takes_the_failing_instance_out_of_rotation) {
    start();
    apply("client.yaml", client_yaml);
    apply_tutorial("002-inventory.yaml");
    apply_tutorial("002-failing-instance-config.yaml");
    enrol("default");
    apply_tutorial("002-outlier-detection.yaml");
    const Tally tally = load("client", "http://inventory/", {"-n", "400", "-c", "2", "-t", "20s"});
    EXPECT_EQ(tally.requests, 400) << tally.text;
    // No row of five errors in its first 40 answers: below 1e-9.
    EXPECT_GE(metric("envoy_cluster_outlier_detection_ejections_active", "inventory"), 1);
    EXPECT_NE(ctl({"config", "endpoints"}).find("FAILED (500, 500, 500, 500; back in"),
              std::string::npos);
    const std::string lines = ctl({"logs", "client"});
    EXPECT_NE(lines.find("was ejected by the outlier detector"), std::string::npos) << lines;
    EXPECT_NE(lines.find("in cluster outbound|80||inventory.default.svc.cluster.local"),
              std::string::npos)
        << lines;
}

// PASSTHROUGH: to the address that the caller asked for, whatever stands behind it.
TEST_F(Breaker, passthrough_goes_where_the_caller_wanted) {
    start();
    apply("client.yaml", client_yaml);
    apply_tutorial("002-pricing.yaml");
    apply("dr.yaml", R"(
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pricing}
spec: {host: pricing, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
)");
    enrol("default");
    const Reply reply = get("client", "http://pricing/", {"-t", "20s"});
    EXPECT_EQ(reply.status, 200) << reply.text;
    // As the upstream's address, not only as the caller's destination.
    const lab::ServiceStatus where = service("pricing");
    EXPECT_EQ(access_lines({"\"" + where.cluster_ip + ":80\""}) +
                  access_lines({"\"[" + where.cluster_ip6 + "]:80\""}),
              1)
        << reply.text;
}

}  // namespace
}  // namespace orlop::support
