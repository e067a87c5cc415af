// The lab itself, without a mesh: real namespaces, cgroups, NAT, names and processes. Needs root.
#include "daemon/lab/cgroup.h"
#include "daemon/lab/lab.h"
#include "daemon/lab/network.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"
#include "daemon/lab/remove.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <signal.h>
#include <unistd.h>

namespace orlop::lab {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

const std::string source = ORLOP_SOURCE_DIR;

std::string apps_dir() {
    return fs::read_symlink("/proc/self/exe").parent_path().parent_path().string() + "/bin/apps";
}

constexpr const char* echo_yaml = R"(
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: echo-pods}
spec:
  clusterIP: None
  selector: {app: echo}
  ports: [{port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      serviceAccountName: echo
      containers:
      - name: echo
        image: example.org/http-echo:v1
        ports: [{name: web, containerPort: 8080}]
        env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec:
  containers: [{name: c, image: curlimages/curl}]
)";

constexpr const char* job_yaml = R"(
apiVersion: batch/v1
kind: Job
metadata: {name: small}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: c
        image: pstauffer/curl
        command: ["/bin/sh", "-c"]
        args:
        - |
          echo data > /tmp/results
          for i in $(seq 1 3); do
            code=$(curl -o /dev/null -s -w "%{http_code}" --max-time 5 http://echo/status/204)
            echo "call $i $code"
          done
---
apiVersion: batch/v1
kind: Job
metadata: {name: failing}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: x, command: [sh, -c, "exit 3"]}]
)";

class LabTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "SKIPPED, needs root: network namespaces and cgroups";
        }
        rules_before_ = rules_here();
    }
    void TearDown() override {
        if (::geteuid() != 0) {
            return;
        }
        const auto removed = lab_.down();
        EXPECT_TRUE(removed) << removed.error().context;
        EXPECT_EQ(list_traces(location_), std::vector<std::string>());
        EXPECT_FALSE(fs::exists(location_.state_dir));
        EXPECT_EQ(rules_here(), rules_before_);
        for (const std::string& name : list_netns(location_.prefix)) {
            ADD_FAILURE() << "left over: " << name;
        }
    }

    // On the machine itself, outside every namespace of the lab.
    static std::string output_here(std::vector<std::string> argv) {
        Spawn request;
        request.argv = std::move(argv);
        const auto result = run_capture(std::move(request), {});
        return result ? result->out : result.error().context;
    }
    static std::string rules_here() { return output_here({"nft", "list", "tables"}); }
    static UpOptions no_mesh() {
        UpOptions options;
        options.mesh = Mesh::off;
        return options;
    }

    void start(int nodes) {
        UpOptions options = no_mesh();
        options.nodes = nodes;
        options.lab_file = source + "/deploy/lab/images.yaml";
        options.apps_dir = apps_dir();
        const auto up = lab_.up(options);
        ASSERT_TRUE(up) << up.error().context;
    }
    void apply(const std::string& name, const std::string& text) {
        const auto lines = lab_.apply({.path = name, .text = text});
        ASSERT_TRUE(lines) << lines.error().context;
    }
    void apply_tutorial(const std::string& name) {
        const auto text = read_text_file(source + "/deploy/lab/tutorials/" + name);
        ASSERT_TRUE(text);
        apply(name, *text);
    }
    void ready() {
        const auto all = lab_.wait_ready(seconds(30));
        ASSERT_TRUE(all) << all.error().context;
    }
    std::string output(const std::string& pod, const std::vector<std::string>& argv) {
        const auto result = lab_.capture(pod, argv);
        EXPECT_TRUE(result) << result.error().context;
        return result ? result->out + result->err : "";
    }
    int endpoints(const std::string& service) {
        const auto status = lab_.status();
        for (const ServiceStatus& each : status ? status->services : std::vector<ServiceStatus>()) {
            if (each.name == service) {
                return each.endpoints;
            }
        }
        return -1;
    }
    std::string service_ip(const std::string& service) {
        const auto status = lab_.status();
        for (const ServiceStatus& each : status ? status->services : std::vector<ServiceStatus>()) {
            if (each.name == service) {
                return each.cluster_ip;
            }
        }
        return "";
    }

    Location location_{fmt::format("/run/orlop-labtest-{}", ::getpid()),
                       fmt::format("orlop-lt{}", ::getpid())};
    Lab lab_{location_};
    std::string rules_before_;
};

