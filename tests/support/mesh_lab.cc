#include "tests/support/mesh_lab.h"

#include "daemon/app/cli/session.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"
#include "daemon/lab/remove.h"
#include "tests/support/await.h"
#include "tests/support/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <unistd.h>

namespace orlop::support {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;

namespace {

constexpr seconds ready_limit{60};
constexpr seconds settle_limit{30};

std::string read_all(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string last_lines(const std::string& text, std::size_t count) {
    std::vector<std::string> lines;
    std::istringstream all(text);
    for (std::string line; std::getline(all, line);) {
        // Hundreds of refusals by STRICT are what some tests ask for.
        if (line.find("strict_refuses") == std::string::npos) {
            lines.push_back(line + "\n");
        }
    }
    const std::size_t skipped = lines.size() > count ? lines.size() - count : 0;
    return std::accumulate(
        lines.begin() + static_cast<std::ptrdiff_t>(skipped), lines.end(), std::string());
}

// Ends the test: what follows would only repeat the failure. TearDown runs all the same.
template <class Result> void require(const Result& result) {
    if (!result) {
        throw std::runtime_error(result.error().context);
    }
}
void require(bool holds, const std::string& what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

// The images of the lab file with `entries` in place of those for the same image.
std::string with_images(std::string images, const std::vector<std::string>& entries) {
    for (const std::string& entry : entries) {
        const std::string key = "\n  " + entry.substr(0, entry.find(": ") + 2);
        if (const std::size_t old = images.find(key); old != std::string::npos) {
            images.erase(old, images.find('\n', old + 1) - old);
        }
        images.insert(images.find("images:\n") + 8, "  " + entry + "\n");
    }
    return images;
}

}  // namespace

const std::string echo_service_yaml = R"(
apiVersion: v1
kind: ServiceAccount
metadata: {name: echo}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: 8080}]
)";

const std::string echo_yaml = echo_service_yaml + R"(---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 1
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      serviceAccountName: echo
      containers:
      - name: echo
        image: example.org/http-echo:v1
        ports: [{name: web, containerPort: 8080}]
)";

const char* const client_yaml = R"(
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  serviceAccountName: client
  containers: [{name: c, image: curlimages/curl}]
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: outside}
spec:
  containers: [{name: c, image: curlimages/curl}]
)";

long lines_with(const std::string& text, const std::vector<std::string>& parts) {
    std::istringstream lines(text);
    long count = 0;
    for (std::string line; std::getline(lines, line);) {
        const bool all = std::ranges::all_of(
            parts, [&](const std::string& part) { return line.find(part) != std::string::npos; });
        count += all ? 1 : 0;
    }
    return count;
}

std::string MeshLab::bin_dir() {
    return fs::read_symlink("/proc/self/exe").parent_path().parent_path().string() + "/bin";
}

std::string MeshLab::tutorial(const std::string& file) {
    return read_all(std::string(ORLOP_SOURCE_DIR) + "/deploy/lab/tutorials/" + file);
}

std::string MeshLab::here(const std::vector<std::string>& argv) {
    lab::Spawn request;
    request.argv = argv;
    const auto result = lab::run_capture(std::move(request), {});
    return result ? result->out : result.error().context;
}

void MeshLab::SetUp() {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "SKIPPED, needs root: network namespaces, cgroups and BPF";
    }
    location_ = {fmt::format("/run/orlop-e2e-{}", ::getpid()),
                 fmt::format("orlop-e2e{}", ::getpid())};
    lab_ = lab::Lab(location_);
}

void MeshLab::TearDown() {
    if (::geteuid() != 0) {
        return;
    }
    if (HasFailure() && up_) {
        print_logs();
    }
    const auto removed = lab_.down();
    EXPECT_TRUE(removed) << removed.error().context;
    EXPECT_EQ(lab::list_traces(location_), std::vector<std::string>());
}

void MeshLab::print_logs() {
    for (int number = 1; number <= nodes_; ++number) {
        const std::string folder = fmt::format("{}/nodes/n{}", location_.state_dir, number);
        for (const char* file : {"orlopd.log", "orlopd.access.log"}) {
            fmt::print(
                "--- n{} {}\n{}\n", number, file, last_lines(read_all(folder + "/" + file), 40));
        }
    }
    std::fflush(stdout);
}

