// What the Assembler makes of connections whose requests are not read: tls and tcp routes, and
// services that are known by their port alone.
#include "daemon/control/compile/assemble.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {

model::StreamRoute Assembler::stream_route(const HostStreams::Route& route, std::uint16_t port) {
    model::StreamRoute out;
    out.matches.push_back(stream_match(*route.spec));
    for (const RouteChoice& choice : route.spec->choices) {
        model::WeightedDestination to;
        to.destination = resolve(choice.to, route.ns, port, route.spec->source, to.wanted);
        to.weight = choice.weight;
        out.choice.weight_total += to.weight;
        out.choice.destinations.push_back(std::move(to));
    }
    out.choice.source = route.spec->source;
    return out;
}

void Assembler::add_streams(const std::string& host, model::VirtualHost& out) {
    HostStreams streams = in_.streams.find(client_ns_, host);
    auto add = [&](const std::vector<HostStreams::Route>& from,
                   std::vector<model::StreamRoute>& into) {
        for (const HostStreams::Route& route : from) {
            bool other_port =
                out.port != 0 && !route.spec->ports.empty() && route.spec->ports[0] != out.port;
            if (!other_port) {
                into.push_back(stream_route(route, out.port));
            }
        }
    };
    add(streams.tls, out.tls);
    add(streams.tcp, out.tcp);
}

// HTTP and TLS name the host inside the connection, so one entry stands for all services of that
// port; of plain TCP only the first service can have it.
void Assembler::add_port(const ServiceRecord& record,
                         std::size_t port_index,
                         const model::VirtualHostPtr& host,
                         const model::DestinationPtr& whole) {
    const model::Service& service = *record.service;
    const model::ServicePort& port = service.ports[port_index];
    bool http = model::is_http(port.protocol);
    bool unaddressed = service.resolution != model::Resolution::registry &&
                       service.addresses.empty() && record.ranges.empty();
    if (!http && !unaddressed) {
        return;
    }
    bool named = http || port.protocol == model::Protocol::tls;
    model::PortTarget target{record.service, port_index, nullptr, nullptr, {}};
    if (!named) {
        target.virtual_host = host;
        target.destination = whole;
    }
    auto [known, added] = scope_.by_port.try_emplace(port.port, std::move(target));
    if (added) {
        return;
    }
    const model::PortTarget& first = known->second;
    auto protocol = first.service->ports[first.port_index].protocol;
    bool same = named && first.destination == nullptr && model::is_http(protocol) == http;
    if (!same && unaddressed) {
        in_.findings.warn(
            "ORL014",
            service.source,
            "spec.ports",
            fmt::format(
                "port {} without addresses is already that of {}", port.port, first.service->host),
            "connections to it are told apart by address alone; give the entry addresses");
    }
}

void Assembler::name_service(const ServiceRecord& record, HostsByPort by_port) {
    const model::Service& service = *record.service;
    for (const IpAddress& address : service.addresses) {
        bool v4 = address.is_v4();
        scope_.by_host[v4 ? address.to_string() : "[" + address.to_string() + "]"] = by_port;
    }
    if (service.host.starts_with('*')) {
        add_wildcard(service.host.substr(1), std::move(by_port));
        return;
    }
    if (service.name != service.host) {  // a Service of the registry, not a ServiceEntry
        std::string short_name = service.name + "." + service.ns;
        scope_.by_host[short_name + ".svc"] = by_port;
        scope_.by_host[std::move(short_name)] = by_port;
    }
    scope_.by_host[service.host] = std::move(by_port);
}

void Assembler::add_wildcard(std::string suffix, HostsByPort by_port) {
    auto& known = scope_.wildcards;
    auto same = std::ranges::find(known, suffix, [](const auto& entry) { return entry.first; });
    if (same != known.end()) {
        same->second.insert(same->second.end(), by_port.begin(), by_port.end());
        return;
    }
    known.emplace_back(std::move(suffix), std::move(by_port));
    std::ranges::sort(known, [](const auto& a, const auto& b) {
        return a.first.size() != b.first.size() ? a.first.size() > b.first.size()
                                                : a.first < b.first;
    });
}

void Assembler::add_ranges(const ServiceRecord& record,
                           std::size_t port_index,
                           const model::VirtualHostPtr& host,
                           const model::DestinationPtr& whole) {
    for (const Cidr& range : record.ranges) {
        auto shorter = std::ranges::find_if(scope_.ranges, [&](const auto& entry) {
            return entry.first.prefix_length() < range.prefix_length();
        });
        scope_.ranges.emplace(
            shorter, range, model::PortTarget{record.service, port_index, host, whole, {}});
    }
}

}  // namespace orlop::control
