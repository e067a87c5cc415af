// Tutorial 000, "Using Istio for fault-tolerance": a release of bookinfo's details whose first call
// hangs, cut by a timeout and healed by a retry. The tutorial names its files without showing them;
// the objects below are what its text says.
#include "tests/support/mesh_lab.h"
#include "tests/support/text.h"

#include <fmt/core.h>

namespace orlop::support {
namespace {

// demo3/details-bad-release.yaml only adds the feature flag that makes the first call hang.
constexpr const char* details_release = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: details-v1, labels: {app: details, version: v1}}
spec:
  replicas: 1
  selector: {matchLabels: {app: details, version: v1}}
  template:
    metadata: {labels: {app: details, version: v1}}
    spec:
      containers:
      - name: details
        image: docker.io/istio/examples-bookinfo-details-v1:1.20.2
        ports: [{containerPort: 9080}]
)";
constexpr const char* feature_flag = R"(
        env:
        - {name: HANG_FIRST_CALL, value: "1"}
)";

constexpr const char* services_and_page = R"(
apiVersion: v1
kind: Service
metadata: {name: details, labels: {app: details, service: details}}
spec:
  selector: {app: details}
  ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: Service
metadata: {name: productpage, labels: {app: productpage, service: productpage}}
spec:
  selector: {app: productpage}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: productpage-v1, labels: {app: productpage, version: v1}}
spec:
  replicas: 1
  selector: {matchLabels: {app: productpage, version: v1}}
  template:
    metadata: {labels: {app: productpage, version: v1}}
    spec:
      containers:
      - name: productpage
        image: docker.io/istio/examples-bookinfo-productpage-v1:1.20.2
        ports: [{containerPort: 9080}]
)";

// demo3/details-virtualservice.yaml, -timeout.yaml, -retry.yaml: the same object each time.
constexpr const char* virtual_service = R"(
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: details}
spec:
  hosts: [details]
  http:
  - route: [{destination: {host: details}}]
)";
constexpr const char* with_timeout = "    timeout: 5s\n";
constexpr const char* with_retry = "    retries: {attempts: 1, perTryTimeout: 2s, retryOn: 5xx}\n";

// The application's own limit is 30 s; here 17 s, which is still above the 15 s that a proxy with a
// default timeout would allow.
constexpr double app_limit_ms = 17'000;
constexpr double five_seconds_ms = 5'000;
constexpr double two_seconds_ms = 2'000;

class Tutorial000 : public MeshLab {
protected:
    void bookinfo_with_bad_details(const std::string& rule) {
        start({.images = {R"("*/examples-bookinfo-productpage-v1": )"
                          R"({command: [productpage], env: {APP_LIMIT: 17s}})"}});
        apply("bookinfo.yaml", services_and_page);
        apply("details.yaml", details_release);
        apply("client.yaml", client_yaml);
        enrol("default");
        apply("details-virtualservice.yaml", virtual_service);
        expect_whole_page(browse());
        apply("details-bad-release.yaml", std::string(details_release) + feature_flag);
        apply("rule.yaml", virtual_service + rule);
    }
    Reply browse() { return get("client", "http://productpage:9080/productpage", {"-t", "40s"}); }
    // How long the page waited for details, and with what answer (0: none).
    static long details(const Reply& page, const std::string& field) {
        return whole_number_after(page.text, field + ": ");
    }
    static void expect_whole_page(const Reply& page) {
        EXPECT_EQ(page.status, 200) << page.text;
        EXPECT_NE(page.text.find("William Shakespeare"), std::string::npos) << page.text;
    }
    static void expect_page_without_details(const Reply& page) {
        EXPECT_EQ(page.status, 200) << page.text;
        EXPECT_NE(page.text.find("Error fetching product details"), std::string::npos) << page.text;
    }
};

TEST_F(Tutorial000, row_2_without_a_timeout_the_application_s_own_limit_ends_a_hanging_call) {
    bookinfo_with_bad_details("");
    const Reply page = browse();
    expect_page_without_details(page);
    EXPECT_EQ(details(page, "X-Details-Status"), 0) << "the proxy answered for details";
    EXPECT_GE(details(page, "X-Details-Millis"), app_limit_ms);
    EXPECT_EQ(lines_in_log("details-v1", "GET /details/0"), 1);
    expect_whole_page(browse());  // only the first call hangs
}

TEST_F(Tutorial000, row_3_with_a_timeout_of_5_s_the_page_comes_after_5_s_without_details) {
    bookinfo_with_bad_details(with_timeout);
    const auto same_pod = pod("details-v1");
    const Reply page = browse();
    expect_page_without_details(page);
    EXPECT_EQ(details(page, "X-Details-Status"), 504);
    EXPECT_GE(details(page, "X-Details-Millis"), five_seconds_ms);
    EXPECT_LT(page.millis, app_limit_ms);
    EXPECT_EQ(lines_in_log("details-v1", "GET /details/0"), 1);
    EXPECT_EQ(pod("details-v1").uid, same_pod.uid);
}

TEST_F(Tutorial000, row_4_with_a_retry_the_first_try_is_cut_at_2_s_and_the_second_succeeds) {
    bookinfo_with_bad_details(with_retry);
    const auto same_pod = pod("details-v1");
    const Reply page = browse();
    expect_whole_page(page);
    EXPECT_EQ(details(page, "X-Details-Status"), 200);
    EXPECT_GE(details(page, "X-Details-Millis"), two_seconds_ms);
    EXPECT_LT(page.millis, five_seconds_ms);
    EXPECT_EQ(lines_in_log("details-v1", "GET /details/0"), 2) << log_of("details-v1");
    EXPECT_EQ(pod("details-v1").uid, same_pod.uid);
}

}  // namespace
}  // namespace orlop::support