void MeshLab::start(const MeshOptions& options) {
    nodes_ = options.nodes;
    const std::string lab_file = fmt::format("/run/orlop-e2e-{}.images.yaml", ::getpid());
    require(lab::write_atomically(
        lab_file,
        with_images(read_all(std::string(ORLOP_SOURCE_DIR) + "/deploy/lab/images.yaml"),
                    options.images)));
    lab::UpOptions up;
    up.nodes = options.nodes;
    up.lab_file = lab_file;
    up.apps_dir = bin_dir() + "/apps";
    up.orlopd_path = bin_dir() + "/orlopd";
    up.orlopd_args = options.orlopd_args;
    const auto started = lab_.up(up);
    fs::remove(lab_file);
    require(started);
    up_ = true;
    for (int number = 1; number <= nodes_; ++number) {
        require(await_serving(fmt::format("n{}", number)), "orlopd does not serve");
    }
    apply("mesh.yaml",
          "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: default}\nspec: " +
              options.mesh + "\n");
}

bool MeshLab::await_serving(const std::string& name) {
    const std::string socket = fmt::format("{}/nodes/{}/orlopd.sock", location_.state_dir, name);
    return await(
        [&] {
            const auto answer = app::cli::ask(socket, "GET", "/healthz/ready");
            return answer && answer->status == 200;
        },
        settle_limit);
}

void MeshLab::apply(const std::string& name, const std::string& text, const std::string& ns) {
    const auto lines = lab_.apply({.path = name, .text = text, .ns = ns});
    require(lines);
    settle();
}

void MeshLab::apply_tutorial(const std::string& file, const std::string& ns) {
    const std::string text = tutorial(file);
    require(!text.empty(), "no tutorial file " + file);
    apply(file, text, ns);
}

void MeshLab::remove_tutorial(const std::string& file) {
    const auto lines = lab_.remove({.path = file, .text = tutorial(file)});
    require(lines);
    settle();
}

void MeshLab::label(const std::string& object, const std::string& change, const std::string& ns) {
    const auto done = lab_.label(ns, object, {change});
    require(done);
}

void MeshLab::enrol(const std::string& ns) {
    label("ns/" + ns, "istio.io/dataplane-mode=orlop");
    settle();
}

void MeshLab::settle_pods() {
    const auto ready = lab_.wait_ready(ready_limit);
    require(ready);
}

void MeshLab::settle() {
    settle_pods();
    for (int number = 1; number <= nodes_; ++number) {
        const std::string name = fmt::format("n{}", number);
        require(await([&] { return captured(name); }, settle_limit),
                name + " does not capture what it should: " + ask("/status", name).dump());
    }
    // What one node did (its pods take HBONE now) reaches the others by a file.
    for (int number = 1; number <= nodes_; ++number) {
        require(post("/refresh", fmt::format("n{}", number)), "orlopd does not answer");
    }
}

bool MeshLab::captured(const std::string& name) {
    if (!post("/refresh", name)) {
        return false;
    }
    const json status = ask("/status", name);
    if (!status.contains("pods") || !status["pods"]["pending"].empty()) {
        return false;
    }
    // As many pods known as the lab has, and all callers know who takes mutual TLS.
    const auto lab_status = lab_.status();
    const json workloads = ask("/config/workloads", name);
    if (!lab_status || !workloads.contains("workloads")) {
        return false;
    }
    std::size_t known = 0;
    for (const json& row : workloads["workloads"]) {
        const bool redirected = row.value("protocol", "") == "HBONE";
        if (row.value("enrolled", false) != redirected) {
            return false;
        }
        ++known;
    }
    std::size_t running = 0;
    for (const auto& pod : lab_status->pods) {
        running += pod.phase == "Running" ? 1 : 0;
    }
    return known >= running;
}

Reply MeshLab::get(const std::string& pod,
                   const std::string& url,
                   const std::vector<std::string>& options) {
    std::vector<std::string> argv = {"http-get"};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(url);
    Reply reply;
    reply.text = run_in(pod, argv);
    if (reply.text.starts_with("HTTP/1.")) {
        reply.status = static_cast<int>(whole_number_after(reply.text, " "));
    }
    reply.millis = number_after(reply.text, reply.status != 0 ? "\ntime: " : "failed after ");
    return reply;
}

