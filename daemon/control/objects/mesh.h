// Mesh-wide and security kinds: PeerAuthentication and orlop's own objects (orlop.dev/v1).
#pragma once

#include "daemon/model/snapshot.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

// security.istio.io PeerAuthentication (istio-semantics §9).
struct PeerAuthenticationSpec {
    model::Labels selector;     // empty: the namespace, or the mesh in the root namespace
    bool has_selector = false;  // `selector` with at least one label
    model::MtlsMode mode = model::MtlsMode::unset;
    std::map<std::uint16_t, model::MtlsMode> port_modes;  // container ports
};

struct MeshConfigSpec {
    std::shared_ptr<const model::MeshConfig> mesh;
};

// Where a pod's kernel objects are; written by the container runtime's hook or the lab, and only
// accepted from the sandbox directory: it names paths that a privileged process will enter.
struct PodSandboxSpec {
    std::string uid;
    std::string netns;   // absolute path of the network namespace
    std::string cgroup;  // absolute path of the cgroup v2 group
};

// What one node has captured; written by its orlopd so that peers know who accepts HBONE.
struct NodeStatusSpec {
    std::string node;
    std::vector<std::string> redirected;  // pod uids
};

}  // namespace orlop::control
