// Gateway (istio-semantics §14). Messages follow Istio's.
#include "daemon/control/objects/gateway.h"

#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

bool is_plain_http(GatewayProtocol protocol) {
    return protocol == GatewayProtocol::http || protocol == GatewayProtocol::http2 ||
           protocol == GatewayProtocol::grpc || protocol == GatewayProtocol::grpc_web;
}

TlsVersion read_version(FieldReader& reader, std::string_view name, TlsVersion fallback) {
    auto version =
        reader.choice(name, {"TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"}).value_or(0);
    if (version == 1 || version == 2) {
        reader.error(name, "TLS below 1.2 is broken and not served", "TLSV1_2 or TLSV1_3");
    }
    return version == 0 ? fallback : version == 4 ? TlsVersion::tls1_3 : TlsVersion::tls1_2;
}

void check_tls_sources(FieldReader& reader, const GatewayTlsSpec& tls) {
    bool files = !tls.server_certificate.empty() || !tls.private_key.empty();
    bool terminates = tls.mode == GatewayTlsMode::simple || tls.mode == GatewayTlsMode::mutual ||
                      tls.mode == GatewayTlsMode::optional_mutual;
    bool asks_client = terminates && tls.mode != GatewayTlsMode::simple;
    if (tls.mode == GatewayTlsMode::istio_mutual && (files || !tls.credential_name.empty())) {
        reader.error_here("ISTIO_MUTUAL TLS cannot have associated server certificate",
                          "leave credentialName, serverCertificate and privateKey out");
    }
    if (!tls.credential_name.empty() && (files || !tls.ca_certificates.empty())) {
        reader.error("credentialName", "credentialName and certificate files exclude each other");
    }
    if (terminates && tls.credential_name.empty() && tls.server_certificate.empty()) {
        reader.error_here("SIMPLE and MUTUAL TLS require a server certificate",
                          "write credentialName, or serverCertificate and privateKey");
    }
    if (terminates && tls.credential_name.empty() && tls.private_key.empty()) {
        reader.error_here("SIMPLE and MUTUAL TLS require a private key",
                          "write credentialName, or serverCertificate and privateKey");
    }
    if (asks_client && tls.credential_name.empty() && tls.ca_certificates.empty()) {
        reader.error_here("MUTUAL TLS requires a client CA bundle",
                          "write credentialName, or caCertificates");
    }
    if (tls.credential_name.find('/') != std::string::npos) {
        reader.error("credentialName",
                     fmt::format("\"{:.80}\" names another namespace", tls.credential_name),
                     "the Secret must be in the gateway's namespace");
    }
    if (tls.mode == GatewayTlsMode::auto_passthrough) {
        reader.error("mode",
                     "AUTO_PASSTHROUGH is not offered: it would route by names of services "
                     "without any VirtualService",
                     "PASSTHROUGH, with VirtualServices whose tls routes name the SNI hosts");
    }
}

GatewayTlsSpec read_tls(FieldReader& server, const Node* node, const std::string& path) {
    FieldReader reader(server.report(), node, path);
    GatewayTlsSpec tls;
    tls.path = path;
    tls.https_redirect = reader.boolean("httpsRedirect").value_or(false);
    auto mode = reader.choice(
        "mode",
        {"PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"});
    tls.mode = static_cast<GatewayTlsMode>(mode.value_or(0));
    tls.credential_name = reader.text_or("credentialName", "");
    tls.server_certificate = reader.text_or("serverCertificate", "");
    tls.private_key = reader.text_or("privateKey", "");
    tls.ca_certificates = reader.text_or("caCertificates", "");
    tls.subject_alt_names = reader.texts("subjectAltNames");
    tls.version_min = read_version(reader, "minProtocolVersion", TlsVersion::tls1_2);
    tls.version_max = read_version(reader, "maxProtocolVersion", TlsVersion::tls1_3);
    if (tls.version_min == TlsVersion::tls1_3 && tls.version_max == TlsVersion::tls1_2) {
        reader.error("maxProtocolVersion", "is below minProtocolVersion");
    }
    reader.accept_unenforced({"cipherSuites",
                              "verifyCertificateSpki",
                              "verifyCertificateHash",
                              "caCrl",
                              "credentialNames",
                              "caCertCredentialName",
                              "tlsCertificates"});
    check_tls_sources(reader, tls);
    return tls;
}

