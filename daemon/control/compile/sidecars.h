// Sidecars: which part of the mesh a workload sees (istio-semantics §14). One with a selector beats
// the namespace's, which beats the one of the root namespace.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/object_store.h"

#include <map>
#include <string>
#include <vector>

namespace orlop::control {

// The egress listeners of one Sidecar, as a question about hosts.
class EgressView {
public:
    EgressView(const SidecarSpec& spec, std::string own_ns) : spec_(spec), own_ns_(own_ns) {}
    // `ns` empty: of any namespace. `port` 0: on any port.
    bool shows(const std::string& ns, const std::string& host, std::uint16_t port) const;
    const SidecarSpec& spec() const { return spec_; }

private:
    bool
    listed(const SidecarSpec::Egress& egress, const std::string& ns, const std::string& host) const;

    const SidecarSpec& spec_;
    std::string own_ns_;
};

struct SidecarScope {
    std::string name;  // "ns" or "ns/name": Workload::scope()
    std::string ns;    // of the workloads in it
    EgressView view;
};

class Sidecars {
public:
    Sidecars(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings);

    // "ns/name" of the Sidecar that selects the workload, or "".
    std::string scope_of(const std::string& ns, const model::Labels& labels) const;
    // Every scope that a Sidecar makes, given the namespaces that have workloads.
    std::vector<SidecarScope> scopes(const std::vector<std::string>& namespaces) const;

private:
    const model::MeshConfig& mesh_;
    std::map<std::string, ObjectPtr> by_namespace_;            // without a selector
    std::map<std::string, std::vector<ObjectPtr>> selecting_;  // in order of creation
};

}  // namespace orlop::control
