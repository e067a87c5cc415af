// Cluster: everything the supervisor knows and runs: objects, nodes, pods, resolvers, orlopds.
//
// The idea is Kubernetes' own: callers change what is wanted (apply, scale, remove), reconcile()
// makes pods appear and go, and tick() drives what takes time (start-up, back-off, termination).
// What others see follows: NAT and names on every node, one YAML file per object for orlopd. A pod
// leaves NAT and names before its processes are asked to stop, and its Pod file goes before its
// network namespace.
//
// Lifetime: made once by the supervisor, whose single thread makes all calls. Its destructor stops
// nothing: what runs is found again by remove_everything().
//
//     Cluster cluster(config, images);
//     cluster.start();
//     for (;;) { wait for request, child or `due`; ...; due = cluster.tick(monotonic_now()); }
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/lab/addresses.h"
#include "daemon/lab/config.h"
#include "daemon/lab/lab.h"
#include "daemon/lab/manifest.h"
#include "daemon/lab/nat.h"
#include "daemon/lab/pod.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace orlop::lab {

enum class MetaField : unsigned char { labels, annotations };

class Cluster {
public:
    Cluster(LabConfig config, LabFile images);

    Result<void> start();  // nodes, resolvers, namespace default, orlopds

    Result<std::vector<std::string>> apply(const Manifest& manifest);
    Result<std::vector<std::string>> remove(const Manifest& manifest);
    // kind: singular, plural or short as kubectl takes it.
    Result<std::string>
    remove_object(const std::string& kind, const std::string& ns, const std::string& name);
    Result<void> scale(const std::string& ns, const std::string& deployment, int replicas);
    Result<void> change_meta(MetaField field,
                             const std::string& ns,
                             const std::string& object,
                             const std::vector<std::string>& changes);
    Result<void> mesh(const std::string& node, MeshAction action);
    Status status() const;

    void child_exited(pid_t pid, int wait_status);
    Instant tick(Instant now);  // when to call again at the latest

private:
    using Key = std::pair<std::string, std::string>;  // namespace, name

    struct Node {
        int number = 1;
        NumberPool pod_numbers{pod_number_first, pod_number_last};
        pid_t resolver = 0;
        pid_t orlopd = 0;
        std::string mesh_state = "off";
    };
    struct Service {
        ServiceObject object;
        int number = 0;  // 0: headless
        std::string created;
    };
    struct Deployment {
        DeploymentObject object;
        std::string hash;  // of the pod template
    };
    struct Job {
        JobObject object;
        std::string phase = "Running";
        int succeeded = 0;
        int failed = 0;
        int exit_code = 0;
        Instant retry_at{};
    };
    struct Simple {  // Namespace, ServiceAccount
        Meta meta;
        std::string created;
    };

    // cluster_nodes.cc
    Result<void> start_node(Node& node);
    Result<void> start_resolver(Node& node);
    Result<void> start_orlopd(Node& node);
    // Returns when the node's orlopd has read every file written so far, or does not answer.
    void bring_into_force(const Node& node);
    Result<void> mesh_one(Node& node, MeshAction action);
    NodeStatus node_status(const Node& node) const;

    // cluster_objects.cc
    void ensure_namespace(const std::string& ns, std::vector<std::string>& lines);
    Result<void> check(const Manifest& manifest) const;
    Result<void> check_commands(const std::string& object, const PodTemplate& pod) const;
    Result<std::string> apply_service(const ServiceObject& object);
    std::string apply_simple(std::map<Key, Simple>& kept, const char* kind, const Meta& meta);
    std::string apply_deployment(const DeploymentObject& object);
    std::string apply_job(const JobObject& object);
    std::string apply_pod(const PodObject& object);
    Result<std::string> apply_other(const OtherObject& object);
    bool drop(const std::string& kind, const Key& key);
    bool drop_service(const Key& key);
    bool drop_namespace(const std::string& ns);
    bool drop_pods_of(const std::string& owner_kind, const Key& owner);
    void write_object(const char* kind, const Key& key, const std::string& text);
    void remove_object_file(const std::string& kind, const Key& key);

    // cluster_pods.cc
    void reconcile(Instant now);
    void reconcile_deployment(const Deployment& deployment, Instant now);
    void reconcile_job(Job& job, Instant now);
    Pod* create_pod(Pod wanted, Instant now);
    void start_runs(Pod& pod, Instant now);
    void terminate(Pod& pod, Instant now);
    void finish_if_ended(Pod& pod);
    void run_ended(Pod& pod, ContainerRun& run, int exit_code);
    void job_pod_ended(const Pod& pod);
    int choose_node(const Pod& wanted) const;
    void tick_pod(Pod& pod, Instant now);
    Instant due(const Pod& pod, Instant now) const;
    void discard(Pod& pod);
    void write_pod(Pod& pod);

    // cluster_services.cc
    void sync_services();
    std::vector<const Pod*> endpoints_of(const Service& service) const;
    void sync_nat();
    void sync_names();
    void collect_nat(const Service& service, Families family, std::vector<NatPort>& ports) const;
    std::vector<std::string> service_ips(const Service& service) const;
    ServiceStatus service_status(const Key& key, const Service& service) const;
    PodStatus pod_status(const Pod& pod) const;

    LabConfig config_;
    LabFile images_;
    LabLayout layout_;
    std::vector<Node> nodes_;
    NumberPool service_numbers_{service_number_first, service_number_last};
    std::map<Key, Simple> namespaces_;  // key: "", name
    std::map<Key, Simple> accounts_;
    std::map<Key, Service> services_;
    std::map<Key, Deployment> deployments_;
    std::map<Key, Job> jobs_;
    std::map<std::string, Pod> pods_;  // by uid
    std::string nat4_written_;
    std::string nat6_written_;
    std::string names_written_;
    int next_serial_ = 1;
};

std::string now_rfc3339();
std::string random_uuid();
std::string random_suffix(int letters);  // of Kubernetes' alphabet
std::string hash_of(const PodTemplate& pod);

}  // namespace orlop::lab
