// ServiceEntries become services like those of the registry (istio-semantics §14): every host its
// own, with endpoints from the entry, from selected pods and WorkloadEntries, or from DNS.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/object_store.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace orlop::control {

// What the resolver knows: names to addresses. A name that is not there has not been answered yet.
using DnsAnswers = std::map<std::string, std::vector<IpAddress>>;

struct OutsideInput {
    const ObjectStore& store;
    const Workloads& workloads;
    const model::AddressedWorkloads& by_address;
    const DnsAnswers* dns = nullptr;  // null: no resolver; such services have no endpoints
    FindingSink& findings;
};

// Adds to `services`; returns the names that want looking up.
std::set<std::string> add_service_entries(const OutsideInput& in, Services& services);

}  // namespace orlop::control
