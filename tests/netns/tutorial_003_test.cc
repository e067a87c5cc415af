// Tutorial 003, "Traffic Management": bookinfo with the tutorial's own YAML.
#include "tests/support/await.h"
#include "tests/support/bookinfo.h"
#include "tests/support/chance.h"
#include "tests/support/text.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::support {
namespace {

constexpr double v1_share = 0.1;
constexpr double v2_share = 0.1;
constexpr double v3_share = 0.8;
constexpr long app_tries_ms = 6'000;  // the product page: 3 s, once again
constexpr const char* somebody = "log-in-as-this-user";

// The version whose own limit for ratings is 10 s, as the tutorial says of "the" reviews service.
constexpr const char* all_to_reviews_v2 = R"(
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews, subset: v2}}]
)";

class Tutorial003 : public Bookinfo {
protected:
    void start_with(std::initializer_list<const char*> files) {
        start_bookinfo({});
        for (const char* file : files) {
            apply_tutorial(file);
        }
    }
    void expect_the_split(const Served& count) {
        const auto expect = [&](long got, double share, const char* version) {
            const auto bounds = binomial_bounds(count.sum(), share);
            EXPECT_GE(got, bounds.low) << version << " of " << count.sum();
            EXPECT_LE(got, bounds.high) << version << " of " << count.sum();
        };
        expect(count.v1, v1_share, "v1");
        expect(count.v2, v2_share, "v2");
        expect(count.v3, v3_share, "v3");
    }
    // What happens to `calls` direct calls of reviews.
    Served served_of(const std::string& path, long calls, const std::string& part) {
        const Served before = served(part);
        const Tally tally = call_reviews(path, calls);
        EXPECT_EQ(tally.timeouts + tally.refused, 0) << tally.text;
        const Served now = served(part) - before;
        EXPECT_EQ(now.sum(), calls) << tally.text;
        return now;
    }
    Served served_to(const std::string& user, long pages) {
        const Served before = served();
        EXPECT_EQ(browse_often(pages, user).success, pages);
        const Served now = served() - before;
        EXPECT_EQ(now.sum(), pages) << "one call of reviews for each page";
        return now;
    }
    // The page of nobody in particular is whole.
    void others_see_black_stars() {
        const Page page = browse();
        EXPECT_TRUE(page.with_stars("black")) << page.text;
        EXPECT_EQ(page.reviews_tries, 1);
    }
};

TEST_F(Tutorial003, row_01_weights_split_the_versions_of_reviews) {
    start_with({"003-destination_rules_versioning.yaml", "003-virtualservice_reviews_canary.yaml"});
    expect_the_split(served_to("", 400));
}

TEST_F(Tutorial003, row_02_a_header_rule_before_the_weights_catches_its_user) {
    start_with({"003-destination_rules_versioning.yaml",
                "003-virtualservice_reviews_header_condition_identity_based.yaml"});
    EXPECT_EQ(served_to(somebody, 60).v1, 60);
    expect_the_split(served_to("", 200));

    // "DON'T DO THIS as rules are evaluated in order": the same rules, the other way round.
    std::string text = tutorial("003-virtualservice_reviews_header_condition_identity_based.yaml");
    const std::size_t match = text.find("  - match:");
    const std::size_t route = text.find("  - route:");
    const std::string rule = text.substr(match, route - match);
    apply("reversed.yaml", text.erase(match, route - match) + rule);
    expect_the_split(served_to(somebody, 200));
}

TEST_F(Tutorial003, row_03_a_query_parameter_selects_a_version) {
    start_with({"003-destination_rules_versioning.yaml",
                "003-virtualservice_reviews_header_condition_query_string.yaml"});
    EXPECT_EQ(served_of("/reviews/0?test-v2=true", 60, "GET /reviews/0?test-v2=true ").v2, 60);
    EXPECT_EQ(served_of("/reviews/0?a=b&test-v2=true", 20, "GET /reviews/0?a=b").v2, 20);
    expect_the_split(served_of("/reviews/0?test-v2=false", 200, "test-v2=false "));
}

