#include "daemon/control/compile/gateways.h"

#include "daemon/control/compile/authorization.h"
#include "daemon/control/compile/gateway_hosts.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

namespace orlop::control {
namespace {

using Mode = GatewayTlsMode;

// One listener before it is built: the servers that share an address and port.
using Group = std::vector<BoundServer>;

bool selected(const model::Labels& selector, const model::Labels& labels) {
    return std::ranges::all_of(selector, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

// Whether callers of the server begin with a ClientHello.
bool speaks_tls(const GatewayServerSpec& server) {
    return server.tls && !server.tls->https_redirect;
}

bool is_bytes(const GatewayServerSpec& server) {
    bool opaque = server.protocol == GatewayProtocol::tcp ||
                  server.protocol == GatewayProtocol::tls ||
                  server.protocol == GatewayProtocol::mongo;
    return opaque ||
           (server.tls && !server.tls->https_redirect && server.tls->mode == Mode::passthrough);
}

enum class Manner : unsigned char { http, bytes, tls };

Manner manner_of(const GatewayServerSpec& server) {
    return speaks_tls(server) ? Manner::tls : is_bytes(server) ? Manner::bytes : Manner::http;
}

class Builder {
public:
    Builder(const GatewayInput& in, TableBuild& build)
        : in_(in), mesh_(in.assemble.mesh), findings_(in.assemble.findings), build_(build),
          assembler_(in.assemble, mesh_.gateway.ns, build, "gateway") {}

    void build();

private:
    void collect(const ObjectPtr& gateway);
    void add(const SocketAddress& address, BoundServer server);
    void report_unknown_gateways() const;
    model::WorkloadPtr workload() const;
    void listener(const SocketAddress& address, const Group& group);
    model::GatewayServer
    server(const SocketAddress& address, const BoundServer& bound, GatewayHosts& hosts);
    void end_tls(const BoundServer& bound, model::GatewayServer& out);
    TlsTerms terms_of(const GatewayServerSpec& spec, const std::string& label) const;

    const GatewayInput& in_;
    const model::MeshConfig& mesh_;
    FindingSink& findings_;
    TableBuild& build_;
    Assembler assembler_;
    std::map<SocketAddress, Group> groups_;
};

model::WorkloadPtr Builder::workload() const {
    const model::GatewayRole& role = mesh_.gateway;
    auto out = std::make_shared<model::Workload>();
    out->uid = "gateway/" + in_.node;
    out->name = role.name;
    out->ns = role.ns;
    out->service_account = role.service_account;
    out->node = in_.node;
    out->identity = {mesh_.trust_domain, role.ns, role.service_account};
    out->labels = role.labels;
    out->addresses = in_.node_addresses;
    out->workload_name = out->canonical_name = role.name;
    out->canonical_revision = "latest";
    auto app = role.labels.find("app");
    out->app = app == role.labels.end() ? role.name : app->second;
    out->enrol_wanted = true;  // it has an identity and speaks HBONE as a caller
    out->local = true;
    out->host_network = true;
    out->authorization = AuthorizationBook(in_.store, mesh_).of(*out);
    return out;
}

void Builder::collect(const ObjectPtr& gateway) {
    const auto& spec = std::get<GatewaySpec>(gateway->spec);
    if (!selected(spec.selector, mesh_.gateway.labels)) {
        findings_.warn("IST0101",
                       gateway->ref,
                       "spec.selector",
                       "no gateway has these labels; this object opens no port",
                       "istio: ingressgateway, or set MeshConfig spec.gateway.labels");
        return;
    }
    for (const GatewayServerSpec& server : spec.servers) {
        std::vector<IpAddress> addresses = mesh_.gateway.addresses;
        if (server.bind) {
            addresses = {*server.bind};
        } else if (addresses.empty()) {
            addresses = {*IpAddress::parse("0.0.0.0"), *IpAddress::parse("::")};
        }
        for (const IpAddress& address : addresses) {
            add({address, server.port}, {gateway, &server});
        }
    }
}

// What cannot share a port with the first of its servers is left out.
void Builder::add(const SocketAddress& address, BoundServer server) {
    Group& group = groups_[address];
    if (!group.empty()) {
        const GatewayServerSpec& first = *group.front().spec;
        Manner manner = manner_of(*server.spec);
        bool alone = manner == Manner::bytes;  // nothing tells its connections apart
        if (manner != manner_of(first) || alone) {
            findings_.warn(
                "ORL030",
                server.spec->source,
                server.spec->path + ".port",
                fmt::format("port {} is already served in another way by {}",
                            address.port,
                            first.source->to_string()),
                alone ? "a TCP server needs a port of its own; this server is not in force"
                      : "plain HTTP, TLS and TCP cannot share a port; this server is not in force");
            return;
        }
    }
    group.push_back(std::move(server));
}

TlsTerms Builder::terms_of(const GatewayServerSpec& spec, const std::string& label) const {
    const GatewayTlsSpec& tls = *spec.tls;
    TlsTerms terms;
    terms.role = TlsRole::server;
    terms.peer = tls.mode == Mode::simple            ? TlsPeer::unchecked
                 : tls.mode == Mode::optional_mutual ? TlsPeer::optional
                                                     : TlsPeer::required;
    terms.peer_names = tls.subject_alt_names;
    terms.version_min = tls.version_min;
    terms.version_max = tls.version_max;
    if (!is_bytes(spec)) {
        terms.alpn = {"h2", "http/1.1"};
    }
    if (tls.mode == Mode::istio_mutual) {
        terms.mesh_identity =
            SpiffeId{mesh_.trust_domain, mesh_.gateway.ns, mesh_.gateway.service_account};
    }
    terms.label = label;
    return terms;
}

void Builder::end_tls(const BoundServer& bound, model::GatewayServer& out) {
    const GatewayTlsSpec& tls = *bound.spec->tls;
    TlsTerms terms = terms_of(*bound.spec, bound.spec->source->to_string());
    CredentialNames names{tls.credential_name,
                          mesh_.gateway.ns,
                          tls.server_certificate,
                          tls.private_key,
                          tls.ca_certificates,
                          tls.path,
                          bound.spec->source};
    Credentials& credentials = in_.assemble.credentials;
    auto filled = terms.mesh_identity ? Result<void>() : credentials.fill(names, terms);
    auto kept = filled ? credentials.keep(std::move(terms))
                       : Result<TlsTermsPtr>(std::unexpected(filled.error()));
    if (kept) {
        out.tls = std::move(*kept);
        return;
    }
    out.broken = kept.error().context;
    findings_.warn("ORL031",
                   bound.spec->source,
                   tls.path + (tls.credential_name.empty() ? "" : ".credentialName"),
                   kept.error().context,
                   fmt::format("connections are refused until it is right; Secrets are looked for "
                               "in namespace {}",
                               mesh_.gateway.ns));
}

model::GatewayServer
Builder::server(const SocketAddress& address, const BoundServer& bound, GatewayHosts& hosts) {
    const GatewayServerSpec& spec = *bound.spec;
    model::GatewayServer out;
    out.name = bound.key() + " " + (spec.name.empty() ? spec.port_name : spec.name);
    out.service = is_bytes(spec) ? model::GatewayService::bytes : model::GatewayService::http;
    out.source = spec.source;
    if (speaks_tls(spec)) {
        for (const GatewayServerSpec::Host& host : spec.hosts) {
            out.server_names.push_back(host.name);
        }
        if (spec.tls->mode != Mode::passthrough) {
            end_tls(bound, out);
        }
    }
    if (out.service == model::GatewayService::bytes) {
        hosts.add_bytes(bound, out.routes);
    } else {
        hosts.add_http({bound}, out.hosts);
    }
    return out;
}

void Builder::listener(const SocketAddress& address, const Group& group) {
    auto out = std::make_shared<model::GatewayListener>();
    out->address = address;
    out->source = group.front().spec->source;
    GatewayHosts hosts(in_, assembler_, address.port);
    if (manner_of(*group.front().spec) == Manner::http) {
        model::GatewayServer joined;
        joined.name = group.front().key() + " " + group.front().spec->port_name;
        joined.source = out->source;
        hosts.add_http(group, joined.hosts);
        out->servers.push_back(std::move(joined));
        build_.tables.gateways.push_back(std::move(out));
        return;
    }
    out->tls = manner_of(*group.front().spec) == Manner::tls;
    std::map<std::string, const BoundServer*> taken;
    for (const BoundServer& bound : group) {
        model::GatewayServer made = server(address, bound, hosts);
        std::erase_if(made.server_names, [&](const std::string& name) {
            auto [at, first] = taken.emplace(name, &bound);
            if (!first) {
                findings_.warn("ORL030",
                               bound.spec->source,
                               bound.spec->path + ".hosts",
                               fmt::format("{} on port {} is already served by {}",
                                           name,
                                           address.port,
                                           at->second->spec->source->to_string()),
                               "the older one is in force for this name");
            }
            return !first;
        });
        if (!out->tls || !made.server_names.empty()) {
            out->servers.push_back(std::move(made));
        }
    }
    build_.tables.gateways.push_back(std::move(out));
}

void Builder::report_unknown_gateways() const {
    std::set<std::string> known = {"mesh"};
    for (const StoredObject* stored : in_.store.objects("Gateway")) {
        known.insert(stored->key.ns + "/" + stored->key.name);
    }
    for (const ObjectPtr& object : in_.virtual_services) {
        const auto& written = std::get<VirtualServiceSpec>(object->spec).gateways;
        for (const std::string& name : written) {
            std::string key = gateway_key(name, object->key.ns);
            if (!known.contains(key)) {
                findings_.warn("IST0101",
                               object->ref,
                               "spec.gateways",
                               fmt::format("Gateway {} does not exist", key),
                               "its routes act once it does");
            } else if (name.find('/') == std::string::npos && name.find('.') != std::string::npos) {
                findings_.warn("ORL009",
                               object->ref,
                               "spec.gateways",
                               fmt::format("\"{:.80}\" is an old way to name a Gateway", name),
                               "write " + key);
            }
        }
    }
}

void Builder::build() {
    report_unknown_gateways();
    const auto& nodes = mesh_.gateway.nodes;
    if (!nodes.empty() && std::ranges::find(nodes, in_.node) == nodes.end()) {
        return;
    }
    for (const ObjectPtr& gateway : in_.store.in_creation_order("Gateway")) {
        collect(gateway);
    }
    if (groups_.empty()) {
        return;
    }
    build_.tables.gateway_workload = workload();
    for (const auto& [address, group] : groups_) {
        listener(address, group);
    }
}

}  // namespace

std::string gateway_key(std::string_view written, std::string_view ns) {
    if (written == "mesh") {
        return "mesh";
    }
    if (written.starts_with("./")) {
        return std::string(ns) + std::string(written.substr(1));
    }
    if (written.find('/') != std::string_view::npos) {
        return std::string(written);
    }
    if (auto dot = written.find('.'); dot != std::string_view::npos) {
        std::string_view rest = written.substr(dot + 1);
        return std::string(rest.substr(0, rest.find('.'))) + "/" +
               std::string(written.substr(0, dot));
    }
    return std::string(ns) + "/" + std::string(written);
}

void compile_gateways(const GatewayInput& in, TableBuild& build) {
    Builder(in, build).build();
}

}  // namespace orlop::control
