#include "daemon/control/compile/gateway_hosts.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

const VirtualServiceSpec& spec_of(const Object& object) {
    return std::get<VirtualServiceSpec>(object.spec);
}

bool names_gateway(const Object& object, const std::string& key) {
    auto is_key = [&](const std::string& written) {
        return gateway_key(written, object.key.ns) == key;
    };
    const VirtualServiceSpec& spec = spec_of(object);
    return std::ranges::any_of(spec.gateways, is_key) ||
           std::ranges::any_of(spec.http, [&](const HttpRouteSpec& route) {
               return std::ranges::any_of(route.matches, [&](const MatchSpec& match) {
                   return std::ranges::any_of(match.gateways, is_key);
               });
           });
}

// The narrower of two names when one covers the other, else nothing.
std::string meeting(const std::string& one, const std::string& other) {
    return model::name_covers(one, other) ? other : model::name_covers(other, one) ? one : "";
}

std::vector<std::string> all_meetings(const std::vector<std::string>& ones,
                                      const std::vector<std::string>& others) {
    std::vector<std::string> out;
    for (const std::string& one : ones) {
        for (const std::string& other : others) {
            if (std::string both = meeting(one, other); !both.empty()) {
                out.push_back(std::move(both));
            }
        }
    }
    return out;
}

// Sent to https with host and path as they are (Envoy: require_tls ALL).
model::HttpRoute https_redirect(const model::ObjectRefPtr& source) {
    model::HttpRoute route;
    route.name = "https-redirect";
    route.redirect = model::Redirect{};
    route.redirect->scheme = "https";
    route.source = source;
    return route;
}

}  // namespace

GatewayHosts::GatewayHosts(const GatewayInput& in, Assembler& assembler, std::uint16_t port)
    : in_(in), assembler_(assembler), port_(port) {}

std::vector<std::string> GatewayHosts::meeting_names(const BoundServer& server,
                                                     const Object& object) const {
    std::vector<std::string> names;
    const model::MeshConfig& mesh = in_.assemble.mesh;
    if (!is_visible(spec_of(object).export_to, object.key.ns, mesh.gateway.ns)) {
        return names;
    }
    for (const std::string& written : spec_of(object).hosts) {
        std::string host = full_host(written, object.key.ns, mesh);
        for (const GatewayServerSpec::Host& served : server.spec->hosts) {
            bool ns_fits = served.ns == "*" || served.ns == object.key.ns;
            std::string name = ns_fits ? meeting(host, served.name) : std::string();
            if (!name.empty() && std::ranges::find(names, name) == names.end()) {
                names.push_back(std::move(name));
            }
        }
    }
    return names;
}

void GatewayHosts::bind(const BoundServer& server,
                        const ObjectPtr& virtual_service,
                        Domains& domains) const {
    if (!names_gateway(*virtual_service, server.key())) {
        return;
    }
    for (const std::string& name : meeting_names(server, *virtual_service)) {
        Domain& domain = domains[name];
        if (server.spec->tls && server.spec->tls->https_redirect) {
            domain.redirect = server.spec->source;
        }
        auto& objects = domain.objects;
        if (std::ranges::find(objects, virtual_service) == objects.end()) {
            objects.push_back(virtual_service);
        }
    }
}

model::VirtualHostPtr
GatewayHosts::join(const std::string& name, const Domain& domain, const Audience& audience) {
    HostRoutes routes;
    if (domain.redirect) {
        return assembler_.add_gateway_host(name, port_, routes, https_redirect(domain.redirect));
    }
    std::vector<ObjectPtr> objects = domain.objects;
    for (const ObjectPtr& object : in_.virtual_services) {
        if (spec_of(*object).hosts.empty()) {
            objects.push_back(object);  // a delegate
        }
    }
    RouteBook book(objects, in_.assemble.mesh, in_.assemble.findings, audience);
    HostRoutesPtr found = book.find(in_.assemble.mesh.gateway.ns, name);
    return found ? assembler_.add_gateway_host(name, port_, *found, std::nullopt) : nullptr;
}

void GatewayHosts::add_http(const std::vector<BoundServer>& servers, model::HostTable& hosts) {
    Domains domains;
    Audience audience;
    for (const BoundServer& server : servers) {
        audience.insert(server.key());
        if (server.spec->tls && server.spec->tls->https_redirect) {
            for (const GatewayServerSpec::Host& host : server.spec->hosts) {
                domains[host.name].redirect = server.spec->source;
            }
        }
    }
    for (const ObjectPtr& object : in_.virtual_services) {
        for (const BoundServer& server : servers) {
            bind(server, object, domains);
        }
    }
    for (const auto& [name, domain] : domains) {
        if (auto host = join(name, domain, audience)) {
            hosts.add(name, std::move(host));
        }
    }
}

void GatewayHosts::add_bytes(const BoundServer& server,
                             std::vector<model::GatewayByteRoute>& routes) {
    bool by_name = server.spec->tls && server.spec->tls->mode == GatewayTlsMode::passthrough;
    for (const ObjectPtr& object : in_.virtual_services) {
        std::vector<std::string> names = meeting_names(server, *object);
        if (names.empty() || !names_gateway(*object, server.key())) {
            continue;
        }
        for (const L4RouteSpec& spec : by_name ? spec_of(*object).tls : spec_of(*object).tcp) {
            bool for_port =
                spec.ports.empty() || std::ranges::find(spec.ports, port_) != spec.ports.end();
            model::GatewayByteRoute route;
            route.server_names = all_meetings(spec.sni_hosts, names);
            if (for_port && (!by_name || !route.server_names.empty())) {
                route.choice = assembler_.add_byte_route(spec, object->key.ns, port_);
                routes.push_back(std::move(route));
            }
        }
    }
}

}  // namespace orlop::control
