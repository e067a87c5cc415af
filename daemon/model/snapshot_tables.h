// The look-up tables behind a Snapshot; filled by control/compile, read by snapshot.cc only.
//
// Tables name services, virtual hosts and destinations by position, so that a change of endpoints
// replaces a few elements of the lists and leaves the tables as they are. What a new generation
// does not change it shares with the old one: lists and tables copy by block (position_list.h,
// shard_table.h), the rest by pointer.
//
// Visibility (exportTo, and DestinationRules private to a namespace) is compiled into scopes: a
// client namespace that sees something others do not has a Scope of its own, which holds only what
// differs; what is not found there is looked up in the shared scope named "". A Sidecar makes a
// scope that stands alone: "ns", or "ns/name" for the workloads that its selector selects.
#pragma once

#include "daemon/model/gateway.h"
#include "daemon/model/pod_destinations.h"
#include "daemon/model/position_list.h"
#include "daemon/model/shard_table.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/string_map.h"

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace orlop::model {

inline constexpr std::uint32_t nowhere = 0xFFFFFFFF;

// What an address and port mean: positions in Tables::services, virtual_hosts and destinations.
struct PortTarget {
    std::uint32_t service = nowhere;
    std::uint32_t port_index = 0;  // into the service's ports
    std::uint32_t virtual_host = nowhere;
    std::uint32_t destination = nowhere;
};

// An endpoint's own address.
struct PodTarget {
    SocketAddress address;
    std::uint32_t target = 0;  // position in Tables::targets
    // A service outside the cluster: whoever looked the name up has one of its addresses, any
    // endpoint serves. Else whoever names a pod gets that pod.
    enum class Reach : unsigned char { that_one, any } reach = Reach::that_one;
    WorkloadPtr workload;  // null: nothing is known of the pod
};
struct PodTargetTraits {
    static const SocketAddress& key(const PodTarget& entry) { return entry.address; }
    static std::size_t hash(const SocketAddress& key) { return std::hash<SocketAddress>()(key); }
};
using PodTargets = ShardTable<PodTarget, PodTargetTraits>;

struct AddressedWorkload {
    IpAddress address;
    WorkloadPtr workload;
};
struct AddressedWorkloadTraits {
    static const IpAddress& key(const AddressedWorkload& entry) { return entry.address; }
    static std::size_t hash(const IpAddress& key) { return std::hash<IpAddress>()(key); }
};
using AddressedWorkloads = ShardTable<AddressedWorkload, AddressedWorkloadTraits>;
struct WorkloadUidTraits {
    static std::string_view key(const WorkloadPtr& entry) { return entry->uid; }
    static std::size_t hash(std::string_view key) { return std::hash<std::string_view>()(key); }
};
using WorkloadsByUid = ShardTable<WorkloadPtr, WorkloadUidTraits>;

using HostsByPort = std::vector<std::pair<std::uint16_t, std::uint32_t>>;  // port, virtual host

// What does not depend on endpoints; numbers are positions in Tables::targets.
struct ScopeNames {
    std::unordered_map<SocketAddress, std::uint32_t> by_address;  // virtual addresses
    std::vector<std::pair<Cidr, std::uint32_t>> ranges;           // longest prefix first
    // Ports of services without addresses of their own; no destination: Host or SNI decides.
    std::unordered_map<std::uint16_t, std::uint32_t> by_port;
    // Hosts lower-case. Keys of a service are `svc.ns`, `svc.ns.svc` and its full name; a bare
    // `svc` is looked up as `svc.<caller's namespace>`
    StringMap<HostsByPort> by_host;
    // wildcard suffixes without the star (".example.com", "" for `*`), longest first
    std::vector<std::pair<std::string, HostsByPort>> wildcards;
    bool stands_alone = false;                      // nothing is looked up in the shared scope
    std::optional<OutboundPolicy> outbound_policy;  // unset: the mesh's
};

struct Scope {
    std::shared_ptr<const ScopeNames> names;
    std::shared_ptr<const PodTargets> pods;
};

struct Snapshot::Tables {
    AddressedWorkloads workload_by_address;
    WorkloadsByUid workload_by_uid;
    std::vector<WorkloadPtr> twins;            // pods whose uid another pod has as well
    std::vector<WorkloadPtr> local_workloads;  // of this node, by namespace and name
    std::vector<IpAddress> node_addresses;

    // Shared by all generations that differ in endpoints alone.
    struct Fixed {
        std::vector<ServicePtr> services;
        std::unordered_map<IpAddress, std::uint32_t> service_by_address;
        std::vector<PortTarget> targets;
        std::unordered_map<std::uint64_t, std::uint32_t> destination_by_key;
        std::vector<TlsTermsPtr> tls_terms;  // each key once
        std::vector<QuotaPtr> quotas;
    };
    std::shared_ptr<const Fixed> fixed;
    PositionList<DestinationPtr> destinations;
    PositionList<VirtualHostPtr> virtual_hosts;
    StringMap<Scope> scopes;                   // "" is the shared scope
    std::vector<GatewayListenerPtr> gateways;  // of this node, by address
    WorkloadPtr gateway_workload;

    mutable PodDestinations single_pods;  // filled by look-ups, of this generation only
};

}  // namespace orlop::model
