// Pods of the cluster: made, watched, restarted, ended.
#include "daemon/base/limits.h"
#include "daemon/lab/cgroup.h"
#include "daemon/lab/cluster.h"
#include "daemon/lab/notes.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>
#include <sys/wait.h>

#include <algorithm>
#include <signal.h>

namespace orlop::lab {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds poll_interval{20};
constexpr seconds listen_patience{5};  // then a pod counts as ready without its ports
constexpr seconds stop_patience{5};    // between SIGTERM and SIGKILL
constexpr milliseconds backoff_first{500};
constexpr seconds backoff_last{30};
constexpr seconds calm{30};  // a run this long starts the back-off anew
constexpr seconds idle{3600};

Duration backoff(int failures) {
    const int doublings = std::min(failures, 10);
    return std::min<Duration>(backoff_first * (1 << doublings), backoff_last);
}

}  // namespace

void Cluster::reconcile(Instant now) {
    for (const auto& [key, deployment] : deployments_) {
        reconcile_deployment(deployment, now);
    }
    for (auto& [key, job] : jobs_) {
        reconcile_job(job, now);
    }
}

// New pods first; those of an older template go once their successors are all ready.
void Cluster::reconcile_deployment(const Deployment& deployment, Instant now) {
    const Meta& meta = deployment.object.meta;
    std::vector<Pod*> current;
    std::vector<Pod*> outdated;
    for (auto& [uid, pod] : pods_) {
        if (pod.alive() && pod.owner_kind == "Deployment" && pod.owner_name == meta.name &&
            pod.meta.ns == meta.ns) {
            (pod.template_hash == deployment.hash ? current : outdated).push_back(&pod);
        }
    }
    const auto wanted = static_cast<std::size_t>(deployment.object.replicas);
    while (current.size() < wanted) {
        Pod pod;
        pod.meta = {meta.ns,
                    fmt::format("{}-{}-{}", meta.name, deployment.hash, random_suffix(5)),
                    deployment.object.pod.labels,
                    deployment.object.pod.annotations};
        pod.meta.labels["pod-template-hash"] = deployment.hash;
        pod.pod = deployment.object.pod;
        pod.owner_kind = "Deployment";
        pod.owner_name = meta.name;
        pod.template_hash = deployment.hash;
        Pod* created = create_pod(std::move(pod), now);
        if (created == nullptr) {
            return;
        }
        current.push_back(created);
    }
    // Unready ones go first, then the youngest.
    std::sort(current.begin(), current.end(), [](const Pod* a, const Pod* b) {
        return std::pair(!a->ready, a->serial) < std::pair(!b->ready, b->serial);
    });
    while (current.size() > wanted) {
        terminate(*current.back(), now);
        current.pop_back();
    }
    const bool replaced =
        std::all_of(current.begin(), current.end(), [](const Pod* pod) { return pod->ready; });
    for (Pod* pod : outdated) {
        if (replaced) {
            terminate(*pod, now);
        }
    }
}

void Cluster::reconcile_job(Job& job, Instant now) {
    const Meta& meta = job.object.meta;
    const bool active = std::any_of(pods_.begin(), pods_.end(), [&meta](const auto& entry) {
        const Pod& pod = entry.second;
        return pod.alive() && pod.owner_kind == "Job" && pod.owner_name == meta.name &&
               pod.meta.ns == meta.ns;
    });
    if (active || job.phase != "Running" || now < job.retry_at) {
        return;
    }
    Pod pod;
    pod.meta = {meta.ns,
                fmt::format("{}-{}", meta.name, random_suffix(5)),
                job.object.pod.labels,
                job.object.pod.annotations};
    pod.meta.labels["job-name"] = meta.name;
    pod.meta.labels["batch.kubernetes.io/job-name"] = meta.name;
    pod.pod = job.object.pod;
    pod.owner_kind = "Job";
    pod.owner_name = meta.name;
    create_pod(std::move(pod), now);
}

