// Lab: a handle on the pods of one machine, for `orlopctl lab` and for tests.
//
// The idea: a long-lived supervisor process owns the pods; this handle talks to it over the Unix
// socket <state_dir>/lab.sock (mode 0600), reads logs from files, and enters pods by itself. down()
// needs no supervisor: everything the lab made is found again from the name prefix (namespaces,
// cgroups, BPF pins) and from the state directory.
//
// Lifetime: a handle holds no resource; make one per command. Any thread, blocking calls; up()
// forks unless UpOptions::supervisor_command is given and then wants a single-threaded caller.
// All calls need root.
//
//     Lab lab({});
//     auto up = lab.up({.nodes = 2, .lab_file = "deploy/lab/images.yaml"});
//     auto lines = lab.apply({.path = "frontend.yaml", .text = text});
//     auto ready = lab.wait_ready(std::chrono::seconds(30));
//     auto code = lab.exec("default/frontend", {"curl", "-s", "http://product/"});
//     lab.down();
#pragma once

#include "daemon/base/error.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace orlop::lab {

// Where a lab lives. Two labs on one machine need both values to differ.
struct Location {
    std::string state_dir = "/run/orlop-lab";
    std::string prefix = "orlop-lab";  // namespaces <prefix>-n1, <prefix>-n1-p3; cgroup <prefix>
};

enum class Mesh : unsigned char { on, off };  // off: no orlopd is started
enum class Families : unsigned char { dual, v4_only };

struct UpOptions {
    int nodes = 1;         // 1 or 2, named n1, n2
    std::string lab_file;  // maps images to commands; see deploy/lab/images.yaml
    std::string apps_dir;  // first in every pod's PATH; default <this binary>/apps
    Mesh mesh = Mesh::on;
    std::string orlopd_path;               // default: beside this binary
    std::vector<std::string> orlopd_args;  // appended to orlopd's command line
    Families families = Families::dual;
    // Program that runs run_supervisor(state_dir), e.g. {"/proc/self/exe", "lab", "supervise",
    // "--state-dir", DIR}. Empty: a fork of this process runs it.
    std::vector<std::string> supervisor_command;
};

// One YAML file's text, of any number of documents. `ns` is for objects that name none.
struct ManifestText {
    std::string path;  // for messages only
    std::string text;
    std::string ns = "default";
};

struct PodStatus {
    std::string ns;
    std::string name;
    std::string uid;
    std::string node;
    std::string phase;  // Pending, Running, Succeeded, Failed, CrashLoopBackOff
    bool ready = false;
    std::string ip;   // 10.244.N.x
    std::string ip6;  // empty with Families::v4_only
    std::string service_account;
    std::string labels;  // k=v,k=v
    int restarts = 0;
    int pid = 0;         // of the first container's process; 0 when none runs
    std::string netns;   // path of the network namespace
    std::string cgroup;  // absolute path
    std::string owner;   // Deployment/frontend, Job/traffic-generator, or empty
};

struct ServiceStatus {
    std::string ns;
    std::string name;
    std::string type;
    std::string cluster_ip;  // "None" for a headless service
    std::string cluster_ip6;
    std::string ports;  // 80->9090/TCP,...
    int endpoints = 0;  // ready pods
};

struct JobStatus {
    std::string ns;
    std::string name;
    std::string phase;  // Running, Complete, Failed
    int exit_code = 0;  // of the last container that ended
};

struct NodeStatus {
    std::string name;
    std::string netns;   // path
    std::string cgroup;  // absolute path; pods and orlopd are below
    std::string ip;
    std::string ip6;
    std::string state_dir;   // <state>/nodes/<node>
    std::string socket;      // orlopd's admin socket
    int orlopd_pid = 0;      // 0: not running
    std::string mesh_state;  // running, stopped, off, missing
};

struct Status {
    std::vector<NodeStatus> nodes;
    std::vector<PodStatus> pods;
    std::vector<ServiceStatus> services;
    std::vector<JobStatus> jobs;
};

