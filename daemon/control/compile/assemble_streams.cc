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
void Assembler::add_port(const ServiceRecord& record, std::uint32_t target) {
    const model::Service& service = *record.service;
    const auto& targets = build_.fixed.targets;
    const std::uint32_t port_index = targets[target].port_index;
    const model::ServicePort& port = service.ports[port_index];
    bool http = model::is_http(port.protocol);
    bool unaddressed = service.resolution != model::Resolution::registry &&
                       service.addresses.empty() && record.ranges.empty();
    if (!http && !unaddressed) {
        return;
    }
    bool named = http || port.protocol == model::Protocol::tls;
    auto known = scope_.names.by_port.find(port.port);
    if (known == scope_.names.by_port.end()) {
        std::uint32_t own =
            named
                ? add_target({targets[target].service, port_index, model::nowhere, model::nowhere})
                : target;
        scope_.names.by_port.emplace(port.port, own);
        return;
    }
    const model::PortTarget& first = targets[known->second];
    const model::Service& first_service = *in_.services.all[first.service].service;
    auto protocol = first_service.ports[first.port_index].protocol;
    bool same = named && first.destination == model::nowhere && model::is_http(protocol) == http;
    if (!same && unaddressed) {
        in_.findings.warn(
            "ORL014",
            service.source,
            "spec.ports",
            fmt::format(
                "port {} without addresses is already that of {}", port.port, first_service.host),
            "connections to it are told apart by address alone; give the entry addresses");
    }
}

void Assembler::name_service(const ServiceRecord& record, const model::HostsByPort& by_port) {
    const model::Service& service = *record.service;
    for (const IpAddress& address : service.addresses) {
        bool v4 = address.is_v4();
        scope_.names.by_host[v4 ? address.to_string() : "[" + address.to_string() + "]"] = by_port;
    }
    if (service.host.starts_with('*')) {
        add_wildcard(service.host.substr(1), by_port);
        return;
    }
    if (service.name != service.host) {  // a Service of the registry, not a ServiceEntry
        std::string short_name = service.name + "." + service.ns;
        scope_.names.by_host[short_name + ".svc"] = by_port;
        scope_.names.by_host[std::move(short_name)] = by_port;
    }
    scope_.names.by_host[service.host] = by_port;
}

void Assembler::add_wildcard(std::string suffix, const model::HostsByPort& by_port) {
    auto& known = scope_.names.wildcards;
    auto same = std::ranges::find(known, suffix, [](const auto& entry) { return entry.first; });
    if (same != known.end()) {
        same->second.insert(same->second.end(), by_port.begin(), by_port.end());
        return;
    }
    known.emplace_back(std::move(suffix), by_port);
    std::ranges::sort(known, [](const auto& a, const auto& b) {
        return a.first.size() != b.first.size() ? a.first.size() > b.first.size()
                                                : a.first < b.first;
    });
}

void Assembler::add_ranges(const ServiceRecord& record, std::uint32_t target) {
    auto& ranges = scope_.names.ranges;
    for (const Cidr& range : record.ranges) {
        auto shorter = std::ranges::find_if(ranges, [&](const auto& entry) {
            return entry.first.prefix_length() < range.prefix_length();
        });
        ranges.emplace(shorter, range, target);
    }
}

}  // namespace orlop::control
