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
    // Spans of calls of a host.
    static long count_of(const std::vector<nlohmann::json>& spans, const std::string& host) {
        return std::ranges::count_if(spans, [&](const nlohmann::json& span) {
            return span["name"].get<std::string>().starts_with(host);
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

}  // namespace
}  // namespace orlop::support