void read_port(FieldReader& server, GatewayServerSpec& out) {
    FieldReader port(server.report(), server.take("port"), server.path_of("port"));
    if (!port.present()) {
        server.error_here("port is required", "number, name and protocol");
        return;
    }
    auto number = control::read_port(port, "number");
    if (number) {
        out.port = *number;
    } else if (!port.has("number")) {
        port.error_here("number is missing", "1 to 65535");
    }
    out.port_name = port.text_or("name", "");
    if (out.port_name.empty()) {
        port.error("name", "port name must be set", "any name, unique in the Gateway");
    }
    constexpr std::string_view names[] = {
        "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"};
    std::string protocol = port.text_or("protocol", "");
    std::ranges::transform(protocol, protocol.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    auto found = std::ranges::find(names, protocol);
    if (found == std::end(names)) {
        port.error("protocol",
                   fmt::format("invalid protocol \"{:.40}\"", protocol),
                   "HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP or MONGO");
        return;
    }
    out.protocol = static_cast<GatewayProtocol>(found - std::begin(names));
    port.accept_unenforced({"targetPort"});
}

void read_hosts(const DecodeContext& context, FieldReader& server, GatewayServerSpec& out) {
    for (const std::string& written : server.texts("hosts")) {
        GatewayServerSpec::Host host{"*", to_lower(written)};
        if (auto slash = host.name.find('/'); slash != std::string::npos) {
            host.ns = host.name.substr(0, slash);
            host.name.erase(0, slash + 1);
        }
        bool ns_good = host.ns == "*" || host.ns == "." || is_dns_label(host.ns);
        if (!ns_good || !is_host_pattern(host.name)) {
            server.error("hosts",
                         fmt::format("\"{:.80}\" is no host", written),
                         "[namespace/]name, where name may begin with \"*.\" or be \"*\"");
            continue;
        }
        if (host.ns == ".") {
            host.ns = context.key.ns;
        }
        out.hosts.push_back(std::move(host));
    }
    const Node* list = server.take("hosts");
    if (list == nullptr || (list->is_list() && list->items.empty())) {
        server.error("hosts", "server config must contain at least one host", "hosts: [\"*\"]");
    }
}

GatewayServerSpec
read_server(const DecodeContext& context, const Node& item, const std::string& path) {
    GatewayServerSpec out;
    out.path = path;
    out.source = context.ref_at(item.line);
    FieldReader server(context.report, &item, path);
    read_port(server, out);
    read_hosts(context, server, out);
    out.name = server.text_or("name", "");
    if (auto bind = server.text("bind"); bind && !bind->empty()) {
        auto address = IpAddress::parse(*bind);
        if (address) {
            out.bind = *address;
        } else {
            server.error("bind", fmt::format("\"{:.80}\" is no address", *bind), "an IP address");
        }
    }
    if (const Node* tls = server.take("tls")) {
        out.tls = read_tls(server, tls, path + ".tls");
    }
    bool encrypted = out.protocol == GatewayProtocol::https || out.protocol == GatewayProtocol::tls;
    if (encrypted && !out.tls) {
        server.error("tls",
                     "server must have TLS settings for HTTPS/TLS protocols",
                     "write tls.mode and its credentials");
    }
    if (is_plain_http(out.protocol) && out.tls && !out.tls->https_redirect) {
        server.error("tls",
                     "server cannot have TLS settings for plain text HTTP ports",
                     "protocol: HTTPS, or only tls.httpsRedirect");
    }
    if (out.tls && out.tls->https_redirect && !is_plain_http(out.protocol)) {
        server.error("tls", "httpsRedirect is for plain HTTP servers only", "protocol: HTTP");
    }
    if (out.protocol == GatewayProtocol::https && out.tls &&
        out.tls->mode == GatewayTlsMode::passthrough) {
        server.report().warn("ORL003",
                             server.line_of("tls"),
                             path + ".tls.mode",
                             "PASSTHROUGH of HTTPS passes bytes by SNI: only tls routes act",
                             "tls.mode: SIMPLE ends the TLS here");
    }
    server.accept_unenforced({"defaultEndpoint"});
    return out;
}

}  // namespace

ObjectSpec decode_gateway(const DecodeContext& context) {
    GatewaySpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    out.selector = spec.labels("selector");
    std::vector<std::string> port_names;
    spec.each("servers", [&](const Node& item, const std::string& path) {
        out.servers.push_back(read_server(context, item, path));
        const std::string& name = out.servers.back().port_name;
        if (!name.empty() && std::ranges::find(port_names, name) != port_names.end()) {
            context.report.error(item.line,
                                 path + ".port.name",
                                 fmt::format("port names in servers must be unique: duplicate "
                                             "name {:.60}",
                                             name));
        }
        port_names.push_back(name);
    });
    if (out.servers.empty()) {
        spec.error("servers", "gateway must have at least one server", "port, hosts and tls");
    }
    return out;
}

model::GatewayRole decode_gateway_role(FieldReader& mesh) {
    model::GatewayRole role;
    FieldReader reader(mesh.report(), mesh.take("gateway"), mesh.path_of("gateway"));
    if (reader.has("labels")) {
        role.labels = reader.labels("labels");
    }
    auto label = [&](std::string_view name, std::string& value) {
        value = reader.text_or(name, value);
        if (!is_dns_name(value)) {
            reader.error(name, fmt::format("\"{:.80}\" is no DNS-1123 name", value));
        }
    };
    label("namespace", role.ns);
    label("name", role.name);
    label("serviceAccount", role.service_account);
    for (const std::string& text : reader.texts("addresses")) {
        auto address = IpAddress::parse(text);
        if (address) {
            role.addresses.push_back(*address);
        } else {
            reader.error("addresses", fmt::format("\"{:.80}\" is no address", text));
        }
    }
    role.nodes = reader.texts("nodes");
    return role;
}

}  // namespace orlop::control
