// Pod: one running pod of the lab, from its address to its processes.
//
// Owned by the supervisor's Cluster, which alone calls these. A pod goes
//   pending -> running (-> crashed -> running)* -> terminating -> gone, or -> finished
// and every step that leaves a trace on the machine is undone by take_down().
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/lab/config.h"
#include "daemon/lab/manifest.h"
#include "daemon/lab/network.h"
#include "daemon/lab/object_files.h"
#include "daemon/lab/process.h"

#include <string>
#include <vector>

namespace orlop::lab {

enum class PodPhase : unsigned char { pending, running, terminating, succeeded, failed };

struct ContainerRun {
    pid_t pid = 0;  // 0: not running
    int restarts = 0;
    int exit_code = 0;
    bool ended = false;  // ended for good (Job)
    Instant started{};
    Instant restart_at{};  // while pid is 0 and not ended
};

struct Pod {
    std::string uid;
    Meta meta;
    PodTemplate pod;
    std::string owner_kind;  // Deployment, Job, or empty
    std::string owner_name;
    std::string template_hash;  // Deployment
    int node = 1;
    int number = 0;  // last part of its address
    int serial = 0;  // names its network namespace
    PodPhase phase = PodPhase::pending;
    bool ready = false;
    std::string created;
    std::string deleted;  // when its end was asked for
    std::vector<ContainerRun> runs;
    Instant started{};
    Instant kill_at{};    // while terminating
    std::string written;  // the Pod file as last written

    std::vector<std::string> ips(Families families) const;
    bool alive() const { return phase == PodPhase::pending || phase == PodPhase::running; }
    bool any_process() const;
};

PodView view_of(const Pod& pod, const LabConfig& config);
PodPlan plan_of(const Pod& pod, const LabConfig& config);
std::string pod_cgroup(const Pod& pod, const LabConfig& config);
const char* phase_word(const Pod& pod);

// Namespace, links, cgroup, the files laid over /etc. On an error take_down() cleans up.
Result<void> set_up(const Pod& pod, const LabConfig& config);
// Starts container `index`; its output is appended to the pod's log.
Result<pid_t>
start_container(const Pod& pod, std::size_t index, const LabConfig& config, const LabFile& images);
Result<void> take_down(const Pod& pod, const LabConfig& config);

// The command of a container: its own `command` and `args`, else the lab file's for its image.
Result<std::vector<std::string>> command_of(const Container& container, const LabFile& images);
std::vector<std::string> environment_of(const Pod& pod,
                                        const Container& container,
                                        const LabConfig& config,
                                        const LabFile& images);

// Whether every TCP containerPort has a listener, read from /proc: no probe connection is made.
bool listens_on_all_ports(const Pod& pod);

// Everything exec needs to enter the pod as its processes did.
PodMounts mounts_of(const std::string& uid, const LabConfig& config);
std::vector<std::string> base_environment(const LabConfig& config);

}  // namespace orlop::lab
