// CompileState: what a whole compilation leaves behind, so that a change of endpoints can be
// compiled by itself (patch.h).
//
// Heap only: its parts refer to each other. Control thread.
#pragma once

#include "daemon/control/compile.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/compile/sidecars.h"
#include "daemon/control/compile/table_build.h"
#include "daemon/control/compile/workloads.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace orlop::control {

// Where the parts of a Snapshot are, by what they depend on. Positions are those of the tables.
struct PatchIndex {
    struct ServiceParts {
        std::vector<std::uint32_t> destinations;
        std::vector<std::pair<std::string, std::uint32_t>> targets;  // scope, target
    };
    std::vector<ServiceParts> services;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> uses;  // destination, virtual host; sorted
    // "ns\nkey\nvalue" of the first label of a Service's selector -> services
    std::unordered_map<std::string, std::vector<std::uint32_t>> selectors;
    std::unordered_map<std::string, std::vector<ObjectPtr>> slices;  // by host of the service
    // Addresses of slices -> services; made when the first pod changes.
    std::unordered_multimap<IpAddress, std::uint32_t> listed;
    enum class Listed : unsigned char { not_made, made } listed_state = Listed::not_made;
    std::set<IpAddress> outside;                                          // of ServiceEntries
    std::map<std::string, std::vector<model::Labels>> outside_selectors;  // by namespace
    std::set<std::uint32_t> aliased;            // services whose endpoints an ExternalName has too
    std::set<IpAddress> contested;              // addresses of several pods
    std::map<std::string, std::size_t> pods;    // by namespace
    std::map<IpAddress, std::size_t> host_ips;  // of local pods
    std::uint32_t gateway_destinations = 0;     // theirs begin here
};

struct CompileState {
    std::uint64_t revision = 0;  // of the store
    std::string node;
    std::optional<DnsAnswers> dns;
    std::shared_ptr<const model::MeshConfig> mesh;
    std::unique_ptr<Sidecars> sidecars;
    std::unique_ptr<WorkloadBook> pods;
    Services services;  // without their endpoints: those are in the Snapshot
    WaitingByScope waiting;
    std::unordered_map<std::uint32_t, model::Labels> subset_labels;  // by destination
    PatchIndex index;
    model::SnapshotPtr snapshot;
    Findings findings;  // of everything but pods
    FindingsByPod told;
    Findings joined;  // all, as last reported
    std::set<std::string> dns_names;
};

Findings join_findings(const CompileState& state);

void index_targets(const TableBuild& build, PatchIndex& index);
void index_listed(CompileState& state);
// A slice of the service changed.
void relist(CompileState& state, std::uint32_t service, const ObjectChange& change);

// Fills the rest of `index`, which the Snapshot and `workloads` are enough for.
void index_for_patches(const ObjectStore& store, const Workloads& workloads, CompileState& state);

}  // namespace orlop::control
