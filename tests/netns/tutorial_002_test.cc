// Tutorial 002 with its own YAML, applied in its order and nothing deleted between: orlop overlays
// objects for one host. Each row brings up the application and everything that the tutorial applied
// before.
#include "tests/support/await.h"
#include "tests/support/chance.h"
#include "tests/support/mesh_lab.h"
#include "tests/support/text.h"

#include <fmt/core.h>

#include <cmath>

namespace orlop::support {
namespace {

using std::chrono::seconds;

constexpr double slow_share = 0.4;   // pricing waits 3 s
constexpr double error_share = 0.3;  // inventory answers 500
constexpr double slow_ms = 3'000;
constexpr double pricing_limit_ms = 1'000;
constexpr long tries_max = 4;  // attempts: 3 are retries
constexpr long total_requests = 200;
constexpr double abort_share = 0.05;  // of pricing's calls
constexpr double delay_share = 0.1;   // of inventory's calls, 2 s each
constexpr double fixed_delay_ms = 2'000;

class Tutorial002 : public MeshLab {
protected:
    void application() {
        start();
        apply("client.yaml", client_yaml);
        for (const char* file :
             {"002-frontend.yaml", "002-product.yaml", "002-pricing.yaml", "002-inventory.yaml"}) {
            apply_tutorial(file);
        }
        enrol("default");
    }
    void apply_all(std::initializer_list<const char*> files) {
        for (const char* file : files) {
            apply_tutorial(file);
        }
    }
    // kubectl logs POD -c istio-proxy
    std::string proxy_log(const std::string& deployment) {
        return ctl({"logs", "default/" + pod(deployment).name});
    }
    // Never more than three at a time: beyond that a retry budget would have its say.
    Tally calls(const std::string& host, long count) {
        return load("client",
                    "http://" + host + "/",
                    {"-n", std::to_string(count), "-c", "3", "-t", "20s"});
    }
    // Requests of our client in a server's log.
    long served(const std::string& server) {
        return lines_in_log(server, " GET / from " + pod("client").ip + ":");
    }
    static void expect_failures(const Tally& tally, int status, double share) {
        const auto bounds = binomial_bounds(tally.requests, share);
        EXPECT_EQ(tally.timeouts + tally.refused, 0) << tally.text;
        EXPECT_EQ(tally.errors, tally.count(status)) << tally.text;
        EXPECT_GE(tally.errors, bounds.low) << tally.text;
        EXPECT_LE(tally.errors, bounds.high) << tally.text;
    }
    // The tutorial's Job; its own tally, checked against a share of failures.
    void run_traffic_generator(double failing) {
        apply_tutorial("002-traffic-generator.yaml");
        const auto job = lab_.wait_job("default", "traffic-generator", seconds(200));
        ASSERT_TRUE(job) << job.error().context;
        EXPECT_EQ(job->phase, "Complete");
        const std::string text = log_of("traffic-generator");
        const auto count = [&](const char* word) { return whole_number_after(text, word); };
        const long total = count("Total requests: ");
        EXPECT_EQ(total, 50) << text;
        EXPECT_EQ(count("Successful: ") + count("Errors: ") + count("Timeouts: "), total) << text;
        EXPECT_EQ(count("Timeouts: "), 0) << text;
        const auto bounds = binomial_bounds(50, failing);
        EXPECT_GE(count("Errors: "), bounds.low) << text;
        EXPECT_LE(count("Errors: "), bounds.high) << text;
        ASSERT_TRUE(lab_.remove_object("default", "job/traffic-generator"));
    }
};

TEST_F(Tutorial002, row_1_the_frontend_answers_through_the_mesh_as_its_upstreams_do) {
    application();
    const Tally inventory = calls("inventory", 300);
    expect_failures(inventory, 500, error_share);
    // Untouched: a slow answer comes after its 3 s and is a success.
    const Tally pricing = calls("pricing", 45);
    EXPECT_EQ(pricing.success, 45) << pricing.text;
    EXPECT_GE(pricing.max_ms, slow_ms) << pricing.text;  // none slow: 0.6^45 = 1e-10
    const Reply page = get("client", "http://frontend/");
    EXPECT_TRUE(page.status == 200 || page.status == 500) << page.text;
    EXPECT_NE(page.text.find("\"name\": \"frontend\""), std::string::npos) << page.text;
    EXPECT_NE(page.text.find("http://product"), std::string::npos) << page.text;
    EXPECT_NE(metrics().find("istio_requests_total"), std::string::npos);
}

TEST_F(Tutorial002, row_1_the_application_is_reachable_through_its_gateway) {
    application();
    apply_tutorial("002-gateway.yaml");
    const std::string url = "http://" + node().ip + "/";
    const Tally outside = load("outside/stranger", url, {"-n", "30", "-c", "6", "-t", "20s"});
    EXPECT_EQ(outside.timeouts + outside.refused, 0) << outside.text;
    EXPECT_EQ(outside.errors, outside.count(500)) << outside.text;
    const auto bounds = binomial_bounds(30, error_share);
    EXPECT_GE(outside.errors, bounds.low) << outside.text;
    EXPECT_LE(outside.errors, bounds.high) << outside.text;
    EXPECT_EQ(lines_in_log("frontend", " GET / "), 30);
}

TEST_F(Tutorial002, row_2_slow_calls_fail_at_their_timeout_and_errors_do_not_get_fewer) {
    application();
    apply_tutorial("002-timeout-config.yaml");
    const Tally pricing = calls("pricing", 100);
    expect_failures(pricing, 504, slow_share);
    EXPECT_GE(pricing.p99_ms, pricing_limit_ms) << pricing.text;
    EXPECT_LT(pricing.max_ms, slow_ms) << pricing.text;
    expect_failures(calls("inventory", 300), 500, error_share);
    run_traffic_generator(1 - (1 - slow_share) * (1 - error_share));
}

TEST_F(Tutorial002, row_3_retries_heal_what_timeouts_only_cut) {
    application();
    apply_tutorial("002-timeout-config.yaml");
    apply_tutorial("002-retry-config.yaml");
    const double pricing_fails = std::pow(slow_share, tries_max);
    const double inventory_fails = std::pow(error_share, tries_max);
    const Tally pricing = calls("pricing", 150);
    expect_failures(pricing, 504, pricing_fails);
    EXPECT_LT(pricing.max_ms, slow_ms) << pricing.text;
    // 1 + 0.4 + 0.16 + 0.064 tries per call, and never more than four.
    EXPECT_GT(served("pricing"), pricing.requests);
    EXPECT_LE(served("pricing"), pricing.requests * tries_max);

    const Tally inventory = calls("inventory", 600);
    expect_failures(inventory, 500, inventory_fails);
    EXPECT_GT(served("inventory"), inventory.requests);
    EXPECT_LE(served("inventory"), inventory.requests * tries_max);
    run_traffic_generator(1 - (1 - pricing_fails) * (1 - inventory_fails));
}

TEST_F(Tutorial002, row_4_high_traffic_opens_the_circuit_and_fails_fast) {
    application();
    apply_all({"002-timeout-config.yaml", "002-retry-config.yaml", "002-circuit-breaker.yaml"});
    apply_tutorial("002-high-traffic-generator.yaml");
    const auto job = lab_.wait_job("default", "high-traffic-generator", seconds(120));
    ASSERT_TRUE(job) << job.error().context;
    EXPECT_EQ(job->phase, "Complete");
    const std::string text = log_of("high-traffic-generator");
    const auto count = [&](const char* word) { return whole_number_after(text, word); };
    EXPECT_NE(text.find("Envoy is ready."), std::string::npos) << text;
    EXPECT_EQ(count("Total requests:"), total_requests) << text;
    EXPECT_EQ(count("Errors:"), 0) << text;
    EXPECT_EQ(count("Timeouts:"), 0) << text;
    EXPECT_GE(count("Successful:"), 1) << text;
    EXPECT_EQ(count("Successful:") + count("Circuit open:"), total_requests) << text;
    // Twenty callers, one connection, and four calls of ten hold it for half a second or more.
    EXPECT_GE(count("Circuit open:"), total_requests / 2) << text;
    EXPECT_GE(access_lines({" 503 UO upstream_reset_before_response_started{overflow} "}), 1);
    EXPECT_NE(
        proxy_log("product").find(" 503 UO upstream_reset_before_response_started{overflow} "),
        std::string::npos);
    EXPECT_GE(metric("envoy_cluster_upstream_rq_pending_overflow"), 1);
}

// The calls are made from the product pod: the outlier detection is its, and pricing is not before
// it. Every call of inventory meets the failing instance with probability 1/4 and fails there with
// 0.9: five in a row come within a few dozen calls.
TEST_F(Tutorial002, row_5_a_failing_instance_is_ejected_comes_back_and_is_ejected_for_longer) {
    application();
    apply_all({"002-timeout-config.yaml", "002-retry-config.yaml", "002-circuit-breaker.yaml"});
    ASSERT_TRUE(lab_.scale("default", "inventory", 3));
    settle();
    apply_all({"002-outlier-detection.yaml", "002-failing-instance-config.yaml"});
    ctl({"log", "upstream", "debug"});
    const auto failing = pod("inventory-failing");
    const auto calls_until = [&](const std::function<bool()>& seen) {
        for (int round = 0; round < 40 && !seen(); ++round) {
            load("product", "http://inventory/", {"-n", "10"});
        }
        return seen();
    };
    const auto ejected = [&](const char* seconds) {
        const std::string log = proxy_log("product");
        return lines_with(log,
                          {"host " + failing.ip, "was ejected by the outlier detector", seconds}) +
               lines_with(log,
                          {"host [" + failing.ip6, "was ejected by the outlier detector", seconds});
    };
    const auto reached = [&] { return lines_in_log("inventory-failing", " GET / "); };

    const auto before = std::chrono::steady_clock::now();
    ASSERT_TRUE(calls_until([&] { return ejected("for 30 s") == 1; })) << proxy_log("product");
    const long seen = reached();
    EXPECT_GE(load("product", "http://inventory/", {"-n", "100"}).success, 90);
    EXPECT_EQ(reached(), seen) << "no traffic to the ejected instance";

    // Back after 30 s and the next sweep.
    const auto came_back = [&] {
        load("product", "http://inventory/", {"-n", "4"});
        return reached() > seen;
    };
    ASSERT_TRUE(await(came_back, seconds(60)));
    EXPECT_GE(std::chrono::steady_clock::now() - before, seconds(30));
    EXPECT_TRUE(calls_until([&] { return ejected("for 60 s") == 1; })) << proxy_log("product");
}

// Refusals by the circuit breaker, which is still there, come after the fault: they take nothing
// from its share.
TEST_F(Tutorial002, row_6_faults_hit_their_share_of_the_calls_and_never_reach_the_service) {
    application();
    apply_all({"002-timeout-config.yaml",
               "002-retry-config.yaml",
               "002-circuit-breaker.yaml",
               "002-outlier-detection.yaml",
               "002-fault-injection.yaml"});
    constexpr long count = 400;
    const auto aborted = binomial_bounds(count, abort_share);
    const Tally pricing = load("client", "http://pricing/", {"-n", "400", "-c", "6", "-t", "20s"});
    EXPECT_EQ(pricing.requests, count) << pricing.text;
    EXPECT_GE(pricing.count(500), aborted.low) << pricing.text;
    EXPECT_LE(pricing.count(500), aborted.high) << pricing.text;
    EXPECT_EQ(access_lines({" 500 FI fault_filter_abort ", "pricing"}), pricing.count(500));

    const auto delayed = binomial_bounds(count, delay_share);
    const Tally inventory =
        load("client", "http://inventory/", {"-n", "400", "-c", "20", "-t", "20s"});
    // Alone or beside the flag of what came after the delay.
    const long marked = access_lines({" DI ", "inventory"}) + access_lines({",DI ", "inventory"}) +
                        access_lines({" DI,", "inventory"});
    EXPECT_GE(marked, delayed.low) << inventory.text;
    EXPECT_LE(marked, delayed.high) << inventory.text;
    EXPECT_GE(inventory.max_ms, fixed_delay_ms) << inventory.text;
}

TEST_F(Tutorial002, the_conflict_of_two_virtual_services_for_one_host_is_reported) {
    start();
    apply("client.yaml", client_yaml);
    apply_tutorial("002-pricing.yaml");
    apply_tutorial("002-inventory.yaml");
    apply_tutorial("002-timeout-config.yaml");
    apply_tutorial("002-retry-config.yaml");
    const std::string report = ctl({"analyze"});
    EXPECT_NE(report.find("IST0109"), std::string::npos) << report;
}

}  // namespace
}  // namespace orlop::support
