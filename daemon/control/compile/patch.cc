#include "daemon/control/compile/patch.h"

#include "daemon/control/compile/assemble.h"
#include "daemon/control/compile/patch_pods.h"
#include "daemon/control/compile/virtual_host_parts.h"

#include <algorithm>
#include <map>
#include <utility>

namespace orlop::control {
namespace {

using Endpoints = std::vector<model::Endpoint>;
using Replaced = std::unordered_map<const void*, std::shared_ptr<const void>>;

bool same(const Endpoints& a, const Endpoints& b) {
    return std::ranges::equal(a, b, [](const model::Endpoint& x, const model::Endpoint& y) {
        return x.address == y.address && x.weight == y.weight && x.workload == y.workload &&
               x.own_locality == y.own_locality;
    });
}

bool ports_are_distinct(const model::Service& service) {
    std::set<std::uint16_t> seen;
    return std::ranges::all_of(service.ports, [&](const model::ServicePort& port) {
        return port.protocol == model::Protocol::udp || seen.insert(port.port).second;
    });
}

class Patch {
public:
    Patch(const ObjectStore& store, CompileMemory& memory, CompileState& state)
        : store_(store), memory_(memory), state_(state),
          next_(std::make_unique<model::Snapshot::Tables>(state.snapshot->tables())),
          pods_(store, state, *next_), destinations_(next_->destinations),
          virtual_hosts_(next_->virtual_hosts) {}

    bool apply(const std::vector<ObjectChange>& changes);
    bool findings_changed() const { return pods_.findings_changed(); }
    bool pods_changed() const { return !pods_.changes().empty(); }
    std::unique_ptr<model::Snapshot::Tables> take() { return std::move(next_); }

private:
    void note_slice(const ObjectChange& change);
    bool service(std::uint32_t number);
    bool of_selected_pods(std::uint32_t number, const ServiceSpec& spec, ServiceRecord& record);
    const Endpoints* endpoints_of(std::uint32_t number, std::size_t port_index) const;
    void claim(std::uint32_t number, const ServiceRecord& fresh);
    void destination(std::uint32_t position, const ServiceRecord& fresh);
    void virtual_host(std::uint32_t position);
    void gateways();
    template <class T> bool replace(std::shared_ptr<const T>& pointer) const;

