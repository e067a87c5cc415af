#include "daemon/lab/lab.h"

#include "daemon/base/clock.h"
#include "daemon/base/unique_fd.h"
#include "daemon/lab/cgroup.h"
#include "daemon/lab/config.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"
#include "daemon/lab/remove.h"
#include "daemon/lab/status_wire.h"
#include "daemon/lab/wire.h"

#include <climits>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <unistd.h>

namespace orlop::lab {

namespace fs = std::filesystem;

namespace {

using std::chrono::milliseconds;

constexpr milliseconds poll_interval{20};
constexpr std::chrono::seconds start_limit{60};
constexpr std::chrono::seconds mesh_stop_limit{40};  // orlopd drains up to 25 s

std::string own_folder() {
    char path[PATH_MAX];
    const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
    return size <= 0
               ? "."
               : fs::path(std::string(path, static_cast<std::size_t>(size))).parent_path().string();
}

std::string absolute(const std::string& path) {
    std::error_code ignored;
    return path.empty() ? path : fs::absolute(path, ignored).lexically_normal().string();
}

Result<void> check_machine() {
    if (::geteuid() != 0) {
        return fail(ErrorKind::denied, "the lab makes network namespaces: run it as root (sudo)");
    }
    for (const char* program : {"ip", "nft", "dnsmasq"}) {
        if (!program_exists(program)) {
            return fail(ErrorKind::not_found,
                        fmt::format("{} is not installed: apt-get install iproute2 nftables "
                                    "dnsmasq-base",
                                    program));
        }
    }
    return {};
}

bool plain_name(const std::string& name) {
    return !name.empty() && name.size() <= 32 &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

Result<LabConfig> config_of(const Location& location, const UpOptions& options) {
    if (options.nodes < 1 || options.nodes > 2) {
        return fail(ErrorKind::invalid_input, "--nodes must be 1 or 2");
    }
    if (!plain_name(location.prefix)) {
        return fail(ErrorKind::invalid_input,
                    "the lab's name prefix must be lower-case letters, digits and '-'");
    }
    const auto root = find_cgroup_root();
    if (!root) {
        return std::unexpected(root.error());
    }
    LabConfig config;
    config.location = location;
    config.location.state_dir = absolute(location.state_dir);
    config.nodes = options.nodes;
    config.families = options.families;
    config.mesh = options.mesh;
    config.cgroup_root = *root;
    config.lab_file = absolute(options.lab_file);
    config.apps_dir =
        absolute(options.apps_dir.empty() ? own_folder() + "/apps" : options.apps_dir);
    config.orlopd_path =
        absolute(options.orlopd_path.empty() ? own_folder() + "/orlopd" : options.orlopd_path);
    config.orlopd_args = options.orlopd_args;
    if (config.mesh == Mesh::on && !program_exists(config.orlopd_path)) {
        return fail(ErrorKind::not_found,
                    fmt::format("no orlopd at {}: build it, name it, or start without a mesh "
                                "(--no-mesh)",
                                config.orlopd_path));
    }
    return config;
}

Result<void> make_state(const LabConfig& config) {
    const LabLayout layout(config);
    std::error_code error;
    for (const std::string& folder : {layout.config_dir(), layout.logs_dir(), layout.pods_dir()}) {
        fs::create_directories(folder, error);
        if (error) {
            return fail_errno(error.value(), "make folder " + folder);
        }
    }
    if (auto made = make_cgroup(layout.supervisor_cgroup()); !made) {
        return made;
    }
    return write_atomically(config_path(config.location), render_config(config));
}

[[noreturn]] void become_supervisor(const LabConfig& config, int log) {
    // Twice forked: the caller never has to wait for it, whatever it is.
    if (::fork() != 0) {
        ::_exit(0);
    }
    ::setsid();
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(null, 0);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::close_range(3, ~0U, 0);
    ::_exit(run_supervisor(config.location.state_dir));
}

// The supervisor as a program of its own, or as a fork of this one; either way in its cgroup.
Result<void> launch(const LabConfig& config, const std::vector<std::string>& command) {
    const LabLayout layout(config);
    const std::string path = config.location.state_dir + "/supervisor.log";
    UniqueFd log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.valid()) {
        return fail_errno(errno, "open " + path);
    }
    if (!command.empty()) {
        Spawn request;
        request.argv = command;
        request.place.cgroup = layout.supervisor_cgroup();
        request.stdout_fd = log.get();
        request.stderr_fd = log.get();
        request.session = Session::own;
        const auto pid = spawn(request);
        return pid ? Result<void>{} : std::unexpected(pid.error());
    }
    const pid_t pid = ::fork();
    if (pid < 0) {
        return fail_errno(errno, "fork");
    }
    if (pid == 0) {
        const std::string procs = layout.supervisor_cgroup() + "/cgroup.procs";
        const int group = ::open(procs.c_str(), O_WRONLY | O_CLOEXEC);
        if (group < 0 || ::write(group, "0", 1) != 1) {
            ::_exit(1);
        }
        become_supervisor(config, log.get());
    }
    ::waitpid(pid, nullptr, 0);
    return {};
}

Result<void> wait_for_supervisor(const LabConfig& config) {
    const LabLayout layout(config);
    const std::string failed = config.location.state_dir + "/supervisor.failed";
    const Instant deadline = monotonic_now() + start_limit;
    while (monotonic_now() < deadline) {
        if (connect_to(layout.socket())) {
            return {};
        }
        if (const auto reason = read_text_file(failed)) {
            return fail(ErrorKind::system, *reason);
        }
        if (!cgroup_populated(layout.supervisor_cgroup())) {
            const auto log = read_text_file(config.location.state_dir + "/supervisor.log");
            return fail(ErrorKind::system, "the lab's supervisor died: " + (log ? *log : ""));
        }
        ::poll(nullptr, 0, static_cast<int>(poll_interval.count()));
    }
    return fail(ErrorKind::timed_out, "the lab's supervisor does not answer: see supervisor.log");
}

}  // namespace

Result<void> Lab::up(const UpOptions& options) {
    if (auto good = check_machine(); !good) {
        return good;
    }
    const auto config = config_of(location_, options);
    if (!config) {
        return std::unexpected(config.error());
    }
    if (const auto traces = list_traces(location_); !traces.empty()) {
        return fail(ErrorKind::denied,
                    fmt::format("a lab is already here ({}): remove it with `orlopctl lab down`",
                                traces.front()));
    }
    auto step = make_state(*config);
    if (step) {
        step = launch(*config, options.supervisor_command);
    }
    if (step) {
        step = wait_for_supervisor(*config);
    }
    if (!step) {
        const auto removed = down();
        return removed
                   ? step
                   : fail(step.error().kind, step.error().context + "\n" + removed.error().context);
    }
    return {};
}

Result<std::vector<std::string>> Lab::call(const std::vector<std::string>& fields) {
    const auto peer = connect_to(location_.state_dir + "/lab.sock");
    if (!peer) {
        return fail(ErrorKind::not_found,
                    fmt::format("no lab runs here ({}): start one with `orlopctl lab up`",
                                peer.error().context));
    }
    if (auto sent = send_message(peer->get(), fields); !sent) {
        return std::unexpected(sent.error());
    }
    auto answer = receive_message(peer->get(), Wait::forever);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (answer->size() >= 3 && answer->front() == "error") {
        return fail(static_cast<ErrorKind>(number_of((*answer)[1], 0)), (*answer)[2]);
    }
    if (answer->empty() || answer->front() != "ok") {
        return fail(ErrorKind::internal, "the lab's supervisor answered nonsense");
    }
    answer->erase(answer->begin());
    return answer;
}

Result<std::vector<std::string>> Lab::apply(const ManifestText& manifest) {
    return call({"apply", manifest.ns, manifest.path, manifest.text});
}

Result<std::vector<std::string>> Lab::remove(const ManifestText& manifest) {
    return call({"remove", manifest.ns, manifest.path, manifest.text});
}

namespace {

Result<void> without_lines(const Result<std::vector<std::string>>& answer) {
    return answer ? Result<void>{} : std::unexpected(answer.error());
}

}  // namespace

Result<void> Lab::remove_object(const std::string& ns, const std::string& object) {
    return without_lines(call({"remove-object", ns, object}));
}

Result<void> Lab::scale(const std::string& ns, const std::string& deployment, int replicas) {
    return without_lines(call({"scale", ns, deployment, std::to_string(replicas)}));
}

Result<void> Lab::label(const std::string& ns,
                        const std::string& object,
                        const std::vector<std::string>& changes) {
    std::vector<std::string> fields = {"label", ns, object};
    fields.insert(fields.end(), changes.begin(), changes.end());
    return without_lines(call(fields));
}

Result<void> Lab::annotate(const std::string& ns,
                           const std::string& object,
                           const std::vector<std::string>& changes) {
    std::vector<std::string> fields = {"annotate", ns, object};
    fields.insert(fields.end(), changes.begin(), changes.end());
    return without_lines(call(fields));
}

Result<Status> Lab::status() {
    const auto records = call({"status"});
    if (!records) {
        return std::unexpected(records.error());
    }
    return read_status(*records);
}

Result<void> Lab::wait_ready(milliseconds limit) {
    const Instant deadline = monotonic_now() + limit;
    for (;;) {
        const auto now = status();
        if (!now) {
            return std::unexpected(now.error());
        }
        std::string waiting;
        for (const PodStatus& pod : now->pods) {
            if (!pod.ready && pod.phase != "Succeeded" && pod.phase != "Terminating") {
                waiting += fmt::format(" {}/{} ({})", pod.ns, pod.name, pod.phase);
            }
        }
        if (waiting.empty()) {
            return {};
        }
        if (monotonic_now() >= deadline) {
            return fail(ErrorKind::timed_out,
                        "not ready:" + waiting + "; look at `orlopctl lab logs`");
        }
        ::poll(nullptr, 0, static_cast<int>(poll_interval.count()));
    }
}

Result<void> Lab::wait_gone(const std::string& pod, milliseconds limit) {
    const std::string full = pod.find('/') == std::string::npos ? "default/" + pod : pod;
    const Instant deadline = monotonic_now() + limit;
    for (;;) {
        const auto now = status();
        if (!now) {
            return std::unexpected(now.error());
        }
        const bool there =
            std::any_of(now->pods.begin(), now->pods.end(), [&full](const PodStatus& each) {
                return each.ns + "/" + each.name == full;
            });
        if (!there) {
            return {};
        }
        if (monotonic_now() >= deadline) {
            return fail(ErrorKind::timed_out, "pod " + full + " is still there");
        }
        ::poll(nullptr, 0, static_cast<int>(poll_interval.count()));
    }
}

Result<JobStatus> Lab::wait_job(const std::string& ns, const std::string& job, milliseconds limit) {
    const Instant deadline = monotonic_now() + limit;
    for (;;) {
        const auto now = status();
        if (!now) {
            return std::unexpected(now.error());
        }
        const auto found =
            std::find_if(now->jobs.begin(), now->jobs.end(), [&](const JobStatus& each) {
                return each.ns == ns && each.name == job;
            });
        if (found == now->jobs.end()) {
            return fail(ErrorKind::not_found, fmt::format("job/{} not found in {}", job, ns));
        }
        if (found->phase != "Running") {
            return *found;
        }
        if (monotonic_now() >= deadline) {
            return fail(ErrorKind::timed_out, fmt::format("job/{} still runs", job));
        }
        ::poll(nullptr, 0, static_cast<int>(poll_interval.count()));
    }
}

Result<void> Lab::mesh(const std::string& node, MeshAction action) {
    if (auto asked = call({"mesh", node, std::to_string(static_cast<int>(action))}); !asked) {
        return std::unexpected(asked.error());
    }
    if (action == MeshAction::start) {
        return {};
    }
    const Instant deadline = monotonic_now() + mesh_stop_limit;
    for (;;) {
        const auto now = status();
        if (!now) {
            return std::unexpected(now.error());
        }
        const bool running =
            std::any_of(now->nodes.begin(), now->nodes.end(), [&node](const NodeStatus& each) {
                return (node.empty() || each.name == node) && each.orlopd_pid != 0;
            });
        if (!running) {
            break;
        }
        if (monotonic_now() >= deadline) {
            return fail(ErrorKind::timed_out, "orlopd does not end: see its log");
        }
        ::poll(nullptr, 0, static_cast<int>(poll_interval.count()));
    }
    return action == MeshAction::restart ? mesh(node, MeshAction::start) : Result<void>{};
}

Result<void> Lab::down() {
    if (::geteuid() != 0) {
        return fail(ErrorKind::denied, "the lab's namespaces belong to root: run it as root");
    }
    return remove_everything(location_);
}

}  // namespace orlop::lab
