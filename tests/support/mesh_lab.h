// MeshLab: a lab with orlopd in it, for tests that speak of pods, requests and policies.
//
// Each test gets a lab of its own, named after this process, and TearDown proves that nothing of it
// is left on the machine. Needs root and says so. The logs of orlopd are printed when a test
// failed.
//
//     start({.nodes = 2});
//     apply("echo.yaml", echo_yaml);
//     enrol("default");                       // label, then wait until every pod is captured
//     EXPECT_EQ(get("client", "http://echo/").status, 200);
#pragma once

#include "daemon/lab/lab.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace orlop::support {

struct MeshOptions {
    int nodes = 1;
    // Fields of orlop's MeshConfig in flow style, "{accessLog: text}".
    std::string mesh = "{accessLog: text}";
    std::vector<std::string> orlopd_args;
    // Entries in place of those of deploy/lab/images.yaml: "image: {command: [...], env: {...}}".
    std::vector<std::string> images;
};

struct Reply {
    int status = 0;  // 0: no answer
    double millis = 0;
    std::string text;  // all that http-get printed
};

// What http-get prints of many calls.
struct Tally {
    long requests = 0;
    long success = 0;  // below 400
    long errors = 0;
    long timeouts = 0;
    long refused = 0;
    double p50_ms = 0;
    double p99_ms = 0;
    double max_ms = 0;
    std::map<int, long> statuses;
    std::string text;
    long count(int status) const {
        const auto found = statuses.find(status);
        return found == statuses.end() ? 0 : found->second;
    }
};

class MeshLab : public ::testing::Test {
protected:
    void SetUp() override;
    void TearDown() override;

    void start(const MeshOptions& options = {});
    // As kubectl apply; returns when the pods run and every orlopd has the objects in force.
    void apply(const std::string& name, const std::string& text, const std::string& ns = "default");
    void apply_tutorial(const std::string& file, const std::string& ns = "default");
    void remove_tutorial(const std::string& file);
    // "istio.io/dataplane-mode=orlop" on the namespace; waits until all its pods are captured.
    void enrol(const std::string& ns);
    void
    label(const std::string& object, const std::string& change, const std::string& ns = "default");
    // Pods ready, files read by every orlopd, wanted pods captured, unwanted ones let go.
    void settle();
    void settle_pods();  // the same without orlopd
    bool await_serving(const std::string& node = "n1");

    Reply get(const std::string& pod,
              const std::string& url,
              const std::vector<std::string>& options = {});
    Tally
    load(const std::string& pod, const std::string& url, const std::vector<std::string>& options);
    std::string run_in(const std::string& pod, const std::vector<std::string>& argv);
    int exit_code_in(const std::string& pod, const std::vector<std::string>& argv);
    std::string run_on(const std::string& node, const std::vector<std::string>& argv);
    std::string log_of(const std::string& pod);
    long lines_in_log(const std::string& pod, const std::string& part);

    lab::PodStatus pod(const std::string& name);
    lab::ServiceStatus service(const std::string& name, const std::string& ns = "default");
    lab::NodeStatus node(const std::string& name = "n1");
    // GET of the admin socket; an empty object when there is no answer.
    nlohmann::json ask(const std::string& target, const std::string& node = "n1");
    std::string metrics(const std::string& node = "n1");
    // The sum of the series `name` whose labels hold `label`; 0 without any.
    double
    metric(const std::string& name, const std::string& label = "", const std::string& node = "n1");
    // `orlopctl ARGUMENTS` against a node's orlopd.
    std::string ctl(const std::vector<std::string>& arguments, const std::string& node = "n1");
    // Lines of a node's access log that hold all `parts`.
    long access_lines(const std::vector<std::string>& parts, const std::string& node = "n1");
    bool post(const std::string& target, const std::string& node = "n1");

    static std::string here(const std::vector<std::string>& argv);  // on the machine itself
    static std::string bin_dir();
    static std::string tutorial(const std::string& file);

    lab::Location location_;
    lab::Lab lab_{location_};
    int nodes_ = 1;
    bool up_ = false;

private:
    bool captured(const std::string& node);
    void print_logs();
};

// Lines of a text that hold all `parts`.
long lines_with(const std::string& text, const std::vector<std::string>& parts);

// Pods of most tests: `echo` (http-echo, two replicas, service ports 80 and 8080 by pod address),
// `client` and `stranger` (idle), each with a service account of its own.
extern const std::string echo_service_yaml;  // its service and account alone
extern const std::string echo_yaml;
extern const char* const client_yaml;

}  // namespace orlop::support