TEST_F(Tutorial003, row_04_a_regex_matches_the_whole_path_and_keeps_its_case) {
    start_with({"003-destination_rules_versioning.yaml",
                "003-virtualservice_reviews_header_condition_uri.yaml"});
    EXPECT_EQ(served_of("/productpage/v2", 60, "GET /productpage/v2 ").v2, 60);
    EXPECT_EQ(served_of("/productpage/v2?x=1", 20, "GET /productpage/v2?x=1 ").v2, 20);
    expect_the_split(served_of("/productpage/v2/x", 200, "GET /productpage/v2/x "));
    expect_the_split(served_of("/Productpage/v2", 200, "GET /Productpage/v2 "));
}

TEST_F(Tutorial003, row_05_a_delay_for_one_user_runs_into_the_application_s_own_limits) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("reviews.yaml", all_to_reviews_v2);
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_ratings_fault_injection_delay.yaml");
    const Page page = browse("tester");
    EXPECT_EQ(page.status, 200);
    EXPECT_TRUE(page.without_reviews()) << page.text;
    EXPECT_EQ(page.reviews_status, 0) << "the application's limit ends the call, not the proxy";
    EXPECT_EQ(page.reviews_tries, 2);
    EXPECT_GE(page.reviews_millis, app_tries_ms);
    EXPECT_LT(page.reviews_millis, 10'000) << "the delay of 10 s never ended";
    others_see_black_stars();
}

TEST_F(Tutorial003, row_06_an_abort_for_one_user_is_immediate_and_ratings_never_sees_it) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("reviews.yaml", all_to_reviews_v2);
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_ratings_fault_injection_abort.yaml");
    const Page page = browse("tester");
    EXPECT_EQ(page.status, 200);
    EXPECT_TRUE(page.without_ratings()) << page.text;
    EXPECT_EQ(page.reviews_tries, 1) << "reviews answered within 3 s";
    EXPECT_EQ(lines_in_log("reviews-v2", "ratings 400"), 1) << log_of("reviews-v2");
    EXPECT_EQ(lines_in_log("ratings-v1", "GET /ratings/0"), 0);
    others_see_black_stars();
}

// Reviews is slow because the delay of the step before is still there. A page that met v1, which
// asks no ratings, is whole at once; 0.9 * 0.9 of the pages wait 1 s twice. No page of twelve does:
// 0.19^12 = 2e-9.
TEST_F(Tutorial003, row_07_a_timeout_of_1_s_is_met_twice_because_the_application_calls_again) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_ratings_fault_injection_delay.yaml");
    apply_tutorial("003-virtualservice_reviews_timeout.yaml");
    long failed = 0;
    for (const Page& page : browse_at_once("tester", 12)) {
        EXPECT_EQ(page.status, 200);
        if (page.without_reviews()) {
            ++failed;
            EXPECT_EQ(page.reviews_status, 504);
            EXPECT_EQ(page.reviews_tries, 2);
            EXPECT_GE(page.reviews_millis, 2'000);
            EXPECT_LT(page.reviews_millis, app_tries_ms) << "cut by the application, not by 1 s";
        }
    }
    EXPECT_GE(failed, 1);
}

TEST_F(Tutorial003, row_07_a_timeout_of_10_s_leaves_the_application_s_own_3_s_in_charge) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_ratings_fault_injection_delay.yaml");
    std::string text = tutorial("003-virtualservice_reviews_timeout.yaml");
    text.replace(text.find("timeout: 1s"), sizeof "timeout: 1s" - 1, "timeout: 10s");
    // Only v2 waits longer than 3 s for ratings: all to v2.
    for (const auto& [from, to] : {std::pair{"weight: 10 #", "weight: 0 #"},
                                   std::pair{"weight: 10\n", "weight: 100\n"},
                                   std::pair{"weight: 80\n", "weight: 0\n"}}) {
        text.replace(text.find(from), std::string(from).size(), to);
    }
    apply("reviews.yaml", text);
    const Page page = browse("tester");
    EXPECT_TRUE(page.without_reviews()) << page.text;
    EXPECT_EQ(page.reviews_status, 0);
    EXPECT_EQ(page.reviews_tries, 2);
    EXPECT_GE(page.reviews_millis, app_tries_ms);
    EXPECT_LT(page.reviews_millis, 10'000);
}

TEST_F(Tutorial003, row_08_retries_of_3_s_do_not_save_a_page_that_gives_up_after_6) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("reviews.yaml", all_to_reviews_v2);
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_ratings_retry.yaml");
    const Page page = browse("tester");
    EXPECT_TRUE(page.without_reviews()) << page.text;
    EXPECT_EQ(page.reviews_tries, 2);
    EXPECT_GE(page.reviews_millis, app_tries_ms);
    EXPECT_LT(page.reviews_millis, 15'000) << "the delay of 15 s never ended";
    // The delay comes before the router: no try was made, none was repeated.
    EXPECT_EQ(lines_in_log("ratings-v1", "GET /ratings/0"), 0);
    others_see_black_stars();
}

