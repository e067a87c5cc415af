// Sidecar: what a workload sees of the mesh, and what becomes of the rest (istio-semantics §14).
#include "daemon/control/objects/connection_pool.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/egress.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace orlop::control {
namespace {

void check_host(FieldReader& reader, const std::string& text) {
    std::size_t slash = text.find('/');
    if (slash == std::string::npos) {
        reader.error("hosts",
                     fmt::format("\"{:.80}\" must be of form namespace/dnsName", text),
                     fmt::format("*/{:.80} for any namespace", text));
        return;
    }
    std::string ns = text.substr(0, slash);
    std::string host = text.substr(slash + 1);
    if (ns != "*" && ns != "." && ns != "~" && !is_dns_label(ns)) {
        reader.error("hosts", fmt::format("\"{:.80}\" is no namespace", ns), "or `*`, `.`, `~`");
    }
    if (!is_host_pattern(host)) {
        reader.error("hosts", fmt::format("\"{:.80}\" is no host name", host));
    }
    if (ns == "~" && host != "*") {
        reader.error("hosts", "~ stands for no namespace: write \"~/*\"");
    }
}

// Valid, and of no effect here: what happens instead.
void accept_in_vain(FieldReader& reader, std::string_view name, std::string_view instead) {
    if (reader.has(name)) {
        reader.report().warn("ORL003",
                             reader.line_of(name),
                             reader.path_of(name),
                             fmt::format("accepted, not enforced: {}", instead));
    }
}

// "127.0.0.1:8080", "0.0.0.0:8080", "[::1]:8080" or ":8080"; Istio knows no other host.
bool is_default_endpoint(std::string_view text) {
    std::size_t colon = text.rfind(':');
    std::string_view host = text.substr(0, colon);
    std::uint16_t port = 0;
    std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    constexpr std::string_view hosts[] = {"", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"};
    return fault == std::errc() && end == digits.data() + digits.size() && port != 0 &&
           std::ranges::find(hosts, host) != std::end(hosts);
}

void read_ingress(const DecodeContext& context,
                  const Node& node,
                  const std::string& path,
                  std::vector<std::uint16_t>& seen) {
    FieldReader reader(context.report, &node, path);
    FieldReader port(context.report, reader.take("port"), path + ".port");
    std::uint16_t number = read_port(port, "number").value_or(0);
    port.accept({"name", "protocol", "targetPort"});
    std::string endpoint = reader.text_or("defaultEndpoint", "");
    reader.accept({"bind", "captureMode", "tls", "connectionPool"});
    if (number == 0) {
        reader.error("port", "ingress listener needs a port with its number", "1 to 65535");
        return;
    }
    if (std::ranges::find(seen, number) != seen.end()) {
        reader.error("port", fmt::format("port {} is listed twice", number));
    }
    seen.push_back(number);
    if (!endpoint.empty() && !is_default_endpoint(endpoint)) {
        reader.error("defaultEndpoint",
                     fmt::format("\"{:.80}\" is no endpoint of the workload itself", endpoint),
                     "127.0.0.1:PORT, 0.0.0.0:PORT or [::1]:PORT");
        return;
    }
    context.report.warn("ORL003",
                        node.line,
                        path,
                        fmt::format("accepted, not enforced: what arrives at port {0} reaches the "
                                    "application's port {0}{1}",
                                    number,
                                    endpoint.empty() ? "" : ", not " + endpoint),
                        "let the application listen there, or map the port with the Service's "
                        "targetPort");
}

void read_egress(const DecodeContext& context,
                 const Node& node,
                 const std::string& path,
                 SidecarSpec& out) {
    FieldReader reader(context.report, &node, path);
    SidecarSpec::Egress egress;
    FieldReader port(context.report, reader.take("port"), path + ".port");
    egress.port = read_port(port, "number").value_or(0);
    port.accept({"name", "protocol", "targetPort"});
    if (port.present() && egress.port == 0) {
        port.error("number", "a port needs its number", "1 to 65535");
    }
    for (const std::string& host : reader.texts("hosts")) {
        std::size_t name = host.find('/') + 1;  // 0 when there is none
        egress.hosts.push_back(host.substr(0, name) + to_lower(host.substr(name)));
        check_host(reader, egress.hosts.back());
    }
    if (egress.hosts.empty()) {
        reader.error("hosts", "egress listener must contain at least one host");
    }
    for (const SidecarSpec::Egress& other : out.egress) {
        if (other.port == 0) {
            reader.error_here("the egress listener without a port is the last one of the list");
        } else if (other.port == egress.port) {
            reader.error("port", fmt::format("port {} is listed twice", egress.port));
        }
    }
    accept_in_vain(reader, "bind", "callers are captured at every address they connect to");
    accept_in_vain(reader, "captureMode", "every connection is captured, whatever its address");
    out.egress.push_back(std::move(egress));
}

}  // namespace

ObjectSpec decode_sidecar(const DecodeContext& context) {
    SidecarSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    FieldReader selector(context.report, spec.take("workloadSelector"), "spec.workloadSelector");
    out.selector = selector.labels("labels");
    if (selector.present() && out.selector.empty()) {
        spec.error("workloadSelector", "a selector without labels selects nothing");
    }
    spec.each("egress", [&](const Node& item, const std::string& path) {
        read_egress(context, item, path, out);
    });
    FieldReader policy(
        context.report, spec.take("outboundTrafficPolicy"), "spec.outboundTrafficPolicy");
    auto mode = policy.choice("mode", {"REGISTRY_ONLY", "ALLOW_ANY"});
    if (policy.present()) {  // the enumeration's zero is REGISTRY_ONLY
        out.outbound_policy = mode.value_or(0) == 1 ? model::OutboundPolicy::allow_any
                                                    : model::OutboundPolicy::registry_only;
    }
    accept_in_vain(policy, "egressProxy", "what nobody described goes straight to its address");
    bool inbound = spec.has("ingress") || spec.has("inboundConnectionPool");
    std::vector<std::uint16_t> ingress_ports;
    spec.each("ingress", [&](const Node& item, const std::string& path) {
        read_ingress(context, item, path, ingress_ports);
    });
    if (read_connection_pool(spec, "inboundConnectionPool")) {
        accept_in_vain(spec,
                       "inboundConnectionPool",
                       "what arrives is not limited; the connectionPool of a DestinationRule "
                       "limits each caller at its own node");
    }
    if (out.egress.empty() && !policy.present() && !inbound) {
        context.report.error(context.root.line,
                             "spec",
                             "sidecar: empty configuration provided",
                             "write egress or outboundTrafficPolicy");
    }
    return out;
}

}  // namespace orlop::control
