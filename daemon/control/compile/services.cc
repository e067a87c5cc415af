#include "daemon/control/compile/services.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace orlop::control {

bool selects(const model::Labels& selector, const model::Labels& labels) {
    return std::ranges::all_of(selector, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

namespace {

// Pods of a namespace by each of their labels: a selector looks only at its rarest label's pods.
class LabelIndex {
public:
    explicit LabelIndex(const Workloads& workloads) {
        for (const PodWorkload& pod : workloads.all) {
            for (const auto& [key, value] : pod.workload->labels) {
                pods_[name(pod.workload->ns, key, value)].push_back(&pod);
            }
        }
    }

    std::vector<const PodWorkload*> select(const std::string& ns,
                                           const model::Labels& selector) const {
        const std::vector<const PodWorkload*>* rarest = nullptr;
        for (const auto& [key, value] : selector) {
            auto found = pods_.find(name(ns, key, value));
            if (found == pods_.end()) {
                return {};
            }
            if (rarest == nullptr || found->second.size() < rarest->size()) {
                rarest = &found->second;
            }
        }
        std::vector<const PodWorkload*> out;
        if (rarest == nullptr) {
            return out;
        }
        for (const PodWorkload* pod : *rarest) {
            if (selects(selector, pod->workload->labels)) {
                out.push_back(pod);
            }
        }
        return out;
    }

private:
    static std::string
    name(const std::string& ns, const std::string& key, const std::string& value) {
        return ns + '\n' + key + '\n' + value;
    }
    std::unordered_map<std::string, std::vector<const PodWorkload*>> pods_;
};

std::uint16_t target_port_of(const model::ServicePort& port, const PodSpec& pod) {
    if (port.target_port_name.empty()) {
        return port.target_port;
    }
    auto named = std::ranges::find(pod.ports, port.target_port_name, &ContainerPort::name);
    return named == pod.ports.end() ? 0 : named->port;
}

// One address per pod: of the service's first family when the pod has it.
IpAddress pick_address(const ServiceSpec& service, const std::vector<IpAddress>& addresses) {
    if (!service.addresses.empty()) {
        bool v4 = service.addresses.front().is_v4();
        for (const IpAddress& address : addresses) {
            if (address.is_v4() == v4) {
                return address;
            }
        }
    }
    return addresses.front();
}

void add_pod(const ServiceSpec& spec, const PodWorkload& pod, ServiceRecord& out) {
    const model::Workload& workload = *pod.workload;
    bool serves = (workload.ready && !workload.terminating) || spec.publish_not_ready;
    if (!serves || workload.addresses.empty()) {
        return;
    }
    for (std::size_t i = 0; i < spec.ports.size(); ++i) {
        if (std::uint16_t port = target_port_of(spec.ports[i], pod.spec())) {
            out.endpoints[i].push_back(
                {{pick_address(spec, workload.addresses), port}, 1, pod.workload});
        }
    }
}

void endpoints_by_selector(const ServiceSpec& spec,
                           const std::string& ns,
                           const LabelIndex& pods,
                           ServiceRecord& out) {
    for (const PodWorkload* pod : pods.select(ns, spec.selector)) {
        add_pod(spec, *pod, out);
    }
}

using SlicesByService = std::map<std::pair<std::string, std::string>, std::vector<ObjectPtr>>;

SlicesByService collect_slices(const ObjectStore& store) {
    SlicesByService slices;
    for (const char* kind : {"EndpointSlice", "Endpoints"}) {
        for (const ObjectPtr& object : store.in_creation_order(kind)) {
            const auto& spec = std::get<EndpointSliceSpec>(object->spec);
            if (!spec.service.empty()) {
                slices[{object->key.ns, spec.service}].push_back(object);
            }
        }
    }
    return slices;
}

}  // namespace

void add_selected_pod(const ServiceSpec& spec, const PodWorkload& pod, ServiceRecord& out) {
    if (selects(spec.selector, pod.workload->labels)) {
        add_pod(spec, pod, out);
    }
}

void add_listed_endpoints(const ServiceSpec& spec,
                          const std::vector<ObjectPtr>& slices,
                          const model::AddressedWorkloads& by_address,
                          ServiceRecord& out) {
    auto add = [&](const EndpointSliceSpec::Group& group, std::size_t index) {
        const model::ServicePort& port = spec.ports[index];
        auto slice_port = std::ranges::find(group.ports, port.name, &EndpointSliceSpec::Port::name);
        if (slice_port == group.ports.end()) {
            return;
        }
        for (const EndpointSliceSpec::Member& member : group.members) {
            if ((!member.ready && !spec.publish_not_ready) || member.addresses.empty()) {
                continue;
            }
            const auto* workload = by_address.find(member.addresses.front());
            out.endpoints[index].push_back({{member.addresses.front(), slice_port->port},
                                            1,
                                            workload == nullptr ? nullptr : workload->workload});
        }
    };
    for (const ObjectPtr& slice : slices) {
        for (const auto& group : std::get<EndpointSliceSpec>(slice->spec).groups) {
            for (std::size_t i = 0; i < spec.ports.size(); ++i) {
                add(group, i);
            }
        }
    }
    // Both families, Endpoints and EndpointSlice: the same pod is listed more than once.
    bool v4_first = spec.addresses.empty() || spec.addresses.front().is_v4();
    for (auto& endpoints : out.endpoints) {
        std::ranges::sort(endpoints, [&](const model::Endpoint& a, const model::Endpoint& b) {
            bool a_other = a.address.ip.is_v4() != v4_first;
            bool b_other = b.address.ip.is_v4() != v4_first;
            return std::tie(a_other, a.address) < std::tie(b_other, b.address);
        });
        std::unordered_map<const model::Workload*, std::uint16_t> pods;
        std::vector<model::Endpoint> unique;
        for (model::Endpoint& endpoint : endpoints) {
            bool again = !unique.empty() && unique.back().address == endpoint.address;
            if (endpoint.workload) {
                again = again || !pods.emplace(endpoint.workload.get(), 0).second;
            }
            if (!again) {
                unique.push_back(std::move(endpoint));
            }
        }
        endpoints = std::move(unique);
    }
}

std::string full_host(std::string_view host, std::string_view ns, const model::MeshConfig& mesh) {
    if (host == "*" || host.find('.') != std::string_view::npos ||
        host.find(':') != std::string_view::npos) {
        return std::string(host);
    }
    return std::string(host) + "." + std::string(ns) + ".svc." + mesh.cluster_domain;
}

Services compile_services(const ObjectStore& store,
                          const model::MeshConfig& mesh,
                          const Workloads& workloads,
                          const model::AddressedWorkloads& by_address) {
    Services out;
    LabelIndex pods(workloads);
    SlicesByService slices = collect_slices(store);
    for (const StoredObject* stored : store.objects("Service")) {
        if (stored->object == nullptr) {
            continue;
        }
        const Object& object = *stored->object;
        const auto& spec = std::get<ServiceSpec>(object.spec);
        if (!spec.external_name.empty()) {
            continue;  // external_names.h
        }
        ServiceRecord record;
        auto service = std::make_shared<model::Service>();
        service->name = object.key.name;
        service->ns = object.key.ns;
        service->host = full_host(object.key.name, object.key.ns, mesh);
        service->addresses = spec.addresses;
        service->ports = spec.ports;
        service->headless = spec.headless;
        service->source = object.ref;
        record.export_to = spec.export_to;
        record.endpoints.resize(spec.ports.size());
        auto own_slices = slices.find({object.key.ns, object.key.name});
        if (own_slices != slices.end()) {
            add_listed_endpoints(spec, own_slices->second, by_address, record);
        } else if (!spec.selector.empty()) {
            endpoints_by_selector(spec, object.key.ns, pods, record);
        }
        record.service = std::move(service);
        out.by_host.emplace(record.service->host, out.all.size());
        out.all.push_back(std::move(record));
    }
    return out;
}

}  // namespace orlop::control
