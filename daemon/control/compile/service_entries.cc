#include "daemon/control/compile/service_entries.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>

namespace orlop::control {
namespace {

// An endpoint outside the cluster as a workload that is not enrolled: it has labels for subsets and
// names for metrics, and no mesh TLS.
model::WorkloadPtr
outside_workload(const Object& object, const OutsideEndpoint& endpoint, const IpAddress& ip) {
    bool plain = endpoint.labels.empty() && endpoint.service_account.empty();
    if (plain) {
        return nullptr;
    }
    auto out = std::make_shared<model::Workload>();
    out->uid =
        fmt::format("{}/{}/{}/{}", object.key.kind, object.key.ns, object.key.name, ip.to_string());
    out->name = object.key.name;
    out->ns = object.key.ns;
    out->service_account = endpoint.service_account;
    out->labels = endpoint.labels;
    out->addresses = {ip};
    out->workload_name = object.key.name;
    auto label = [&](const char* name) {
        auto found = endpoint.labels.find(name);
        return found == endpoint.labels.end() ? std::string() : found->second;
    };
    out->app = label("app");
    out->version = label("version");
    out->canonical_name = out->app.empty() ? object.key.name : out->app;
    out->canonical_revision = out->version.empty() ? "latest" : out->version;
    return out;
}

class Entry {
public:
    Entry(const OutsideInput& in, const ObjectPtr& object, std::set<std::string>& wanted)
        : in_(in), object_(object), spec_(std::get<ServiceEntrySpec>(object->spec)),
          wanted_(wanted) {}

    ServiceRecord record(const std::string& host) {
        ServiceRecord out;
        auto service = std::make_shared<model::Service>();
        service->name = host;
        service->ns = object_->key.ns;
        service->host = host;
        service->addresses = spec_.addresses;
        service->ports = spec_.ports;
        service->external = spec_.external;
        service->resolution = spec_.resolution;
        service->source = object_->ref;
        out.service = std::move(service);
        out.export_to = spec_.export_to;
        out.ranges = spec_.ranges;
        out.subject_alt_names = spec_.subject_alt_names;
        out.endpoints.resize(spec_.ports.size());
        for (const OutsideEndpoint& endpoint : spec_.endpoints) {
            add(*object_, endpoint, out);
        }
        bool the_host_itself = spec_.resolution == model::Resolution::dns &&
                               spec_.endpoints.empty() && spec_.workload_selector.empty();
        if (the_host_itself) {
            OutsideEndpoint endpoint;
            endpoint.address = host;
            add(*object_, endpoint, out);
        }
        if (!spec_.workload_selector.empty()) {
            add_selected(out);
        }
        return out;
    }

private:
    std::uint16_t port_of(const OutsideEndpoint& endpoint, const model::ServicePort& port) const {
        auto own = endpoint.ports.find(port.name);
        return own == endpoint.ports.end() ? port.target_port : own->second;
    }

    std::vector<IpAddress> addresses_of(const OutsideEndpoint& endpoint) {
        if (endpoint.ip) {
            return {*endpoint.ip};
        }
        wanted_.insert(endpoint.address);
        if (in_.dns == nullptr) {
            return {};
        }
        auto answer = in_.dns->find(endpoint.address);
        if (answer == in_.dns->end()) {
            return {};
        }
        bool first_only = spec_.one_address && !answer->second.empty();
        return first_only ? std::vector<IpAddress>{answer->second.front()} : answer->second;
    }

    void add(const Object& owner, const OutsideEndpoint& endpoint, ServiceRecord& out) {
        for (const IpAddress& ip : addresses_of(endpoint)) {
            const auto* pod = in_.by_address.find(ip);
            auto workload = pod != nullptr ? pod->workload : outside_workload(owner, endpoint, ip);
            for (std::size_t i = 0; i < spec_.ports.size(); ++i) {
                model::Endpoint made;
                made.address = {ip, port_of(endpoint, spec_.ports[i])};
                made.weight = endpoint.weight;
                made.workload = workload;
                out.endpoints[i].push_back(std::move(made));
            }
        }
    }

    void add_selected(ServiceRecord& out) {
        for (const PodWorkload& pod : in_.workloads.all) {
            const model::Workload& workload = *pod.workload;
            bool serves = workload.ns == object_->key.ns && workload.ready &&
                          !workload.terminating && !workload.addresses.empty() &&
                          selects(spec_.workload_selector, workload.labels);
            for (std::size_t i = 0; serves && i < spec_.ports.size(); ++i) {
                model::Endpoint made;
                made.address = {workload.addresses.front(), spec_.ports[i].target_port};
                made.workload = pod.workload;
                out.endpoints[i].push_back(std::move(made));
            }
        }
        for (const ObjectPtr& object : in_.store.in_creation_order("WorkloadEntry")) {
            const OutsideEndpoint& endpoint = std::get<WorkloadEntrySpec>(object->spec).endpoint;
            if (object->key.ns == object_->key.ns &&
                selects(spec_.workload_selector, endpoint.labels)) {
                add(*object, endpoint, out);
            }
        }
    }

    const OutsideInput& in_;
    const ObjectPtr& object_;
    const ServiceEntrySpec& spec_;
    std::set<std::string>& wanted_;
};

}  // namespace

std::set<std::string> add_service_entries(const OutsideInput& in, Services& services) {
    std::set<std::string> wanted;
    for (const ObjectPtr& object : in.store.in_creation_order("ServiceEntry")) {
        const auto& spec = std::get<ServiceEntrySpec>(object->spec);
        bool hidden = spec.export_to.size() == 1 && spec.export_to.front() == "~";
        Entry entry(in, object, wanted);
        for (const std::string& host : spec.hosts) {
            if (hidden) {
                continue;
            }
            auto [known, added] = services.by_host.emplace(host, services.all.size());
            if (!added) {
                in.findings.warn(
                    "ORL015",
                    object->ref,
                    "spec.hosts",
                    fmt::format("host {} is already defined by {}",
                                host,
                                services.all[known->second].service->source->to_string()),
                    "the older definition is in force; remove one of them");
                continue;
            }
            services.all.push_back(entry.record(host));
        }
    }
    return wanted;
}

}  // namespace orlop::control
