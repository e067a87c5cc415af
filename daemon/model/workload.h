// Workload: a pod as the mesh sees it. Immutable once in a Snapshot; shared by pointer.
#pragma once

#include "daemon/base/identity.h"
#include "daemon/base/ip.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::model {

using Labels = std::map<std::string, std::string, std::less<>>;
struct Authorization;  // daemon/model/authorization.h

// PeerAuthentication mtls.mode (istio-semantics §9).
enum class MtlsMode : unsigned char { unset, disable, permissive, strict };

// Where a node stands: labels topology.kubernetes.io/region and zone, topology.istio.io/subzone.
struct Locality {
    std::string region;
    std::string zone;
    std::string subzone;
    bool empty() const { return region.empty(); }
    bool operator==(const Locality&) const = default;
};
using LocalityPtr = std::shared_ptr<const Locality>;

// What capture leaves alone, from the traffic.sidecar.istio.io/* annotations and MeshConfig.
struct CaptureExclusions {
    std::vector<std::uint16_t> inbound_ports;
    std::vector<std::uint16_t> outbound_ports;
    std::vector<Cidr> outbound_ranges;
    bool operator==(const CaptureExclusions&) const = default;
};

struct Workload {
    std::string uid;
    std::string name;  // pod name
    std::string ns;
    std::string service_account;  // "default" when the pod names none
    std::string node;
    Locality locality;  // of its node, or of its istio-locality label
    SpiffeId identity;
    Labels labels;
    std::vector<IpAddress> addresses;

    // Names for telemetry (field.md §4): the owning Deployment/Job and the canonical pair.
    std::string workload_name;
    std::string canonical_name;
    std::string canonical_revision;
    std::string app;
    std::string version;

    bool enrol_wanted = false;  // labels ask for capture
    bool redirected = false;    // the node that runs it has confirmed capture: HBONE may be used
    bool local = false;         // runs on this node
    bool host_network = false;
    bool ready = true;
    bool terminating = false;
    bool network_policy_selected = false;  // a NetworkPolicy selects it: no same-node shortcut

    // Resolved PeerAuthentication: never `unset`. Ports are container ports.
    MtlsMode mtls = MtlsMode::permissive;
    std::map<std::uint16_t, MtlsMode> port_mtls;
    std::vector<std::uint16_t> probe_ports;              // ports named by kubelet probes
    std::shared_ptr<const Authorization> authorization;  // null: no policy, everything is allowed
    CaptureExclusions exclusions;

    std::string sidecar;  // "ns/name" of the Sidecar whose workloadSelector selects it
    // Whose view of the mesh it has: a Snapshot's look-ups want this.
    std::string_view scope() const { return sidecar.empty() ? ns : sidecar; }

    std::string netns;   // path of the network namespace; only when local and known
    std::string cgroup;  // absolute path of the cgroup v2 group; only when local and known

    MtlsMode mtls_of(std::uint16_t port) const {
        auto found = port_mtls.find(port);
        return found == port_mtls.end() ? mtls : found->second;
    }
    bool strict_anywhere() const {
        for (const auto& [port, mode] : port_mtls) {
            if (mode == MtlsMode::strict) {
                return true;
            }
        }
        return mtls == MtlsMode::strict;
    }
};
using WorkloadPtr = std::shared_ptr<const Workload>;

}  // namespace orlop::model
