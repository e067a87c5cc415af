// Object: one decoded, valid configuration object of any kind.
//
// Immutable once decoded and shared by pointer between the store and compilations. Kinds that the
// mesh has no use for decode to `Ignored`; kinds understood but not acted on yet to `Recorded`.
#pragma once

#include "daemon/control/finding.h"
#include "daemon/control/objects/egress.h"
#include "daemon/control/objects/gateway.h"
#include "daemon/control/objects/kubernetes.h"
#include "daemon/control/objects/legacy.h"
#include "daemon/control/objects/mesh.h"
#include "daemon/control/objects/security.h"
#include "daemon/control/objects/traffic.h"
#include "daemon/control/yaml_document.h"
#include "daemon/model/object_ref.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace orlop::control {

struct ObjectMeta {
    model::Labels labels;
    model::Labels annotations;
    std::string uid;
    // Nanoseconds since the epoch: annotation orlop.dev/created, else metadata.creationTimestamp.
    std::optional<std::int64_t> created_ns;
    std::string owner_kind;  // controlling ownerReference
    std::string owner_name;
};

struct Recorded {};  // recognised, stored, not enforced yet (a warning says so)

// Every object has room for the largest of these, and most are Pods and EndpointSlices: what is
// large in the others is behind a pointer.
using ObjectSpec = std::variant<Recorded,
                                NamespaceSpec,
                                PodSpec,
                                ServiceSpec,
                                EndpointSliceSpec,
                                ServiceAccountSpec,
                                NodeSpec,
                                SecretSpec,
                                NetworkPolicySpec,
                                VirtualServiceSpec,
                                DestinationRuleSpec,
                                GatewaySpec,
                                ServiceEntrySpec,
                                WorkloadEntrySpec,
                                SidecarSpec,
                                PeerAuthenticationSpec,
                                RouteRuleSpec,
                                DestinationPolicySpec,
                                AuthorizationPolicySpec,
                                MemquotaSpec,
                                QuotaInstanceSpec,
                                MixerRuleSpec,
                                MeshConfigSpec,
                                RateLimitSpec,
                                PodSandboxSpec,
                                NodeStatusSpec>;

struct Object {
    ObjectKey key;
    std::string api_version;
    ObjectMeta meta;
    model::ObjectRefPtr ref;  // file and line of the document
    ObjectSpec spec;
    // As written, by to_yaml(), a tenth of its tree; empty for Pods, EndpointSlices and Secrets.
    std::string written;
};
using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace orlop::control