TEST_F(LabTest, runs_the_application_of_tutorial_002_from_its_own_yaml) {
    start(1);
    for (const char* file :
         {"002-frontend.yaml", "002-product.yaml", "002-pricing.yaml", "002-inventory.yaml"}) {
        apply_tutorial(file);
    }
    ready();
    const std::string page = output("frontend", {"curl", "-s", "http://frontend/"});
    EXPECT_NE(page.find("\"name\": \"frontend\""), std::string::npos) << page;
    EXPECT_NE(page.find("\"name\": \"product\""), std::string::npos) << page;
    EXPECT_NE(page.find("\"name\": \"pricing\""), std::string::npos) << page;

    ASSERT_TRUE(lab_.scale("default", "inventory", 3));
    ready();
    EXPECT_EQ(endpoints("inventory"), 3);
    ASSERT_TRUE(lab_.scale("default", "inventory", 1));
    EXPECT_EQ(endpoints("inventory"), 1);
    const std::string many = output("product", {"http-get", "-n", "20", "http://inventory/"});
    EXPECT_NE(many.find("timeouts 0 refused 0"), std::string::npos) << many;
}

TEST_F(LabTest, services_answer_in_both_families_from_pods_and_from_the_node) {
    start(2);
    apply("echo.yaml", echo_yaml);
    ready();
    for (const char* url :
         {"http://echo/", "http://echo.default.svc.cluster.local/", "http://echo-pods:8080/"}) {
        for (const char* family : {"-4", "-6"}) {
            const std::string text = output("stranger", {"http-get", family, url});
            EXPECT_NE(text.find("HTTP/1.1 200"), std::string::npos) << url << family << text;
        }
    }
    // The server sees the pod's own address, and a pod reaches itself through its service.
    const auto stranger = lab_.find_pod("stranger");
    ASSERT_TRUE(stranger);
    EXPECT_NE(output("stranger", {"http-get", "-4", "http://echo/"}).find("peer: " + stranger->ip),
              std::string::npos);
    const std::string self = output("echo", {"http-get", "-n", "20", "http://echo/"});
    EXPECT_NE(self.find("success 20"), std::string::npos) << self;
    const std::string refused = output("stranger", {"http-get", "-t", "2s", "http://nobody/"});
    EXPECT_NE(refused.find("refused"), std::string::npos) << refused;
    const auto outside =
        lab_.capture_on_node("n1", {"http-get", "-s", "http://" + service_ip("echo") + "/"});
    ASSERT_TRUE(outside) << outside.error().context;
    EXPECT_EQ(outside->out, "200\n");
    const std::string unknown = output("stranger", {"http-get", "http://no-such-name/"});
    EXPECT_NE(unknown.find("failed after"), std::string::npos) << unknown;
}

TEST_F(LabTest, a_pod_is_alone_in_its_namespace_and_cgroup) {
    start(1);
    apply("echo.yaml", echo_yaml);
    ready();
    const auto pod = lab_.find_pod("stranger");
    ASSERT_TRUE(pod);
    EXPECT_EQ(output("stranger", {"hostname"}), "stranger\n");
    const std::string links = output("stranger", {"ip", "-br", "link"});
    EXPECT_NE(links.find("eth0"), std::string::npos);
    EXPECT_EQ(std::count(links.begin(), links.end(), '\n'), 2) << links;
    EXPECT_NE(output("stranger", {"cat", "/proc/self/cgroup"}).find("/n1/default_stranger"),
              std::string::npos);
    EXPECT_EQ(output("stranger", {"sysctl", "-n", "net.ipv4.tcp_congestion_control"}), "reno\n");
    EXPECT_EQ(output("stranger", {"sh", "-c", "echo x > /tmp/mine; cat /tmp/mine"}), "x\n");
    EXPECT_FALSE(fs::exists("/tmp/mine"));
    const auto code = lab_.exec("stranger", {"sh", "-c", "exit 7"});
    ASSERT_TRUE(code);
    EXPECT_EQ(*code, 7);
    EXPECT_EQ(output_here({"ip", "-o", "addr"}).find("10.244."), std::string::npos)
        << "a lab address on the machine";
}

TEST_F(LabTest, jobs_end_and_their_logs_stay) {
    start(1);
    apply("echo.yaml", echo_yaml);
    ready();
    apply("job.yaml", job_yaml);
    const auto small = lab_.wait_job("default", "small", seconds(30));
    ASSERT_TRUE(small) << small.error().context;
    EXPECT_EQ(small->phase, "Complete");
    const auto failing = lab_.wait_job("default", "failing", seconds(30));
    ASSERT_TRUE(failing);
    EXPECT_EQ(failing->phase, "Failed");
    EXPECT_EQ(failing->exit_code, 3);
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    ASSERT_TRUE(lab_.logs("small", Follow::no, fds[1]));
    ::close(fds[1]);
    char text[512] = "";
    ASSERT_GT(::read(fds[0], text, sizeof text - 1), 0);
    ::close(fds[0]);
    EXPECT_STREQ(text, "call 1 204\ncall 2 204\ncall 3 204\n");
    EXPECT_FALSE(fs::exists("/tmp/results")) << "a job's /tmp is its own";
    ASSERT_TRUE(lab_.remove_object("default", "job/small"));
    EXPECT_FALSE(lab_.wait_job("default", "small", seconds(1)));
}

