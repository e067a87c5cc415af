#include "daemon/control/compile/external_names.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

// Per port of the alias: what the port of the same number has.
void take_endpoints(const ServiceRecord& target, ServiceRecord& out) {
    const auto& theirs = target.service->ports;
    const auto& ours = out.service->ports;
    for (std::size_t i = 0; i < ours.size(); ++i) {
        auto same = std::ranges::find(theirs, ours[i].port, &model::ServicePort::port);
        if (same != theirs.end()) {
            out.endpoints[i] = target.endpoints[static_cast<std::size_t>(same - theirs.begin())];
        }
    }
}

void look_up(const DnsAnswers* dns, const std::string& name, ServiceRecord& out) {
    auto answer = dns == nullptr ? DnsAnswers::const_iterator() : dns->find(name);
    if (dns == nullptr || answer == dns->end()) {
        return;
    }
    for (const IpAddress& ip : answer->second) {
        for (std::size_t i = 0; i < out.endpoints.size(); ++i) {
            model::Endpoint endpoint;
            endpoint.address = {ip, out.service->ports[i].port};
            out.endpoints[i].push_back(std::move(endpoint));
        }
    }
}

}  // namespace

std::set<std::string>
add_external_names(const OutsideInput& in, const model::MeshConfig& mesh, Services& services) {
    std::set<std::string> wanted;
    std::vector<ServiceRecord> made;
    for (const ObjectPtr& object : in.store.in_creation_order("Service")) {
        const auto& spec = std::get<ServiceSpec>(object->spec);
        if (spec.external_name.empty()) {
            continue;
        }
        if (spec.ports.empty()) {
            in.findings.inform("ORL036",
                               object->ref,
                               "spec.ports",
                               "without ports the alias means nothing here: connections to it go "
                               "where the caller's own look-up leads",
                               "list the ports that rules shall apply to");
            continue;
        }
        const ServiceRecord* target = services.find(spec.external_name);
        auto service = std::make_shared<model::Service>();
        service->name = object->key.name;
        service->ns = object->key.ns;
        service->host = full_host(object->key.name, object->key.ns, mesh);
        service->ports = spec.ports;
        service->external = target == nullptr || target->service->external;
        service->resolution = model::Resolution::dns;
        service->source = object->ref;
        ServiceRecord record;
        record.service = std::move(service);
        record.export_to = spec.export_to;
        record.endpoints.resize(spec.ports.size());
        if (target != nullptr) {
            take_endpoints(*target, record);
        } else {
            wanted.insert(spec.external_name);
            look_up(in.dns, spec.external_name, record);
        }
        made.push_back(std::move(record));
    }
    for (ServiceRecord& record : made) {
        if (services.by_host.emplace(record.service->host, services.all.size()).second) {
            services.all.push_back(std::move(record));
        }
    }
    return wanted;
}

}  // namespace orlop::control
