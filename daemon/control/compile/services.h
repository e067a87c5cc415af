// Services, their ports and ready endpoints (istio-semantics §16 for protocols).
#pragma once

#include "daemon/control/compile/workloads.h"
#include "daemon/control/object_store.h"
#include "daemon/model/destination.h"
#include "daemon/model/snapshot_tables.h"

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace orlop::control {

struct ServiceRecord {
    model::ServicePtr service;
    std::vector<std::vector<model::Endpoint>> endpoints;  // per port of the service
    std::vector<std::string> export_to;                   // empty: all
    // Of a ServiceEntry:
    std::vector<Cidr> ranges;                    // virtual addresses by range
    std::vector<std::string> subject_alt_names;  // what its servers' certificates must show
};

struct Services {
    std::vector<ServiceRecord> all;         // by namespace, then name
    model::StringMap<std::size_t> by_host;  // full lower-case name -> index into `all`
    std::uint32_t position(const ServiceRecord& record) const {
        return static_cast<std::uint32_t>(&record - all.data());
    }
    const ServiceRecord* find(std::string_view host) const {
        auto found = by_host.find(host);
        return found == by_host.end() ? nullptr : &all[found->second];
    }
};

// Whether `labels` have every pair of `selector`; what no pair means is the caller's to say.
bool selects(const model::Labels& selector, const model::Labels& labels);

Services compile_services(const ObjectStore& store,
                          const model::MeshConfig& mesh,
                          const Workloads& workloads,
                          const model::AddressedWorkloads& by_address);

// Adds what the slices list, in their order of addresses.
void add_listed_endpoints(const ServiceSpec& spec,
                          const std::vector<ObjectPtr>& slices,
                          const model::AddressedWorkloads& by_address,
                          ServiceRecord& out);
// Adds the pod to every port that it serves, when the selector selects it.
void add_selected_pod(const ServiceSpec& spec, const PodWorkload& pod, ServiceRecord& out);

// `reviews` in namespace `prod` -> reviews.prod.svc.<cluster domain>; names with a dot, `*` and
// addresses are literal (istio-semantics §1.1).
std::string full_host(std::string_view host, std::string_view ns, const model::MeshConfig& mesh);

}  // namespace orlop::control
