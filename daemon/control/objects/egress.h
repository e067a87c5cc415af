// What lies outside the registry, and how much of the mesh a workload sees: ServiceEntry,
// WorkloadEntry, Sidecar (istio-semantics §14), validated, names not yet resolved.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/model/destination.h"
#include "daemon/model/snapshot.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

// One endpoint of a ServiceEntry, or a WorkloadEntry.
struct OutsideEndpoint {
    std::string address;                         // an IP address, or with resolution DNS a name
    std::optional<IpAddress> ip;                 // when `address` is one
    std::map<std::string, std::uint16_t> ports;  // by the name of the service's port
    model::Labels labels;
    std::uint32_t weight = 1;
    std::string service_account;
};

struct WorkloadEntrySpec {
    OutsideEndpoint endpoint;
};

struct ServiceEntrySpec {
    std::vector<std::string> hosts;  // lower-case; `*.suffix` possible
    std::vector<IpAddress> addresses;
    std::vector<Cidr> ranges;
    std::vector<model::ServicePort> ports;  // target_port: what endpoints listen on
    bool external = true;
    model::Resolution resolution = model::Resolution::original;
    bool one_address = false;  // DNS_ROUND_ROBIN: the first address of an answer
    std::vector<OutsideEndpoint> endpoints;
    model::Labels workload_selector;  // pods and WorkloadEntries of the namespace
    std::vector<std::string> subject_alt_names;
    std::vector<std::string> export_to;  // empty: all; "~": nobody
};

struct SidecarSpec {
    struct Egress {
        std::uint16_t port = 0;          // 0: every port that no other listener names
        std::vector<std::string> hosts;  // "ns/dnsName"; ns may be `*`, `.` or `~`
    };
    model::Labels selector;      // empty: the namespace's, or the mesh's in the root namespace
    std::vector<Egress> egress;  // empty: everything is seen
    std::optional<model::OutboundPolicy> outbound_policy;
};

}  // namespace orlop::control