Tally MeshLab::load(const std::string& pod,
                    const std::string& url,
                    const std::vector<std::string>& options) {
    std::vector<std::string> argv = {"http-get"};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(url);
    Tally tally;
    tally.text = run_in(pod, argv);
    tally.requests = whole_number_after(tally.text, "requests ");
    tally.success = whole_number_after(tally.text, "success ");
    tally.errors = whole_number_after(tally.text, "errors ");
    tally.timeouts = whole_number_after(tally.text, "timeouts ");
    tally.refused = whole_number_after(tally.text, "refused ");
    tally.p50_ms = number_after(tally.text, "p50_ms ");
    tally.p99_ms = number_after(tally.text, "p99_ms ");
    tally.max_ms = number_after(tally.text, "max_ms ");
    std::istringstream lines(tally.text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("status ")) {
            const auto status = static_cast<int>(whole_number_after(line, "status "));
            tally.statuses[status] = whole_number_after(line, " ", sizeof "status");
        }
    }
    return tally;
}

std::string MeshLab::run_in(const std::string& pod, const std::vector<std::string>& argv) {
    const auto result = lab_.capture(pod, argv);
    EXPECT_TRUE(result) << result.error().context;
    return result ? result->out + result->err : "";
}

int MeshLab::exit_code_in(const std::string& pod, const std::vector<std::string>& argv) {
    const auto result = lab_.capture(pod, argv);
    EXPECT_TRUE(result) << result.error().context;
    return result ? result->exit_code : -1;
}

std::string MeshLab::run_on(const std::string& node, const std::vector<std::string>& argv) {
    const auto result = lab_.capture_on_node(node, argv);
    EXPECT_TRUE(result) << result.error().context;
    return result ? result->out + result->err : "";
}

std::string MeshLab::log_of(const std::string& pod) {
    const std::string path = fmt::format("{}/read-log", location_.state_dir);
    std::FILE* file = std::fopen(path.c_str(), "we");
    if (file == nullptr) {
        return "";
    }
    const auto copied = lab_.logs(pod, lab::Follow::no, ::fileno(file));
    std::fclose(file);
    EXPECT_TRUE(copied) << copied.error().context;
    return read_all(path);
}

long MeshLab::lines_in_log(const std::string& pod, const std::string& part) {
    return lines_with(log_of(pod), {part});
}

long MeshLab::access_lines(const std::vector<std::string>& parts, const std::string& name) {
    return lines_with(
        read_all(fmt::format("{}/nodes/{}/orlopd.access.log", location_.state_dir, name)), parts);
}

lab::PodStatus MeshLab::pod(const std::string& name) {
    const auto found = lab_.find_pod(name);
    EXPECT_TRUE(found) << found.error().context;
    return found ? *found : lab::PodStatus{};
}

lab::ServiceStatus MeshLab::service(const std::string& name, const std::string& ns) {
    const auto status = lab_.status();
    for (const auto& each : status ? status->services : std::vector<lab::ServiceStatus>()) {
        if (each.name == name && each.ns == ns) {
            return each;
        }
    }
    ADD_FAILURE() << "no service " << ns << "/" << name;
    return {};
}

lab::NodeStatus MeshLab::node(const std::string& name) {
    const auto status = lab_.status();
    for (const auto& each : status ? status->nodes : std::vector<lab::NodeStatus>()) {
        if (each.name == name) {
            return each;
        }
    }
    ADD_FAILURE() << "no node " << name;
    return {};
}

json MeshLab::ask(const std::string& target, const std::string& name) {
    const std::string socket = fmt::format("{}/nodes/{}/orlopd.sock", location_.state_dir, name);
    const auto answer = app::cli::ask(socket, "GET", target);
    return answer ? json::parse(answer->body, nullptr, false) : json::object();
}

bool MeshLab::post(const std::string& target, const std::string& name) {
    const std::string socket = fmt::format("{}/nodes/{}/orlopd.sock", location_.state_dir, name);
    const auto answer = app::cli::ask(socket, "POST", target);
    return answer && answer->status == 200;
}

std::string MeshLab::metrics(const std::string& name) {
    const std::string socket = fmt::format("{}/nodes/{}/orlopd.sock", location_.state_dir, name);
    const auto answer = app::cli::ask(socket, "GET", "/metrics");
    return answer ? answer->body : "";
}

double MeshLab::metric(const std::string& name, const std::string& label, const std::string& node) {
    std::istringstream lines(metrics(node));
    double sum = 0;
    for (std::string line; std::getline(lines, line);) {
        const bool same =
            line.starts_with(name) && (line[name.size()] == '{' || line[name.size()] == ' ');
        if (same && line.find(label) != std::string::npos) {
            sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
        }
    }
    return sum;
}

std::string MeshLab::ctl(const std::vector<std::string>& arguments, const std::string& name) {
    std::vector<std::string> argv = {bin_dir() + "/orlopctl", "--socket", node(name).socket};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return here(argv);
}

}  // namespace orlop::support