TEST_F(Tutorial003, row_09_a_mirror_gets_a_copy_of_each_request_under_the_shadow_name) {
    start_with({"003-destination_rules_versioning.yaml"});
    apply("ratings.yaml", lab_file("bookinfo-ratings.yaml"));
    apply_tutorial("003-virtualservice_reviews_mirror.yaml");
    constexpr long pages = 40;
    const Served before = served();
    EXPECT_EQ(browse_often(pages).success, pages);
    EXPECT_TRUE(await([&] { return (served() - before).v1 >= pages; }, std::chrono::seconds(10)));
    const Served now = served() - before;
    EXPECT_EQ(now.v3, pages) << "v3 serves all";
    EXPECT_EQ(now.v1, pages) << "v1 gets a copy of each";
    EXPECT_EQ(now.v2, 0);
    EXPECT_EQ(served("host reviews-shadow").v1, pages);
    EXPECT_EQ(served("host reviews-shadow").v3, 0);
}

// Sends each call to the subset that it names, and the others to the host without a subset.
constexpr const char* by_subset_header = R"(
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {subset: {exact: v1}}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{headers: {subset: {exact: v2}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews}}]
)";

// A second, slow instance of a version.
constexpr const char* slow_instance = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: reviews-slow-{0}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: reviews, version: {0}, speed: slow}}}}
  template:
    metadata: {{labels: {{app: reviews, version: {0}, speed: slow}}}}
    spec:
      containers:
      - name: reviews
        image: docker.io/istio/examples-bookinfo-reviews-v1:1.20.2
        env: [{{name: RESPONSE_DELAY, value: 30ms}}]
        ports: [{{containerPort: 9080}}]
)";

// Each subset has a quick and a slow instance. Taken at random, the slow one gets half of the
// calls. By fewest requests it gets them only when both draws name it (a quarter) or when it is as
// idle as the other, which eight callers rarely let happen.
TEST_F(Tutorial003, row_10_each_subset_has_a_load_balancing_policy_of_its_own) {
    start_bookinfo({});
    apply("slow-v1.yaml", fmt::format(slow_instance, "v1"));
    apply("slow-v2.yaml", fmt::format(slow_instance, "v2"));
    apply("reviews.yaml", by_subset_header);
    apply_tutorial("003-destination_rules_load_balancing_subsets.yaml");
    constexpr long calls = 600;
    const auto half = binomial_bounds(calls, 0.5);
    const auto slow_share = [&](const std::string& subset) {
        const std::string slow = "reviews-slow-" + subset;
        const long before = lines_in_log(slow, "GET /reviews/0 ");
        const Tally tally =
            load("client",
                 "http://reviews:9080/reviews/0",
                 {"-n", std::to_string(calls), "-c", "8", "-k", "-H", "subset: " + subset});
        EXPECT_EQ(tally.success, calls) << tally.text;
        return lines_in_log(slow, "GET /reviews/0 ") - before;
    };
    EXPECT_LT(slow_share("v1"), half.low) << "LEAST_CONN";
    const long at_random = slow_share("v2");
    EXPECT_GE(at_random, half.low) << "RANDOM";
    EXPECT_LE(at_random, half.high) << "RANDOM";

    // Without a subset: in turns over all five.
    constexpr long turns = 10;
    const std::vector<std::string> all = {
        "reviews-v1", "reviews-v2", "reviews-v3", "reviews-slow-v1", "reviews-slow-v2"};
    std::vector<long> before;
    before.reserve(all.size());
    for (const auto& name : all) {
        before.push_back(lines_in_log(name, "GET /reviews/0 "));
    }
    call_reviews("/reviews/0", turns * static_cast<long>(all.size()));
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(lines_in_log(all[i], "GET /reviews/0 ") - before[i], turns) << all[i];
    }
}

