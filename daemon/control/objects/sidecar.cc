// Sidecar: what a workload sees of the mesh, and what becomes of the rest (istio-semantics §14).
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/egress.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

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
    reader.accept_unenforced({"bind", "captureMode"});
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
    policy.accept_unenforced({"egressProxy"});
    bool inbound = spec.has("ingress") || spec.has("inboundConnectionPool");
    spec.accept_unenforced({"ingress", "inboundConnectionPool"});
    if (out.egress.empty() && !policy.present() && !inbound) {
        context.report.error(context.root.line,
                             "spec",
                             "sidecar: empty configuration provided",
                             "write egress or outboundTrafficPolicy");
    }
    return out;
}

}  // namespace orlop::control
