#include "daemon/control/compile/state.h"

#include "daemon/control/compile/virtual_host_parts.h"

#include <algorithm>

namespace orlop::control {
namespace {

using Positions = std::unordered_map<const void*, std::uint32_t>;

void index_parts(const model::Snapshot::Tables& tables, PatchIndex& index) {
    Positions services;
    for (std::uint32_t i = 0; i < tables.fixed->services.size(); ++i) {
        services.emplace(tables.fixed->services[i].get(), i);
    }
    Positions destinations;
    for (std::uint32_t i = 0; i < tables.destinations.size(); ++i) {
        const model::Destination& destination = *tables.destinations[i];
        destinations.emplace(&destination, i);
        index.services[services.at(destination.service.get())].destinations.push_back(i);
    }
    for (std::uint32_t i = 0; i < tables.virtual_hosts.size(); ++i) {
        each_destination(*tables.virtual_hosts[i], [&](const model::DestinationPtr& destination) {
            if (destination) {
                index.uses.emplace_back(destinations.at(destination.get()), i);
            }
        });
    }
    std::ranges::sort(index.uses);
    auto twins = std::ranges::unique(index.uses);
    index.uses.erase(twins.begin(), twins.end());
    index.uses.shrink_to_fit();
}

void index_slices(const ObjectStore& store, CompileState& state) {
    PatchIndex& index = state.index;
    for (const char* kind : {"EndpointSlice", "Endpoints"}) {
        for (const StoredObject* stored : store.objects(kind)) {
            if (stored->object == nullptr) {
                continue;
            }
            const auto& spec = std::get<EndpointSliceSpec>(stored->object->spec);
            std::string host = full_host(spec.service, stored->key.ns, *state.mesh);
            index.slices[std::move(host)].push_back(stored->object);
        }
    }
}

void index_services(const ObjectStore& store, CompileState& state) {
    for (const StoredObject* stored : store.objects("Service")) {
        const auto* spec =
            stored->object ? std::get_if<ServiceSpec>(&stored->object->spec) : nullptr;
        if (spec == nullptr) {
            continue;
        }
        auto aliased = state.services.by_host.find(spec->external_name);
        if (aliased != state.services.by_host.end()) {
            state.index.aliased.insert(static_cast<std::uint32_t>(aliased->second));
        }
        if (spec->selector.empty()) {
            continue;
        }
        auto record =
            state.services.by_host.find(full_host(stored->key.name, stored->key.ns, *state.mesh));
        if (record != state.services.by_host.end()) {
            const auto& [key, value] = *spec->selector.begin();
            state.index.selectors[stored->key.ns + '\n' + key + '\n' + value].push_back(
                static_cast<std::uint32_t>(record->second));
        }
    }
}

void index_outside(const ObjectStore& store, CompileState& state) {
    for (const ServiceRecord& record : state.services.all) {
        if (record.service->source && record.service->source->kind == "ServiceEntry") {
            for (const auto& endpoints : record.endpoints) {
                for (const model::Endpoint& endpoint : endpoints) {
                    state.index.outside.insert(endpoint.address.ip);
                }
            }
        }
    }
    for (const StoredObject* stored : store.objects("ServiceEntry")) {
        if (stored->object == nullptr) {
            continue;
        }
        const auto& selector = std::get<ServiceEntrySpec>(stored->object->spec).workload_selector;
        if (!selector.empty()) {
            state.index.outside_selectors[stored->key.ns].push_back(selector);
        }
    }
}

void index_pods(const Workloads& workloads, CompileState& state) {
    const auto& by_address = state.snapshot->tables().workload_by_address;
    for (const PodWorkload& pod : workloads.all) {
        ++state.index.pods[pod.workload->ns];
        for (const IpAddress& address : pod.workload->addresses) {
            const auto* holder = by_address.find(address);
            if (holder != nullptr && holder->workload != pod.workload &&
                !pod.workload->host_network) {
                state.index.contested.insert(address);
            }
        }
    }
}

void index_host_ips(const ObjectStore& store, CompileState& state) {
    for (const StoredObject* stored : store.objects("Pod")) {
        const auto* spec = stored->object ? std::get_if<PodSpec>(&stored->object->spec) : nullptr;
        if (spec != nullptr && !state.node.empty() && spec->node == state.node && spec->host_ip) {
            ++state.index.host_ips[*spec->host_ip];
        }
    }
}

// By which the pods of a slice are known.
template <class Visit> void each_address(const ObjectPtr& slice, Visit visit) {
    if (slice == nullptr) {
        return;
    }
    for (const auto& group : std::get<EndpointSliceSpec>(slice->spec).groups) {
        for (const EndpointSliceSpec::Member& member : group.members) {
            if (!member.addresses.empty()) {
                visit(member.addresses.front());
            }
        }
    }
}

}  // namespace

void index_targets(const TableBuild& build, PatchIndex& index) {
    index.services.resize(build.fixed.services.size());
    for (const auto& [name, scope] : build.scopes) {
        for (std::uint32_t target : scope.targets) {
            index.services[build.fixed.targets[target].service].targets.emplace_back(name, target);
        }
    }
}

void index_listed(CompileState& state) {
    PatchIndex& index = state.index;
    if (index.listed_state == PatchIndex::Listed::made) {
        return;
    }
    index.listed_state = PatchIndex::Listed::made;
    for (const auto& [host, slices] : index.slices) {
        auto record = state.services.by_host.find(host);
        for (const ObjectPtr& slice : slices) {
            if (record != state.services.by_host.end()) {
                relist(state,
                       static_cast<std::uint32_t>(record->second),
                       {slice->key, nullptr, slice});
            }
        }
    }
}

void relist(CompileState& state, std::uint32_t service, const ObjectChange& change) {
    auto& listed = state.index.listed;
    if (state.index.listed_state == PatchIndex::Listed::not_made) {
        return;
    }
    each_address(change.before, [&](const IpAddress& address) {
        auto [first, last] = listed.equal_range(address);
        auto found =
            std::find_if(first, last, [&](const auto& entry) { return entry.second == service; });
        if (found != last) {
            listed.erase(found);
        }
    });
    each_address(change.after, [&](const IpAddress& address) { listed.emplace(address, service); });
}

Findings join_findings(const CompileState& state) {
    FindingSink all;
    all.add(state.findings);
    for (const auto& [pod, findings] : state.told) {
        all.add(findings);
    }
    state.pods->report(all);
    return all.take();
}

void index_for_patches(const ObjectStore& store, const Workloads& workloads, CompileState& state) {
    index_parts(state.snapshot->tables(), state.index);
    index_slices(store, state);
    index_services(store, state);
    index_outside(store, state);
    index_pods(workloads, state);
    index_host_ips(store, state);
    for (ServiceRecord& record : state.services.all) {
        record.endpoints = {};
    }
}

}  // namespace orlop::control