TEST_F(Tutorial003, row_11_a_cookie_that_the_proxy_gives_out_keeps_a_caller_at_one_pod) {
    start_with({"003-destination_rules_sticky_session.yaml"});
    const Reply first = get("client", "http://reviews:9080/reviews/0");
    const std::size_t start = first.text.find("user=");
    ASSERT_NE(start, std::string::npos) << first.text;
    const std::string line = first.text.substr(start, first.text.find('\r', start) - start);
    EXPECT_NE(line.find("Max-Age=1800"), std::string::npos) << line;
    const std::string cookie = line.substr(0, line.find(';'));

    constexpr long calls = 40;
    const Served before = served();
    const Tally tally = load("client",
                             "http://reviews:9080/reviews/0",
                             {"-n", std::to_string(calls), "-H", "Cookie: " + cookie});
    EXPECT_EQ(tally.success, calls) << tally.text;
    const Served sticky = served() - before;
    EXPECT_EQ(std::max({sticky.v1, sticky.v2, sticky.v3}), calls)
        << sticky.v1 << " " << sticky.v2 << " " << sticky.v3;
    const Reply again = get("client", "http://reviews:9080/reviews/0", {"-H", "Cookie: " + cookie});
    EXPECT_EQ(again.text.find("Set-Cookie"), std::string::npos) << again.text;

    // Without it each connection is somebody new: all 60 at one pod would be 3 * 0.5^60 even if
    // one of them had half of the ring.
    const Served then = served();
    load("client", "http://reviews:9080/reviews/0", {"-n", "60"});
    const Served spread = served() - then;
    EXPECT_LT(std::max({spread.v1, spread.v2, spread.v3}), 60);
}

constexpr const char* fortio_pod = R"(
apiVersion: v1
kind: Pod
metadata: {name: fortio, labels: {app: fortio}}
spec:
  containers: [{name: fortio, image: "fortio/fortio:latest_release"}]
)";

// fortio gives each of its two connections ten calls. One is served, the other refused, and the
// refused one is done with its ten before the first page of the other is there: 200 ms a page
// against ten answers of the proxy itself.
TEST_F(Tutorial003, row_12_half_of_two_connections_calls_are_refused_by_the_circuit_breaker) {
    start_bookinfo({.images = {R"("*/examples-bookinfo-productpage-v1": )"
                               R"({command: [productpage], env: {PAGE_TIME: 200ms}})"}});
    apply("fortio.yaml", fortio_pod);
    apply_tutorial("003-destination_rules_productpage_circuit_breaker.yaml");
    const std::string report = run_in(
        "fortio",
        {"fortio", "load", "-c", "2", "-qps", "0", "-n", "20", "-loglevel", "Warning", page_});
    EXPECT_NE(report.find("Code 200 : 10 (50.0 %)"), std::string::npos) << report;
    EXPECT_NE(report.find("Code 503 : 10 (50.0 %)"), std::string::npos) << report;
    EXPECT_NE(report.find("Sockets used: 11 "), std::string::npos) << report;
    EXPECT_EQ(lines_in_log("productpage-v1", "/productpage for"), 10);
    // Refusals by the proxy itself eject nobody.
    EXPECT_EQ(browse().status, 200);
}

// A page that answers with the status it is asked for.
constexpr const char* failing_page = R"(
apiVersion: v1
kind: Service
metadata: {name: productpage}
spec:
  selector: {app: productpage}
  ports: [{name: http, port: 9080, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: productpage, labels: {app: productpage}}
spec:
  containers: [{name: c, image: example.org/http-echo:v1, ports: [{containerPort: 8080}]}]
)";

// The text's promise of the outlier detection: one 502, 503 or 504 of the pod itself takes it out.
TEST_F(Tutorial003, row_12_a_single_gateway_error_ejects_the_pod) {
    start({});
    apply("client.yaml", client_yaml);
    apply("productpage.yaml", failing_page);
    enrol("default");
    apply_tutorial("003-destination_rules_productpage_circuit_breaker.yaml");
    EXPECT_EQ(get("client", "http://productpage:9080/status/500").status, 500);
    EXPECT_EQ(get("client", "http://productpage:9080/status/503").status, 503);
    const long before = lines_in_log("productpage", "/after");
    const Reply refused = get("client", "http://productpage:9080/after");
    EXPECT_EQ(refused.status, 503);
    EXPECT_NE(refused.text.find("no healthy upstream"), std::string::npos) << refused.text;
    EXPECT_EQ(lines_in_log("productpage", "/after"), before);
}

}  // namespace
}  // namespace orlop::support
