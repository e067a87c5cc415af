// Tutorial 004, "Advanced Service Mesh Development": bookinfo in the namespace istio-system with
// the objects of config.istio.io/v1alpha2. What the tutorial names without showing it is in
// deploy/lab/tutorials under its name there.
#include "tests/support/await.h"
#include "tests/support/bookinfo.h"
#include "tests/support/chance.h"
#include "tests/support/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

namespace orlop::support {
namespace {

constexpr const char* home = "istio-system";
constexpr long app_tries_ms = 6'000;  // the product page: 3 s, once again

class Tutorial004 : public Bookinfo {
protected:
    void start_with(std::initializer_list<const char*> files,
                    const std::vector<std::string>& images = {}) {
        start_bookinfo({.ns = home, .images = images});
        for (const char* file : files) {
            apply_tutorial(file, home);
        }
    }
    // The spans that the collector has, by trace.
    std::map<std::string, std::vector<nlohmann::json>> collected() {
        std::map<std::string, std::vector<nlohmann::json>> traces;
        std::istringstream lines(log_of("outside/zipkin"));
        for (std::string line; std::getline(lines, line);) {
            if (!line.starts_with('[')) {
                continue;
            }
            for (auto& span : nlohmann::json::parse(line, nullptr, false)) {
                traces[span["traceId"]].push_back(span);
            }
        }
        return traces;
    }
    // Calls of a host, as their callers report them.
    static long count_of(const std::vector<nlohmann::json>& spans, const std::string& host) {
        return std::ranges::count_if(spans, [&](const nlohmann::json& span) {
            return span["kind"] == "CLIENT" && span["name"].get<std::string>().starts_with(host);
        });
    }
    // Answers of ratings as reviews v3 had them.
    long ratings_answered(int status) {
        return lines_in_log(in("reviews-v3"), fmt::format("ratings {} ", status));
    }
};

TEST_F(Tutorial004, row_1_a_delay_for_jason_shows_the_mismatch_of_the_applications_limits) {
    start_with({"004-route-rule-all-v1.yaml",
                "004-route-rule-reviews-test-v2.yaml",
                "004-route-rule-ratings-test-delay.yaml"});
    const Page page = browse("jason");
    EXPECT_EQ(page.status, 200);
    EXPECT_TRUE(page.without_reviews()) << page.text;
    EXPECT_EQ(page.reviews_tries, 2);
    EXPECT_GE(page.reviews_millis, app_tries_ms);
    EXPECT_LT(page.reviews_millis, 7'000) << "ratings' answer after 7 s was waited for";
    const Page other = browse();
    EXPECT_FALSE(other.without_reviews()) << other.text;
    EXPECT_FALSE(other.shows("\"stars\"")) << "v1 has none: " << other.text;
    EXPECT_EQ(other.reviews_tries, 1);
    // reviews v2 waits its own 10 s: both tries reach ratings in the end, and are answered.
    EXPECT_TRUE(await([&] { return lines_in_log(in("reviews-v2"), "ratings 200") == 2; },
                      std::chrono::seconds(15)))
        << log_of(in("reviews-v2"));
    EXPECT_EQ(lines_in_log(in("ratings-v1"), "GET /ratings/0"), 2);
}

TEST_F(Tutorial004, row_2_traffic_moves_to_v3_in_two_steps_and_v2_gets_none) {
    start_with({"004-route-rule-all-v1.yaml"});
    apply_tutorial("004-route-rule-reviews-50-v3.yaml", home);
    constexpr long pages = 300;
    Served before = served();
    EXPECT_EQ(browse_often(pages).success, pages);
    Served now = served() - before;
    const auto half = binomial_bounds(pages, 0.5);
    EXPECT_GE(now.v1, half.low);
    EXPECT_LE(now.v1, half.high);
    EXPECT_EQ(now.v1 + now.v3, pages);
    EXPECT_EQ(now.v2, 0);

    apply_tutorial("004-route-rule-reviews-v3.yaml", home);
    before = served();
    EXPECT_EQ(browse_often(100).success, 100);
    now = served() - before;
    EXPECT_EQ(now.v3, 100);
    EXPECT_EQ(now.sum(), 100);
    EXPECT_TRUE(browse().with_stars("red"));
}

// Ratings takes 20 ms, so that ten browsers at once meet there: one call runs, one waits.
TEST_F(Tutorial004, row_3_beyond_one_active_and_one_pending_call_the_circuit_breaker_answers_503) {
    start_with({"004-route-rule-all-v1.yaml",
                "004-route-rule-reviews-v3.yaml",
                "004-destination-policy-ratings-cb.yaml"},
               {R"("*/examples-bookinfo-ratings-v1": )"
                R"({command: [bookinfo-ratings], env: {RESPONSE_DELAY: 20ms}})"});
    constexpr long pages = 300;
    const Tally tally = load(
        in("client"), page_ + "?foo=1", {"-n", std::to_string(pages), "-c", "10", "-t", "40s"});
    EXPECT_EQ(tally.success, pages) << "a page without stars is a page: " << tally.text;
    const long good = ratings_answered(200);
    const long refused = ratings_answered(503);
    EXPECT_EQ(good + refused, pages) << "nothing but served and refused";
    EXPECT_GE(good, 1);
    EXPECT_GT(refused, good) << "of ten at once at most two are in";
    EXPECT_EQ(lines_in_log(in("ratings-v1"), "GET /ratings/0"), good);
    EXPECT_GE(metric("envoy_cluster_upstream_rq_pending_overflow"), refused);
    EXPECT_FALSE(browse().without_ratings()) << "alone again, the stars are back";
}

TEST_F(Tutorial004, row_4_a_broken_pod_fails_one_request_and_is_out_for_15_minutes) {
    start_with({"004-route-rule-all-v1.yaml", "004-route-rule-reviews-v3.yaml"});
    apply_tutorial("004-destination-policy-ratings-cb-without-limits.yaml", home);
    apply_tutorial("004-ratings-broken.yaml", home);
    // Each reload meets the broken pod with probability 1/2 or more; none of forty: 1e-12.
    int reloads = 0;
    while (reloads < 40 && !browse().without_ratings()) {
        ++reloads;
    }
    ASSERT_LT(reloads, 40) << "the broken pod was never asked";
    for (int i = 0; i < 20; ++i) {
        const Page page = browse();
        EXPECT_TRUE(page.with_stars("red")) << page.text;
    }
    EXPECT_EQ(lines_in_log(in("ratings-v1-broken"), "GET /ratings/0"), 1)
        << log_of(in("ratings-v1-broken"));
    EXPECT_EQ(metric("envoy_cluster_outlier_detection_ejections_active"), 1);
}

// A rolling window of one second: in t seconds at most t + 1 calls pass, and one as soon as the
// last one that passed is a second old.
TEST_F(Tutorial004, row_5_a_quota_of_one_call_per_second_answers_the_others_429) {
    start_with({"004-route-rule-all-v1.yaml", "004-route-rule-reviews-v3.yaml"});
    apply_tutorial("004-mixer-rule-ratings-ratelimit.yaml", home);
    constexpr long pages = 20;
    const auto started = std::chrono::steady_clock::now();
    const Tally tally =
        load(in("client"), page_, {"-n", std::to_string(pages), "-i", "200ms", "-t", "40s"});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    EXPECT_EQ(tally.success, pages) << tally.text;
    const long passed = ratings_answered(200);
    const long limited = ratings_answered(429);
    EXPECT_EQ(passed + limited, pages);
    EXPECT_GE(passed, 2) << "20 calls, 0.2 s apart, last 3.8 s or longer";
    EXPECT_LE(passed, static_cast<long>(took.count()) + 1);
    EXPECT_EQ(lines_in_log(in("ratings-v1"), "GET /ratings/0"), passed);

    remove_tutorial("004-mixer-rule-ratings-ratelimit.yaml");
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(browse().with_stars("red"));
    }
    EXPECT_EQ(ratings_answered(429), limited);
}

constexpr const char* zipkin_pod = R"(
apiVersion: v1
kind: Pod
metadata: {name: zipkin, namespace: outside}
spec:
  containers: [{name: c, image: "openzipkin/zipkin:2", ports: [{containerPort: 9411}]}]
)";

// Jaeger's query of the tutorial: traces of the ingress that took at least 5 s.
TEST_F(Tutorial004, row_6_one_trace_shows_the_two_tries_behind_a_page_of_6_s) {
    start_with({"004-route-rule-all-v1.yaml",
                "004-route-rule-reviews-test-v2.yaml",
                "004-route-rule-ratings-test-delay.yaml"});
    apply("gateway.yaml", lab_file("bookinfo-gateway.yaml"), home);
    apply("zipkin.yaml", zipkin_pod);
    apply("tracing.yaml",
          fmt::format("apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {{name: default}}\n"
                      "spec: {{accessLog: text, tracing: {{sampling: 100, exporter: zipkin, "
                      "address: \"{}:9411\"}}}}\n",
                      pod("outside/zipkin").ip));
    const std::string url = "http://" + node().ip + "/productpage";
    EXPECT_EQ(get("outside/stranger", url, {"-t", "40s", "-H", "Cookie: user=jason"}).status, 200);
    EXPECT_EQ(get("outside/stranger", url, {"-t", "40s"}).status, 200);

    // The delayed calls of ratings end last, 10 s after the page began.
    std::map<std::string, std::vector<nlohmann::json>> traces;
    const auto complete = [&] {
        traces = collected();
        return std::ranges::any_of(
            traces, [](const auto& trace) { return count_of(trace.second, "ratings") >= 2; });
    };
    ASSERT_TRUE(await(complete, std::chrono::seconds(20))) << log_of("outside/zipkin");
    EXPECT_EQ(traces.size(), 2U) << "one for each page";
    std::vector<nlohmann::json> slow;
    for (const auto& [id, spans] : traces) {
        const bool found = std::ranges::any_of(spans, [](const nlohmann::json& span) {
            return !span.contains("parentId") && span["duration"].get<long>() >= 5'000'000;
        });
        if (found) {
            EXPECT_TRUE(slow.empty()) << "the page of nobody in particular was quick";
            slow = spans;
        }
    }
    ASSERT_FALSE(slow.empty()) << log_of("outside/zipkin");
    EXPECT_EQ(count_of(slow, "productpage"), 1);
    EXPECT_EQ(count_of(slow, "details"), 1);
    EXPECT_EQ(count_of(slow, "reviews"), 2) << "the application's own two tries";
    EXPECT_EQ(count_of(slow, "ratings"), 2) << "each of them asks ratings";
    for (const nlohmann::json& span : slow) {
        const auto name = span["name"].get<std::string>();
        const long millis = span["duration"].get<long>() / 1'000;
        if (name.starts_with("productpage")) {
            const auto service = span["localEndpoint"]["serviceName"].get<std::string>();
            EXPECT_TRUE(service.starts_with("istio-ingress")) << service;
        } else if (name.starts_with("reviews")) {
            EXPECT_EQ(span["tags"].value("error", ""), "true") << span.dump();
            EXPECT_GE(millis, app_tries_ms / 2) << "cut by the product page";
        } else if (name.starts_with("ratings")) {
            EXPECT_GE(millis, 7'000) << "answered in the end, too late";
        }
    }
}

}  // namespace
}  // namespace orlop::support
