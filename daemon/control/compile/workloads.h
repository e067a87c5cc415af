// Pods and what is said about them become Workloads (DESIGN §2; istio-semantics §9, §11).
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/workload.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace orlop::control {

class Sidecars;

using FindingsByPod = std::map<ObjectKey, Findings>;  // of pods that have some

struct PodWorkload {
    model::WorkloadPtr workload;
    ObjectPtr pod;
    const PodSpec& spec() const { return std::get<PodSpec>(pod->spec); }
};

struct Workloads {
    std::vector<PodWorkload> all;           // by namespace, then name; finished pods are left out
    std::vector<IpAddress> node_addresses;  // of our own node
};

// WorkloadBook: everything said about pods outside of the Pod objects themselves, kept so that one
// pod can be compiled again without the others.
//
// `store`'s objects that it needs are kept alive; `mesh` and `sidecars` outlive it. Control thread.
class WorkloadBook {
public:
    struct Input {
        const ObjectStore& store;
        const model::MeshConfig& mesh;
        const Sidecars& sidecars;
        const std::string& node;  // ours
    };
    WorkloadBook(const Input& in, FindingSink& findings);
    ~WorkloadBook();

    // Null when the pod has finished.
    model::WorkloadPtr make(const ObjectPtr& pod, FindingSink& findings);
    // The pod is gone, or about to be made again. False: what report() says of the others has to
    // be found out anew.
    bool forget(const model::Workload& workload);
    // What only all pods together show.
    void report(FindingSink& findings) const;
    // The pod with the uid has another sandbox (null: none), or its capture changed.
    bool set_sandbox(const std::string& uid, const ObjectPtr& before, const ObjectPtr& after);
    void add_redirected(const std::string& uid);
    void drop_redirected(const std::string& uid);

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

model::MeshConfig compile_mesh(const ObjectStore& store, FindingSink& findings);
// `told` gets the findings of pods, by the pod.
Workloads compile_workloads(const WorkloadBook::Input& in, WorkloadBook& book, FindingsByPod& told);

}  // namespace orlop::control