enum class Follow : unsigned char { no, yes };
enum class MeshAction : unsigned char { start, stop, restart, kill };

class Lab {
public:
    explicit Lab(Location location) : location_(std::move(location)) {}

    // Creates nodes, names, the supervisor and (Mesh::on) one orlopd per node. Refused when a lab
    // with this location already exists, running or crashed. Mesh::on with no orlopd binary is
    // refused with the path that was tried.
    Result<void> up(const UpOptions& options);

    // As kubectl: one line per object, "deployment/frontend created|configured|unchanged". Kinds
    // run by the lab: Namespace, Deployment, Service, ServiceAccount, Job, Pod. Any other kind is
    // written to the configuration directory as it stands, for orlopd. Nothing is applied when any
    // document is invalid.
    Result<std::vector<std::string>> apply(const ManifestText& manifest);
    // Deletes the objects named by the documents; absent ones are reported, not an error.
    Result<std::vector<std::string>> remove(const ManifestText& manifest);
    // `object` is kind/name, e.g. "deployment/frontend", "job/traffic-generator", "pod/NAME".
    Result<void> remove_object(const std::string& ns, const std::string& object);

    Result<void> scale(const std::string& ns, const std::string& deployment, int replicas);
    // changes: "key=value" sets, "key-" removes. object: "ns/NAME" or "pod/NAME". Immediate.
    Result<void> label(const std::string& ns,
                       const std::string& object,
                       const std::vector<std::string>& changes);
    // The same for annotations of namespaces and pods.
    Result<void> annotate(const std::string& ns,
                          const std::string& object,
                          const std::vector<std::string>& changes);

    Result<Status> status();
    // Every pod Ready (or Succeeded); the error names those that are not.
    Result<void> wait_ready(std::chrono::milliseconds limit);
    Result<JobStatus>
    wait_job(const std::string& ns, const std::string& job, std::chrono::milliseconds limit);

    // Until the pod (by its own name, "ns/pod" or "pod") is gone with everything it had.
    Result<void> wait_gone(const std::string& pod, std::chrono::milliseconds limit);

    // Which pod a name means: "ns/pod", "pod" (namespace default), "ns/deployment" or "deployment"
    // (its first ready pod), "job".
    Result<PodStatus> find_pod(const std::string& name);
    // Runs argv inside the pod's namespaces and cgroup with the caller's stdin/stdout/stderr.
    // Returns its exit code, or 128 + signal.
    Result<int> exec(const std::string& pod, const std::vector<std::string>& argv);
    // As exec, but standard output and error are returned (bounded by lab_output_bytes_max).
    struct Output {
        int exit_code = 0;
        std::string out;
        std::string err;
    };
    Result<Output> capture(const std::string& pod, const std::vector<std::string>& argv);
    // In a node's namespace: outside every pod, outside the mesh. node: n1, n2.
    Result<int> exec_on_node(const std::string& node, const std::vector<std::string>& argv);
    Result<Output> capture_on_node(const std::string& node, const std::vector<std::string>& argv);

    // Writes the log of the pod (all containers) to `fd`. With Follow::yes until the pod is gone or
    // the write fails. A deleted pod's log can still be read by its full name until down().
    Result<void> logs(const std::string& pod, Follow follow, int fd);

    // orlopd of one node ("" = all). kill is SIGKILL; stop is SIGTERM and waits up to 40 s; both
    // leave it stopped.
    Result<void> mesh(const std::string& node, MeshAction action);

    // Removes everything, whatever is left of the lab; fine when there is none. An error lists what
    // could not be removed.
    Result<void> down();

    const Location& location() const { return location_; }
    std::string config_dir() const { return location_.state_dir + "/config"; }

private:
    Result<std::vector<std::string>> call(const std::vector<std::string>& fields);

    Location location_;
};

// Body of the supervisor process: returns its exit code after SIGTERM. Reads <state_dir>/lab.conf,
// which up() wrote. Single-threaded, needs root.
int run_supervisor(const std::string& state_dir);

}  // namespace orlop::lab
