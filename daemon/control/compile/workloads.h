// Pods and what is said about them become Workloads (DESIGN §2; istio-semantics §9, §11).
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/workload.h"

#include <map>
#include <string>
#include <vector>

namespace orlop::control {

class Sidecars;

struct PodWorkload {
    model::WorkloadPtr workload;
    ObjectPtr pod;
    const PodSpec& spec() const { return std::get<PodSpec>(pod->spec); }
};

struct Workloads {
    std::vector<PodWorkload> all;           // by namespace, then name; finished pods are left out
    std::vector<IpAddress> node_addresses;  // of our own node
};

model::MeshConfig compile_mesh(const ObjectStore& store, FindingSink& findings);
Workloads compile_workloads(const ObjectStore& store,
                            const model::MeshConfig& mesh,
                            const Sidecars& sidecars,
                            const std::string& node,
                            FindingSink& findings);

}  // namespace orlop::control
