// orlopctl lab: pods of one machine, through daemon/lab.
#include "daemon/lab/lab.h"

#include "daemon/app/cli/commands.h"
#include "daemon/app/cli/table.h"
#include "daemon/base/clock.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

namespace orlop::app::cli {

using nlohmann::json;

namespace {

constexpr auto mesh_start_max = std::chrono::seconds(20);

lab::Lab open_lab(const Session& session) {
    return lab::Lab({session.lab_dir, session.lab_prefix});
}

int finish(Session& session, const Result<void>& result) {
    return result ? exit_code::ok : tell_error(session, result.error());
}

// A pod by itself is looked for in the session's namespace.
std::string pod_name(const Session& session, const std::string& pod) {
    return session.ns.empty() || pod.find('/') != std::string::npos ? pod : session.ns + "/" + pod;
}

json pod_json(const lab::PodStatus& pod) {
    return {{"namespace", pod.ns},
            {"name", pod.name},
            {"uid", pod.uid},
            {"node", pod.node},
            {"phase", pod.phase},
            {"ready", pod.ready},
            {"ip", pod.ip},
            {"ip6", pod.ip6},
            {"serviceAccount", pod.service_account},
            {"labels", pod.labels},
            {"restarts", pod.restarts},
            {"pid", pod.pid},
            {"netns", pod.netns},
            {"cgroup", pod.cgroup},
            {"owner", pod.owner}};
}

json status_json(const lab::Status& status) {
    json out = {{"nodes", json::array()},
                {"pods", json::array()},
                {"services", json::array()},
                {"jobs", json::array()}};
    for (const auto& node : status.nodes) {
        out["nodes"].push_back({{"name", node.name},
                                {"netns", node.netns},
                                {"ip", node.ip},
                                {"ip6", node.ip6},
                                {"cgroup", node.cgroup},
                                {"stateDir", node.state_dir},
                                {"socket", node.socket},
                                {"orlopdPid", node.orlopd_pid},
                                {"mesh", node.mesh_state}});
    }
    for (const auto& pod : status.pods) {
        out["pods"].push_back(pod_json(pod));
    }
    for (const auto& service : status.services) {
        out["services"].push_back({{"namespace", service.ns},
                                   {"name", service.name},
                                   {"type", service.type},
                                   {"clusterIP", service.cluster_ip},
                                   {"clusterIP6", service.cluster_ip6},
                                   {"ports", service.ports},
                                   {"endpoints", service.endpoints}});
    }
    for (const auto& job : status.jobs) {
        out["jobs"].push_back({{"namespace", job.ns},
                               {"name", job.name},
                               {"phase", job.phase},
                               {"exitCode", job.exit_code}});
    }
    return out;
}

void print_status(Session& session, const lab::Status& status) {
    Table nodes({"NODE", "IP", "IPV6", "MESH", "ORLOPD PID"});
    for (const auto& node : status.nodes) {
        nodes.add({node.name,
                   node.ip,
                   node.ip6,
                   node.mesh_state,
                   node.orlopd_pid == 0 ? "-" : std::to_string(node.orlopd_pid)});
    }
    Table pods({"NAMESPACE", "POD", "READY", "STATUS", "RESTARTS", "IP", "NODE", "LABELS"});
    for (const auto& pod : status.pods) {
        pods.add({pod.ns,
                  pod.name,
                  pod.ready ? "1/1" : "0/1",
                  pod.phase,
                  std::to_string(pod.restarts),
                  pod.ip,
                  pod.node,
                  pod.labels});
    }
    Table services({"NAMESPACE", "SERVICE", "TYPE", "CLUSTER-IP", "PORT(S)", "ENDPOINTS"});
    for (const auto& service : status.services) {
        services.add({service.ns,
                      service.name,
                      service.type,
                      service.cluster_ip,
                      service.ports,
                      std::to_string(service.endpoints)});
    }
    Table jobs({"NAMESPACE", "JOB", "STATUS", "EXIT CODE"});
    for (const auto& job : status.jobs) {
        jobs.add({job.ns, job.name, job.phase, std::to_string(job.exit_code)});
    }
    bool first = true;
    for (const Table* table : {&nodes, &pods, &services, &jobs}) {
        if (!table->empty()) {
            fmt::print(session.out, "{}{}", first ? "" : "\n", table->render());
            first = false;
        }
    }
}

// The supervisor starts orlopd and goes on: apply wants one that answers.
int wait_for_mesh(Session& session, const LabUpOptions& options) {
    Instant deadline = monotonic_now() + mesh_start_max;
    for (int node = 1; node <= options.nodes; ++node) {
        std::string folder = fmt::format("{}/nodes/n{}", session.lab_dir, node);
        auto answer = ask(folder + "/orlopd.sock", "GET", "/healthz/ready");
        while (!(answer && answer->status == 200) && monotonic_now() < deadline) {
            ::poll(nullptr, 0, 50);
            answer = ask(folder + "/orlopd.sock", "GET", "/healthz/ready");
        }
        if (!answer || answer->status != 200) {
            return tell_error(
                session,
                fmt::format("orlopd of n{} does not serve; see {}/orlopd.log", node, folder));
        }
    }
    return exit_code::ok;
}

}  // namespace

int run_lab_up(Session& session, const LabUpOptions& options) {
    lab::Lab lab = open_lab(session);
    lab::UpOptions up;
    up.nodes = options.nodes;
    up.lab_file = options.images;
    up.apps_dir = options.apps_dir;
    up.orlopd_path = options.orlopd;
    up.mesh = options.no_mesh ? lab::Mesh::off : lab::Mesh::on;
    up.families = options.v4_only ? lab::Families::v4_only : lab::Families::dual;
    if (auto started = lab.up(up); !started) {
        return tell_error(session, started.error());
    }
    fmt::print(
        session.err, "The lab is up: {} node{}.\n", options.nodes, options.nodes == 1 ? "" : "s");
    if (!options.no_mesh) {
        if (int code = wait_for_mesh(session, options); code != exit_code::ok) {
            return code;
        }
    }
    if (options.files.empty()) {
        return exit_code::ok;
    }
    Session at_lab = session;
    at_lab.socket = session.lab_dir + "/nodes/n1/orlopd.sock";
    int code = run_apply(at_lab, {options.files, ""});
    if (code == exit_code::ok && options.wait_seconds > 0) {
        code = finish(session, lab.wait_ready(std::chrono::seconds(options.wait_seconds)));
    }
    return code;
}

int run_lab_down(Session& session) {
    return finish(session, open_lab(session).down());
}

int run_lab_ps(Session& session) {
    auto status = open_lab(session).status();
    if (!status) {
        return tell_error(session, status.error());
    }
    if (!print_structured(session, status_json(*status))) {
        print_status(session, *status);
    }
    return exit_code::ok;
}

int run_lab_exec(Session& session, const LabExecOptions& options) {
    lab::Lab lab = open_lab(session);
    std::fflush(session.out);
    std::vector<std::string> command = options.command;
    if (command.size() > 1 && command.front() == "--") {
        command.erase(command.begin());
    }
    auto code = options.on_node ? lab.exec_on_node(options.pod, command)
                                : lab.exec(pod_name(session, options.pod), command);
    return code ? *code : tell_error(session, code.error());
}

int run_lab_logs(Session& session, const LogsOptions& options) {
    std::fflush(session.out);
    return finish(session,
                  open_lab(session).logs(pod_name(session, options.pod),
                                         options.follow ? lab::Follow::yes : lab::Follow::no,
                                         ::fileno(session.out)));
}

int run_lab_scale(Session& session, const LabScaleOptions& options) {
    std::string name = options.object;
    for (const char* prefix : {"deployment/", "deploy/", "deployments/"}) {
        if (name.starts_with(prefix)) {
            name = name.substr(std::string_view(prefix).size());
            break;
        }
    }
    if (name.empty() || name.find('/') != std::string::npos) {
        return tell_error(
            session, "only deployments can be scaled: scale deployment/NAME", exit_code::usage);
    }
    auto scaled = open_lab(session).scale(session.ns_or_default(), name, options.replicas);
    if (!scaled) {
        return tell_error(session, scaled.error());
    }
    fmt::print(session.out, "deployment/{} scaled\n", name);
    return exit_code::ok;
}

int run_lab_label(Session& session, const LabLabelOptions& options) {
    std::vector<std::string> words = options.words;
    std::string object = words.front();
    words.erase(words.begin());
    if (object.find('/') == std::string::npos && !words.empty()) {
        object += "/" + words.front();
        words.erase(words.begin());
    }
    if (object.starts_with("namespace/")) {
        object = "ns/" + object.substr(10);
    }
    std::erase_if(words, [](const std::string& word) { return word == "--overwrite"; });
    if (words.empty()) {
        return tell_error(
            session, "no change is named: write key=value, or key- to remove", exit_code::usage);
    }
    lab::Lab lab = open_lab(session);
    bool labels = options.target == LabMetadata::labels;
    auto done = labels ? lab.label(session.ns_or_default(), object, words)
                       : lab.annotate(session.ns_or_default(), object, words);
    if (!done) {
        return tell_error(session, done.error());
    }
    fmt::print(session.out, "{} {}\n", object, labels ? "labeled" : "annotated");
    return exit_code::ok;
}

int run_lab_mesh(Session& session, const LabMeshOptions& options) {
    lab::MeshAction action = options.action == "start"     ? lab::MeshAction::start
                             : options.action == "stop"    ? lab::MeshAction::stop
                             : options.action == "restart" ? lab::MeshAction::restart
                                                           : lab::MeshAction::kill;
    return finish(session, open_lab(session).mesh(options.node, action));
}

int run_lab_wait(Session& session, const LabWaitOptions& options) {
    lab::Lab lab = open_lab(session);
    std::chrono::seconds limit(options.seconds);
    if (options.object.empty()) {
        return finish(session, lab.wait_ready(limit));
    }
    if (!options.object.starts_with("job/")) {
        return tell_error(session, "wait takes nothing, or job/NAME", exit_code::usage);
    }
    auto job = lab.wait_job(session.ns_or_default(), options.object.substr(4), limit);
    if (!job) {
        return tell_error(session, job.error());
    }
    fmt::print(session.out, "job/{} {} (exit code {})\n", job->name, job->phase, job->exit_code);
    return job->phase == "Complete" ? exit_code::ok : exit_code::failed;
}

int run_lab_supervise(Session& session) {
    return lab::run_supervisor(session.lab_dir);
}

}  // namespace orlop::app::cli