TEST_F(LabTest, orlopd_is_told_of_pods_labels_and_sandboxes) {
    start(1);
    apply("echo.yaml", echo_yaml);
    ready();
    const auto pod = lab_.find_pod("stranger");
    ASSERT_TRUE(pod);
    const std::string pod_file = lab_.config_dir() + "/lab-pod-default-stranger.yaml";
    const std::string sandbox = location_.state_dir + "/nodes/n1/sandboxes/" + pod->uid + ".yaml";
    ASSERT_TRUE(read_text_file(pod_file));
    EXPECT_NE(read_text_file(sandbox)->find(pod->netns), std::string::npos);
    EXPECT_TRUE(fs::exists(pod->netns));

    ASSERT_TRUE(lab_.label("default", "ns/default", {"istio.io/dataplane-mode=orlop"}));
    const std::string ns_file = lab_.config_dir() + "/lab-namespace-default.yaml";
    EXPECT_NE(read_text_file(ns_file)->find("\"istio.io/dataplane-mode\": \"orlop\""),
              std::string::npos);
    ASSERT_TRUE(lab_.label("default", "ns/default", {"istio.io/dataplane-mode-"}));
    EXPECT_EQ(read_text_file(ns_file)->find("dataplane-mode"), std::string::npos);
    ASSERT_TRUE(lab_.label("default", "pod/stranger", {"istio.io/dataplane-mode=none"}));
    EXPECT_NE(read_text_file(pod_file)->find("dataplane-mode"), std::string::npos);
    EXPECT_FALSE(lab_.label("default", "ns/nowhere", {"a=b"}));

    ASSERT_TRUE(lab_.remove_object("default", "pod/stranger"));
    ASSERT_TRUE(lab_.wait_gone("stranger", seconds(30)));
    EXPECT_FALSE(fs::exists(pod_file));
    EXPECT_FALSE(fs::exists(sandbox));
    EXPECT_FALSE(fs::exists(pod->netns));
    EXPECT_FALSE(fs::exists(pod->cgroup));
}

TEST_F(LabTest, a_crashed_process_of_a_deployment_comes_back) {
    start(1);
    apply("echo.yaml", echo_yaml);
    ready();
    const auto before = lab_.find_pod("echo");
    ASSERT_TRUE(before);
    ASSERT_EQ(::kill(before->pid, SIGKILL), 0);
    const auto noticed = [&] {
        const auto now = lab_.find_pod("default/" + before->name);
        return now && now->restarts == 1;
    };
    for (int asked = 0; asked < 100'000 && !noticed(); ++asked) {
    }
    ready();
    const auto after = lab_.find_pod("default/" + before->name);
    ASSERT_TRUE(after);
    EXPECT_EQ(after->restarts, 1);
    EXPECT_NE(after->pid, before->pid);
}

TEST_F(LabTest, down_finds_everything_after_the_supervisor_was_killed) {
    start(2);
    apply("echo.yaml", echo_yaml);
    ready();
    const auto root = find_cgroup_root();
    ASSERT_TRUE(root);
    ASSERT_TRUE(kill_cgroup(*root + "/" + location_.prefix + "/supervisor", seconds(5)));
    EXPECT_FALSE(lab_.status());
    EXPECT_FALSE(lab_.up(no_mesh())) << "a crashed lab must be removed first";
    // TearDown proves that nothing is left.
}

TEST_F(LabTest, refuses_wrong_input_with_its_reason) {
    start(1);
    const auto unknown =
        lab_.apply({.path = "x.yaml",
                    .text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
                            "spec: {containers: [{name: c, image: never/heard:v1}]}\n"});
    ASSERT_FALSE(unknown);
    EXPECT_NE(unknown.error().context.find("never/heard:v1"), std::string::npos);
    EXPECT_FALSE(lab_.scale("default", "absent", 2));
    EXPECT_FALSE(lab_.exec("absent", {"true"}));
    EXPECT_FALSE(lab_.mesh("n9", MeshAction::kill));
    const auto second = lab_.up(no_mesh());
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().context.find("already here"), std::string::npos);
}

}  // namespace
}  // namespace orlop::lab
