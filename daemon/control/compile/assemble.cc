#include "daemon/control/compile/assemble.h"

#include "daemon/control/compile/client_tls.h"
#include "daemon/model/route_index.h"
#include "daemon/model/stable_hash.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

std::size_t port_index_of(const model::Service& service, std::uint16_t port) {
    auto found = std::ranges::find_if(service.ports, [&](const model::ServicePort& candidate) {
        return candidate.port == port && candidate.protocol != model::Protocol::udp;
    });
    return static_cast<std::size_t>(found - service.ports.begin());
}

}  // namespace

bool has_labels(const model::Endpoint& endpoint, const model::Labels& wanted) {
    if (wanted.empty()) {
        return true;
    }
    if (endpoint.workload == nullptr) {
        return false;
    }
    const model::Labels& labels = endpoint.workload->labels;
    return std::ranges::all_of(wanted, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

Assembler::Assembler(const AssembleInput& in,
                     std::string client_ns,
                     TableBuild& build,
                     std::string caller)
    : in_(in), client_ns_(std::move(client_ns)), caller_(std::move(caller)), build_(build),
      scope_(build.scopes[client_ns_]) {}

Assembler::Assembler(const AssembleInput& in, const SidecarScope& sidecar, TableBuild& build)
    : in_(in), client_ns_(sidecar.ns), build_(build), scope_(build.scopes[sidecar.name]),
      view_(&sidecar.view) {
    scope_.names.stands_alone = true;
    scope_.names.outbound_policy = sidecar.view.spec().outbound_policy;
}

// `port` 0: on any port.
bool Assembler::shown(const ServiceRecord& record, std::uint16_t port) const {
    const model::Service& service = *record.service;
    return is_visible(record.export_to, service.ns, client_ns_) &&
           (view_ == nullptr || view_->shows(service.ns, service.host, port));
}

const SubsetSpec* Assembler::find_subset(const ServiceRecord& record,
                                         const MergedRule* rule,
                                         const std::string& name) {
    std::string key = client_ns_ + "|" + record.service->host + "|" + name;
    if (const SubsetSpec* found = rule == nullptr ? nullptr : rule->find(name)) {
        in_.memory.subsets[key] = std::make_shared<const SubsetSpec>(*found);
        return found;
    }
    auto remembered = in_.memory.subsets.find(key);
    return remembered == in_.memory.subsets.end() ? nullptr : remembered->second.get();
}

Assembler::PlacedDestination Assembler::destination(const ServiceRecord& record,
                                                    std::size_t port_index,
                                                    const std::string& subset_name) {
    const model::Service& service = *record.service;
    const model::ServicePort& port = service.ports[port_index];
    std::string cluster = fmt::format("outbound|{}|{}|{}", port.port, subset_name, service.host);
    if (auto known = destinations_.find(cluster); known != destinations_.end()) {
        return known->second;
    }
    const MergedRule* rule = in_.rules.find(client_ns_, service.host, service.ns);
    const SubsetSpec* subset = nullptr;
    if (!subset_name.empty()) {
        subset = find_subset(record, rule, subset_name);
        if (subset == nullptr) {
            return {};
        }
    }
    auto out = std::make_shared<model::Destination>();
    out->service = record.service;
    out->subset = subset_name;
    out->port = port;
    out->policy = effective_policy(rule, subset, port.port);
    if (!out->policy.locality_lb) {
        out->policy.locality_lb = in_.mesh.locality_lb;
    }
    if (out->policy.tls && out->policy.tls->subject_alt_names.empty()) {
        out->policy.tls->subject_alt_names = record.subject_alt_names;
    }
    for (const model::Endpoint& endpoint : record.endpoints[port_index]) {
        if (subset == nullptr || has_labels(endpoint, subset->labels)) {
            out->endpoints.push_back(endpoint);
        }
    }
    out->endpoints.shrink_to_fit();
    out->cluster_name = cluster;
    bool gateway = !caller_.empty();
    originate_tls(in_.credentials, in_.findings, gateway ? in_.mesh.gateway.ns : "", *out);
    // Other TLS, other connections: the key tells pools apart.
    out->key = model::stable_hash(cluster + "@" + client_ns_ + "@" + caller_ +
                                  (out->tls ? "@" + out->tls->key : std::string()));
    in_.memory.endpoints.complete(*out);
    PlacedDestination placed{out, build_.tables.destinations.push_back(out)};
    if (subset != nullptr) {
        build_.subset_labels.emplace(placed.at, subset->labels);
    }
    destinations_.emplace(std::move(cluster), placed);
    return placed;
}

model::DestinationPtr Assembler::resolve(const DestinationName& name,
                                         const std::string& ns,
                                         std::uint16_t arrival_port,
                                         const model::ObjectRefPtr& where,
                                         std::string& wanted) {
    std::string host = full_host(name.host, ns, in_.mesh);
    const ServiceRecord* record = in_.services.find(host);
    std::uint16_t port = name.port;
    if (port == 0 && record != nullptr) {
        std::size_t tcp_ports = 0;
        std::uint16_t only = 0;
        for (const model::ServicePort& candidate : record->service->ports) {
            if (candidate.protocol != model::Protocol::udp) {
                ++tcp_ports;
                only = candidate.port;
            }
        }
        port = tcp_ports == 1 ? only : arrival_port;
    }
    wanted = fmt::format("{}:{}{}{}", host, port, name.subset.empty() ? "" : "/", name.subset);
    if (record == nullptr || !is_visible(record->export_to, record->service->ns, client_ns_)) {
        in_.findings.warn("IST0101",
                          where,
                          name.path + ".host",
                          fmt::format("host {} not found", host),
                          host.find('.') != std::string::npos && name.host == host
                              ? "a name with a dot is taken literally; write the full name"
                              : "such requests are answered 503 until the Service exists");
        return nullptr;
    }
    std::size_t index = port_index_of(*record->service, port);
    if (index == record->service->ports.size()) {
        in_.findings.warn("IST0101",
                          where,
                          name.path + ".port",
                          fmt::format("service {} has no port {}", host, port),
                          "such requests are answered 503; name one of its ports");
        return nullptr;
    }
    model::DestinationPtr found = destination(*record, index, name.subset).value;
    if (!found) {
        in_.findings.warn("IST0101",
                          where,
                          name.path + ".subset",
                          fmt::format("host {} has no subset {}", host, name.subset),
                          "such requests are answered 503; define the subset in a "
                          "DestinationRule");
    }
    return found;
}

model::HttpRoute Assembler::lower(const HostRoutes::Route& route, std::uint16_t port) {
    const HttpRouteSpec& spec = route.spec;
    model::HttpRoute out;
    out.name = spec.name;
    for (const MatchSpec& match : spec.matches) {
        if (match.match.port == 0 || port == 0 || match.match.port == port) {
            out.matches.push_back(match.match);
        }
    }
    for (const RouteChoice& choice : spec.choices) {
        model::WeightedDestination to;
        to.destination = resolve(choice.to, route.ns, port, spec.source, to.wanted);
        to.weight = choice.weight;
        to.request_headers = choice.request_headers;
        to.response_headers = choice.response_headers;
        out.weight_total += to.weight;
        out.destinations.push_back(std::move(to));
    }
    for (const MirrorSpec& mirror : spec.mirrors.value_or(std::vector<MirrorSpec>{})) {
        std::string wanted;
        if (auto to = resolve(mirror.to, route.ns, port, spec.source, wanted)) {
            out.mirrors.push_back({std::move(to), mirror.percent});
        }
    }
    out.timeout = spec.timeout;
    out.retries = spec.retries ? *spec.retries : in_.mesh.default_retry;
    out.fault = spec.fault;
    out.redirect = spec.redirect;
    out.direct_response = spec.direct_response;
    out.rewrite = spec.rewrite;
    out.cors = spec.cors;
    out.request_headers = spec.request_headers;
    out.response_headers = spec.response_headers;
    out.source = spec.source;
    out.timeout_source = spec.timeout_source;
    return out;
}

Assembler::PlacedHost Assembler::virtual_host(const std::string& host,
                                              std::uint16_t port,
                                              const HostRoutes* routes,
                                              const model::DestinationPtr& fallback) {
    auto out = std::make_shared<model::VirtualHost>();
    out->host = host;
    out->port = port;
    out->whole = fallback;
    add_streams(host, *out);
    if (routes != nullptr && !routes->routes.empty()) {
        out->source = routes->source;
        for (const HostRoutes::Route& route : routes->routes) {
            model::HttpRoute lowered = lower(route, port);
            bool for_other_ports = lowered.matches.empty() && !route.spec.matches.empty();
            if (!for_other_ports) {
                out->routes.push_back(std::move(lowered));
            }
        }
    } else if (fallback) {
        model::HttpRoute route;
        route.name = "default";
        route.destinations.push_back({fallback, fallback->cluster_name, 1, {}, {}});
        route.weight_total = 1;
        route.retries = in_.mesh.default_retry;
        out->routes.push_back(std::move(route));
    }
    out->index = model::make_route_index(out->routes);
    const ServiceRecord* record = in_.services.find(host);
    out->rate_limits =
        in_.limits.of(host, record == nullptr ? "" : record->service->ns, in_.findings);
    return {out, build_.tables.virtual_hosts.push_back(out)};
}

std::uint32_t Assembler::add_target(model::PortTarget target) {
    build_.fixed.targets.push_back(target);
    return static_cast<std::uint32_t>(build_.fixed.targets.size() - 1);
}

void Assembler::add_addresses(const ServiceRecord& record, std::uint32_t target) {
    std::size_t port_index = build_.fixed.targets[target].port_index;
    const model::ServicePort& port = record.service->ports[port_index];
    for (const IpAddress& address : record.service->addresses) {
        scope_.names.by_address.insert_or_assign({address, port.port}, target);
    }
    add_ranges(record, target);
    for (model::PodTarget& claim :
         claims_of(record.endpoints[port_index], *record.service, target)) {
        scope_.claims.add(std::move(claim));
    }
}

void Assembler::add_service(const ServiceRecord& record) {
    const model::Service& service = *record.service;
    if (!shown(record, 0)) {
        return;
    }
    HostRoutesPtr routes = in_.routes.find(client_ns_, service.host);
    model::HostsByPort by_port;
    for (std::uint32_t i = 0; i < service.ports.size(); ++i) {
        std::uint16_t port = service.ports[i].port;
        if (service.ports[i].protocol == model::Protocol::udp || !shown(record, port)) {
            continue;
        }
        auto whole = destination(record, i, "");
        auto host = virtual_host(service.host, port, routes.get(), whole.value);
        std::uint32_t target = add_target({in_.services.position(record), i, host.at, whole.at});
        scope_.targets.push_back(target);
        add_addresses(record, target);
        add_port(record, target);
        by_port.emplace_back(port, host.at);
    }
    name_service(record, by_port);
}

void Assembler::add_foreign_host(const std::string& host) {
    if (in_.services.find(host) != nullptr) {
        return;
    }
    HostRoutesPtr routes = in_.routes.find(client_ns_, host);
    HostStreams streams = in_.streams.find(client_ns_, host);
    bool hidden = view_ != nullptr && !view_->shows("", host, 0);
    if ((!routes && streams.empty()) || hidden) {
        return;
    }
    auto built = virtual_host(host, 0, routes.get(), nullptr);
    if (host.starts_with('*')) {
        add_wildcard(host.substr(1), {{std::uint16_t{0}, built.at}});
        return;
    }
    scope_.names.by_host[host].emplace_back(std::uint16_t{0}, built.at);
}

model::VirtualHostPtr Assembler::add_gateway_host(const std::string& host,
                                                  std::uint16_t port,
                                                  const HostRoutes& routes,
                                                  std::optional<model::HttpRoute> first) {
    auto built = virtual_host(host, port, &routes, nullptr);
    if (!first) {
        return built.value;
    }
    auto with_first = std::make_shared<model::VirtualHost>(*built.value);
    with_first->source = first->source;
    with_first->routes.insert(with_first->routes.begin(), *std::move(first));
    with_first->index = model::make_route_index(with_first->routes);
    model::PositionList<model::VirtualHostPtr>::Edit(build_.tables.virtual_hosts)
        .put(built.at, with_first);
    return with_first;
}

model::HttpRoute
Assembler::add_byte_route(const L4RouteSpec& spec, const std::string& ns, std::uint16_t port) {
    model::HttpRoute out;
    for (const RouteChoice& choice : spec.choices) {
        model::WeightedDestination to;
        to.destination = resolve(choice.to, ns, port, spec.source, to.wanted);
        to.weight = choice.weight;
        out.weight_total += to.weight;
        out.destinations.push_back(std::move(to));
    }
    out.source = spec.source;
    return out;
}

const DestinationName* unknown_subset(const Object& virtual_service,
                                      const model::MeshConfig& mesh,
                                      const Services& services,
                                      RuleBook& rules) {
    const std::string& ns = virtual_service.key.ns;
    auto unknown = [&](const DestinationName& name) {
        if (name.subset.empty()) {
            return false;
        }
        const ServiceRecord* record = services.find(full_host(name.host, ns, mesh));
        if (record == nullptr) {
            return false;
        }
        const MergedRule* rule = rules.find(ns, record->service->host, record->service->ns);
        return rule == nullptr || rule->find(name.subset) == nullptr;
    };
    for (const HttpRouteSpec& route : std::get<VirtualServiceSpec>(virtual_service.spec).http) {
        for (const RouteChoice& choice : route.choices) {
            if (unknown(choice.to)) {
                return &choice.to;
            }
        }
    }
    return nullptr;
}

}  // namespace orlop::control