// The node asked for; else the one with the fewest pods of the same owner, then of all.
int Cluster::choose_node(const Pod& wanted) const {
    for (const Node& node : nodes_) {
        if (wanted.pod.node_name == node_name(node.number)) {
            return node.number;
        }
    }
    int best = 1;
    std::pair<int, int> best_load{1 << 30, 1 << 30};
    for (const Node& node : nodes_) {
        std::pair<int, int> load{0, 0};
        for (const auto& [uid, pod] : pods_) {
            if (pod.node != node.number || !pod.alive()) {
                continue;
            }
            ++load.second;
            if (pod.owner_kind == wanted.owner_kind && pod.owner_name == wanted.owner_name &&
                pod.meta.ns == wanted.meta.ns) {
                ++load.first;
            }
        }
        if (load < best_load) {
            best_load = load;
            best = node.number;
        }
    }
    return best;
}

Pod* Cluster::create_pod(Pod wanted, Instant now) {
    wanted.uid = random_uuid();
    wanted.created = now_rfc3339();
    wanted.node = choose_node(wanted);
    wanted.serial = next_serial_++;
    wanted.started = now;
    wanted.runs.resize(wanted.pod.containers.size());
    auto number = nodes_[static_cast<std::size_t>(wanted.node - 1)].pod_numbers.take();
    if (!number) {
        note("pod {}/{}: {}", wanted.meta.ns, wanted.meta.name, number.error().context);
        return nullptr;
    }
    wanted.number = *number;
    const std::string uid = wanted.uid;
    Pod& pod = pods_.emplace(uid, std::move(wanted)).first->second;
    if (auto ready = set_up(pod, config_); !ready) {
        note("pod {}/{}: {}", pod.meta.ns, pod.meta.name, ready.error().context);
        discard(pod);
        return nullptr;
    }
    // Captured first, as a CNI plugin would have it: from its first listener on the pod is as
    // closed as its policy says.
    write_pod(pod);
    bring_into_force(nodes_[static_cast<std::size_t>(pod.node - 1)]);
    start_runs(pod, now);
    tick_pod(pod, now);
    return &pod;
}

void Cluster::start_runs(Pod& pod, Instant now) {
    for (std::size_t i = 0; i < pod.runs.size(); ++i) {
        ContainerRun& run = pod.runs[i];
        if (run.pid != 0 || run.ended || now < run.restart_at) {
            continue;
        }
        const auto pid = start_container(pod, i, config_, images_);
        if (!pid) {
            note("pod {}/{}: {}", pod.meta.ns, pod.meta.name, pid.error().context);
            run_ended(pod, run, 127);
            continue;
        }
        run.pid = *pid;
        run.started = now;
        pod.phase = PodPhase::running;
    }
    write_pod(pod);
}

void Cluster::write_pod(Pod& pod) {
    std::string text = render_pod(view_of(pod, config_), pod.pod);
    if (text != pod.written) {
        write_object("Pod", {pod.meta.ns, pod.meta.name}, text);
        pod.written = std::move(text);
    }
}

void Cluster::terminate(Pod& pod, Instant now) {
    if (!pod.alive()) {
        return;
    }
    pod.phase = PodPhase::terminating;
    pod.ready = false;
    pod.deleted = now_rfc3339();
    pod.kill_at = now + stop_patience;
    sync_services();  // no new connection reaches it from here on
    write_pod(pod);
    for (const ContainerRun& run : pod.runs) {
        if (run.pid != 0) {
            ::kill(run.pid, SIGTERM);
        }
    }
}

void Cluster::child_exited(pid_t pid, int wait_status) {
    const int code =
        WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    for (Node& node : nodes_) {
        if (node.orlopd == pid) {
            node.orlopd = 0;
            node.mesh_state = "stopped";
            note("orlopd of {} ended with {}", node_name(node.number), code);
            return;
        }
        if (node.resolver == pid) {
            note("resolver of {} ended with {}", node_name(node.number), code);
            node.resolver = 0;
            if (auto again = start_resolver(node); !again) {
                note("resolver: {}", again.error().context);
            }
            return;
        }
    }
    for (auto& [uid, pod] : pods_) {
        for (ContainerRun& run : pod.runs) {
            if (run.pid == pid) {
                run.pid = 0;
                run_ended(pod, run, code);
                return;
            }
        }
    }
}

void Cluster::run_ended(Pod& pod, ContainerRun& run, int exit_code) {
    run.exit_code = exit_code;
    if (pod.phase == PodPhase::terminating) {
        return;
    }
    const bool again = pod.pod.restart_policy == "Always" ||
                       (pod.pod.restart_policy == "OnFailure" && exit_code != 0);
    const Instant now = monotonic_now();
    if (again) {
        const bool calm_before = run.started != Instant{} && now - run.started >= calm;
        run.restart_at = now + backoff(calm_before ? 0 : run.restarts);
        ++run.restarts;
        pod.started = run.restart_at;
        pod.ready = false;
        sync_services();
        write_pod(pod);
        return;
    }
    run.ended = true;
    finish_if_ended(pod);
}