    const ObjectStore& store_;
    CompileMemory& memory_;
    CompileState& state_;
    std::unique_ptr<model::Snapshot::Tables> next_;
    PodPatch pods_;
    model::PositionList<model::DestinationPtr>::Edit destinations_;
    model::PositionList<model::VirtualHostPtr>::Edit virtual_hosts_;
    std::set<std::uint32_t> services_;
    std::set<std::uint32_t> sliced_;  // services of slices that changed
    std::set<std::uint32_t> hosts_;   // that lead to a destination that was replaced
    Replaced replaced_;
    bool gateways_concerned_ = false;
};

template <class T> bool Patch::replace(std::shared_ptr<const T>& pointer) const {
    auto found = replaced_.find(pointer.get());
    if (found == replaced_.end()) {
        return false;
    }
    pointer = std::static_pointer_cast<const T>(found->second);
    return true;
}

bool Patch::apply(const std::vector<ObjectChange>& changes) {
    for (const ObjectChange& change : changes) {
        const std::string& kind = change.key.kind;
        bool slice = kind == "EndpointSlice" || kind == "Endpoints";
        bool pod = kind == "Pod" || kind == "PodSandbox" || kind == "NodeStatus";
        if ((!slice && !pod) || (pod && !pods_.note(change))) {
            return false;
        }
        if (slice) {
            note_slice(change);
        }
    }
    if (!pods_.apply()) {
        return false;
    }
    services_ = sliced_;
    services_.insert(pods_.services().begin(), pods_.services().end());
    for (std::uint32_t number : services_) {
        if (!service(number)) {
            return false;
        }
    }
    for (std::uint32_t position : hosts_) {
        virtual_host(position);
    }
    if (gateways_concerned_) {
        gateways();
    }
    return true;
}

// Takes the slice into the index; its service gets its endpoints anew.
void Patch::note_slice(const ObjectChange& change) {
    for (const ObjectPtr* object : {&change.before, &change.after}) {
        if (*object == nullptr) {
            continue;
        }
        const auto& spec = std::get<EndpointSliceSpec>((*object)->spec);
        std::string host = full_host(spec.service, change.key.ns, *state_.mesh);
        auto& slices = state_.index.slices[host];
        std::erase_if(slices, [&](const ObjectPtr& known) { return known->key == change.key; });
        if (object == &change.after) {
            slices.push_back(change.after);
        }
        auto record = state_.services.by_host.find(host);
        if (record != state_.services.by_host.end()) {
            auto number = static_cast<std::uint32_t>(record->second);
            sliced_.insert(number);
            relist(state_, number, change);
        }
        if (slices.empty()) {
            state_.index.slices.erase(host);
        }
    }
}

const Endpoints* Patch::endpoints_of(std::uint32_t number, std::size_t port_index) const {
    const model::ServicePort& port = next_->fixed->services[number]->ports[port_index];
    for (std::uint32_t position : state_.index.services[number].destinations) {
        const model::Destination& destination = *state_.snapshot->destinations()[position];
        if (destination.subset.empty() && destination.port.port == port.port) {
            return &destination.endpoints;
        }
    }
    return nullptr;
}

// The endpoints as they were, without the pods that changed; then those again that are selected.
bool Patch::of_selected_pods(std::uint32_t number, const ServiceSpec& spec, ServiceRecord& record) {
    const std::string& ns = record.service->ns;
    auto changed = [&](const model::Endpoint& endpoint) {
        return pods_.changes().contains({"Pod", ns, endpoint.workload->name});
    };
    for (std::size_t i = 0; i < spec.ports.size(); ++i) {
        if (const Endpoints* before = endpoints_of(number, i)) {
            std::ranges::remove_copy_if(*before, std::back_inserter(record.endpoints[i]), changed);
        } else if (spec.ports[i].protocol != model::Protocol::udp) {
            return false;
        }
    }
    for (const auto& [key, change] : pods_.changes()) {
        if (change.workload && key.ns == ns) {
            add_selected_pod(spec, {change.workload, change.after}, record);
        }
    }
    for (Endpoints& endpoints : record.endpoints) {
        std::ranges::sort(endpoints, {}, [](const model::Endpoint& endpoint) {
            return std::string_view(endpoint.workload->name);
        });
    }
    return true;
}

bool Patch::service(std::uint32_t number) {
    const model::ServicePtr& service = next_->fixed->services[number];
    if (state_.index.services[number].destinations.empty()) {
        return true;  // nobody sees it
    }
    const StoredObject* stored = store_.find({"Service", service->ns, service->name});
    bool registry = service->resolution == model::Resolution::registry && stored != nullptr &&
                    stored->object != nullptr;
    if (!registry || state_.index.aliased.contains(number) || !ports_are_distinct(*service)) {
        return false;
    }
    const auto& spec = std::get<ServiceSpec>(stored->object->spec);
    ServiceRecord record;
    record.service = service;
    record.endpoints.resize(service->ports.size());
    auto slices = state_.index.slices.find(service->host);
    if (slices != state_.index.slices.end()) {
        add_listed_endpoints(spec, slices->second, next_->workload_by_address, record);
    } else if (!spec.selector.empty()) {
        // Without its slices it has the pods that it selects, and nobody has looked for those.
        if (sliced_.contains(number) || !of_selected_pods(number, spec, record)) {
            return false;
        }
    }
    claim(number, record);
    for (std::uint32_t position : state_.index.services[number].destinations) {
        destination(position, record);
    }
    return true;
}

void Patch::claim(std::uint32_t number, const ServiceRecord& fresh) {
    for (const auto& [scope_name, target] : state_.index.services[number].targets) {
        std::uint32_t port_index = next_->fixed->targets[target].port_index;
        std::uint32_t position = next_->fixed->targets[target].destination;
        const Endpoints& before = state_.snapshot->destinations()[position]->endpoints;
        if (same(before, fresh.endpoints[port_index])) {
            continue;
        }
        model::Scope& scope = next_->scopes.find(scope_name)->second;
        auto pods = std::make_shared<model::PodTargets>(*scope.pods);
        PodClaims claims(*pods, state_.waiting[scope_name]);
        for (const model::PodTarget& claim : claims_of(before, *fresh.service, target)) {
            claims.remove(claim.address, target);
        }
        for (model::PodTarget& claim :
             claims_of(fresh.endpoints[port_index], *fresh.service, target)) {
            claims.add(std::move(claim));
        }
        scope.pods = std::move(pods);
    }
}

void Patch::destination(std::uint32_t position, const ServiceRecord& fresh) {
    const model::DestinationPtr& before = state_.snapshot->destinations()[position];
    const auto& ports = fresh.service->ports;
    auto port = std::ranges::find_if(ports, [&](const model::ServicePort& candidate) {
        return candidate.port == before->port.port && candidate.protocol != model::Protocol::udp;
    });
    const Endpoints& all = fresh.endpoints[static_cast<std::size_t>(port - ports.begin())];
    Endpoints endpoints;
    auto labels = state_.subset_labels.find(position);
    std::ranges::copy_if(all, std::back_inserter(endpoints), [&](const model::Endpoint& endpoint) {
        return labels == state_.subset_labels.end() || has_labels(endpoint, labels->second);
    });
    if (same(endpoints, before->endpoints)) {
        return;
    }
    auto after = std::make_shared<model::Destination>(*before);
    endpoints.shrink_to_fit();
    after->endpoints = std::move(endpoints);
    after->health.clear();
    after->verdicts.reset();
    after->hash_table.reset();
    memory_.endpoints.complete(*after);
    replaced_.emplace(before.get(), after);
    destinations_.put(position, std::move(after));
    gateways_concerned_ = gateways_concerned_ || position >= state_.index.gateway_destinations;
    auto uses = std::ranges::equal_range(
        state_.index.uses, position, {}, &std::pair<std::uint32_t, std::uint32_t>::first);
    for (const auto& [used, host] : uses) {
        hosts_.insert(host);
    }
}

void Patch::virtual_host(std::uint32_t position) {
    const model::VirtualHostPtr& before = state_.snapshot->virtual_hosts()[position];
    auto after = std::make_shared<model::VirtualHost>(*before);
    each_destination(*after, [&](model::DestinationPtr& destination) { replace(destination); });
    replaced_.emplace(before.get(), after);
    virtual_hosts_.put(position, std::move(after));
}

void Patch::gateways() {
    for (model::GatewayListenerPtr& listener : next_->gateways) {
        auto after = std::make_shared<model::GatewayListener>(*listener);
        bool other = false;
        auto visit = [&](auto& pointer) { other = replace(pointer) || other; };
        for (model::GatewayServer& server : after->servers) {
            server.hosts.each(visit);
            for (model::GatewayByteRoute& route : server.routes) {
                each_destination_of_route(route.choice, visit);
            }
        }
        if (other) {
            listener = std::move(after);
        }
    }
}

}  // namespace

std::optional<CompileResult> compile_patch(const ObjectStore& store,
                                           const CompileOptions& options,
                                           CompileMemory& memory,
                                           CompileState& state) {
    bool same_names = options.dns == nullptr ? !state.dns : state.dns == *options.dns;
    auto changes = store.changes_since(state.revision);
    if (!same_names || options.node != state.node || !changes || changes->empty()) {
        return std::nullopt;
    }
    Patch patch(store, memory, state);
    if (!patch.apply(*changes)) {
        return std::nullopt;
    }
    CompileResult result;
    result.extent = CompileExtent::what_changed;
    result.findings_changed =
        patch.findings_changed() ||
        (patch.pods_changed() && !store.objects("AuthorizationPolicy").empty());
    if (result.findings_changed) {
        state.joined = join_findings(state);
    }
    result.findings = state.joined;
    result.dns_names = state.dns_names;
    result.snapshot =
        std::make_shared<const model::Snapshot>(options.generation, state.mesh, patch.take());
    state.snapshot = result.snapshot;
    state.revision = store.revision();
    return result;
}

}  // namespace orlop::control
