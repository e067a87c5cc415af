// The look-up tables behind a Snapshot; filled by control/compile, read by snapshot.cc only.
//
// Visibility (exportTo, and DestinationRules private to a namespace) is compiled into scopes: a
// client namespace that sees something others do not has a Scope of its own, which holds only what
// differs; what is not found there is looked up in the shared scope named "". A Sidecar makes a
// scope that stands alone: "ns", or "ns/name" for the workloads that its selector selects.
#pragma once

#include "daemon/model/gateway.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/string_map.h"

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace orlop::model {

struct PortTarget {
    ServicePtr service;
    std::size_t port_index = 0;  // into service->ports
    VirtualHostPtr virtual_host;
    DestinationPtr destination;
    WorkloadPtr workload;
};

struct Scope {
    std::unordered_map<SocketAddress, PortTarget> by_address;  // VIP:port and pod-ip:port
    std::vector<std::pair<Cidr, PortTarget>> ranges;           // longest prefix first
    // Ports of services without addresses of their own; `destination` null: Host or SNI decides.
    std::unordered_map<std::uint16_t, PortTarget> by_port;
    // host -> (port, virtual host); hosts lower-case. Keys of a service are `svc.ns`, `svc.ns.svc`
    // and its full name; a bare `svc` is looked up as `svc.<caller's namespace>`
    StringMap<std::vector<std::pair<std::uint16_t, VirtualHostPtr>>> by_host;
    // wildcard suffixes without the star (".example.com", "" for `*`), longest first
    std::vector<std::pair<std::string, std::vector<std::pair<std::uint16_t, VirtualHostPtr>>>>
        wildcards;
    bool stands_alone = false;                      // nothing is looked up in the shared scope
    std::optional<OutboundPolicy> outbound_policy;  // unset: the mesh's
};

struct Snapshot::Tables {
    std::unordered_map<IpAddress, WorkloadPtr> workload_by_address;
    StringMap<WorkloadPtr> workload_by_uid;
    std::unordered_map<IpAddress, ServicePtr> service_by_address;
    std::vector<IpAddress> node_addresses;
    StringMap<Scope> scopes;  // "" is the shared scope
    std::vector<WorkloadPtr> workloads;
    std::vector<ServicePtr> services;
    std::vector<DestinationPtr> destinations;
    std::vector<VirtualHostPtr> virtual_hosts;
    std::vector<GatewayListenerPtr> gateways;  // of this node, by address
    WorkloadPtr gateway_workload;
    std::vector<TlsTermsPtr> tls_terms;  // each key once
    std::vector<QuotaPtr> quotas;
};

}  // namespace orlop::model