void Cluster::finish_if_ended(Pod& pod) {
    const bool all = std::all_of(
        pod.runs.begin(), pod.runs.end(), [](const ContainerRun& run) { return run.ended; });
    if (!all) {
        return;
    }
    const bool good = std::all_of(pod.runs.begin(), pod.runs.end(), [](const ContainerRun& run) {
        return run.exit_code == 0;
    });
    pod.ready = false;
    sync_services();
    remove_object_file("Pod", {pod.meta.ns, pod.meta.name});
    if (auto down = take_down(pod, config_); !down) {
        note("pod {}/{}: {}", pod.meta.ns, pod.meta.name, down.error().context);
    }
    nodes_[static_cast<std::size_t>(pod.node - 1)].pod_numbers.give_back(pod.number);
    pod.number = 0;
    pod.phase = good ? PodPhase::succeeded : PodPhase::failed;
    job_pod_ended(pod);
}

void Cluster::job_pod_ended(const Pod& pod) {
    const auto found = jobs_.find({pod.meta.ns, pod.owner_name});
    if (pod.owner_kind != "Job" || found == jobs_.end()) {
        return;
    }
    Job& job = found->second;
    job.exit_code = pod.runs.back().exit_code;
    if (pod.phase == PodPhase::succeeded) {
        if (++job.succeeded >= job.object.completions) {
            job.phase = "Complete";
        }
        return;
    }
    if (++job.failed > job.object.backoff_limit) {
        job.phase = "Failed";
        return;
    }
    job.retry_at = monotonic_now() + backoff(job.failed);
}

// Everything of a pod goes, and the pod from the list.
void Cluster::discard(Pod& pod) {
    if (pod.number != 0) {
        remove_object_file("Pod", {pod.meta.ns, pod.meta.name});
        if (auto down = take_down(pod, config_); !down) {
            note("pod {}/{}: {}", pod.meta.ns, pod.meta.name, down.error().context);
        }
        nodes_[static_cast<std::size_t>(pod.node - 1)].pod_numbers.give_back(pod.number);
    }
    const std::string uid = pod.uid;
    pods_.erase(uid);
}

void Cluster::tick_pod(Pod& pod, Instant now) {
    if (pod.phase == PodPhase::running || pod.phase == PodPhase::pending) {
        start_runs(pod, now);
    }
    if (pod.phase != PodPhase::running || pod.ready) {
        return;
    }
    const bool all_run = std::all_of(pod.runs.begin(), pod.runs.end(), [](const ContainerRun& run) {
        return run.pid != 0 || run.ended;
    });
    if (all_run && (listens_on_all_ports(pod) || now - pod.started > listen_patience)) {
        pod.ready = true;
        sync_services();
        write_pod(pod);
    }
}

Instant Cluster::due(const Pod& pod, Instant now) const {
    if (pod.phase == PodPhase::terminating) {
        return pod.kill_at;
    }
    if (!pod.alive()) {
        return now + idle;
    }
    Instant next = now + (pod.ready ? Duration(idle) : Duration(poll_interval));
    for (const ContainerRun& run : pod.runs) {
        if (run.pid == 0 && !run.ended) {
            next = std::min(next, std::max(run.restart_at, now + poll_interval));
        }
    }
    return next;
}

Instant Cluster::tick(Instant now) {
    std::vector<std::string> gone;
    for (auto& [uid, pod] : pods_) {
        tick_pod(pod, now);
        if (pod.phase == PodPhase::terminating && (!pod.any_process() || now >= pod.kill_at)) {
            gone.push_back(uid);
        }
    }
    for (const std::string& uid : gone) {
        discard(pods_.at(uid));
    }
    if (!gone.empty()) {
        sync_services();
    }
    reconcile(now);
    Instant next = now + idle;
    for (const auto& [uid, pod] : pods_) {
        next = std::min(next, due(pod, now));
    }
    for (const auto& [key, job] : jobs_) {
        if (job.phase == "Running") {
            next = std::min(next, std::max(job.retry_at, now + milliseconds(500)));
        }
    }
    return next;
}

}  // namespace orlop::lab
