// PeerAuthentication (istio-semantics §9) and the kinds of orlop.dev/v1.
#include "daemon/control/objects/mesh.h"

#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/load_balancer.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace orlop::control {
namespace {

using model::MtlsMode;

std::optional<MtlsMode> read_mtls(FieldReader& parent, std::string_view name) {
    FieldReader mtls(parent.report(), parent.take(name), parent.path_of(name));
    auto mode = mtls.choice("mode", {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"});
    return mode ? std::optional(static_cast<MtlsMode>(*mode)) : std::nullopt;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size() || port == 0) {
        return std::nullopt;
    }
    return port;
}

void read_port_modes(FieldReader& spec, PeerAuthenticationSpec& out) {
    Report& report = spec.report();
    spec.each_field("portLevelMtls", [&](const Field& field, const std::string& path) {
        auto port = parse_port(field.key);
        if (!port) {
            report.error(field.line, path, "port must be in range 1..65535");
            return;
        }
        FieldReader entry(report, &field.value, path);
        auto mode = entry.choice("mode", {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"});
        out.port_modes[*port] = static_cast<MtlsMode>(mode.value_or(0));
    });
    if (!out.port_modes.empty() && !out.has_selector) {
        spec.error("portLevelMtls",
                   "mesh/namespace peer authentication cannot have port level mTLS",
                   "add spec.selector.matchLabels");
    }
}

bool is_absolute_path(std::string_view path) {
    bool inside = path.find("/../") != std::string_view::npos || path.ends_with("/..");
    return path.starts_with('/') && path.size() < 4096 && !inside;
}

void read_exclusions(FieldReader& spec, model::CaptureExclusions& out) {
    FieldReader reader(spec.report(), spec.take("exclusions"), spec.path_of("exclusions"));
    auto ports = [&](std::string_view name, std::vector<std::uint16_t>& list) {
        reader.each(name, [&](const Node& item, const std::string& path) {
            auto value = read_integer(item);
            if (!value || *value < 1 || *value > 65535) {
                spec.report().error(item.line, path, "found " + item.describe() + ", want a port");
                return;
            }
            list.push_back(static_cast<std::uint16_t>(*value));
        });
    };
    ports("inboundPorts", out.inbound_ports);
    ports("outboundPorts", out.outbound_ports);
    for (const std::string& text : reader.texts("outboundRanges")) {
        auto range = Cidr::parse(text);
        if (range) {
            out.outbound_ranges.push_back(*range);
        } else {
            reader.error("outboundRanges", fmt::format("\"{:.60}\" is no address range", text));
        }
    }
}

void read_names(FieldReader& spec, model::MeshConfig& mesh) {
    auto text = [&](std::string_view name, std::string& value) {
        value = spec.text_or(name, value);
        if (!is_dns_name(value)) {
            spec.error(name, fmt::format("\"{:.80}\" is no DNS-1123 name", value));
        }
    };
    text("trustDomain", mesh.trust_domain);
    text("rootNamespace", mesh.root_namespace);
    text("clusterDomain", mesh.cluster_domain);
    mesh.cluster_id = spec.text_or("clusterId", mesh.cluster_id);
    mesh.trust_domain_aliases = spec.texts("trustDomainAliases");
    for (const std::string& alias : mesh.trust_domain_aliases) {
        if (!is_dns_name(alias)) {
            spec.error("trustDomainAliases", fmt::format("\"{:.80}\" is no trust domain", alias));
        }
    }
    mesh.dataplane_mode = spec.text_or("dataplaneMode", mesh.dataplane_mode);
    if (mesh.dataplane_mode == "none" || !is_dns_label(mesh.dataplane_mode)) {
        spec.error("dataplaneMode", "\"none\" opts out; choose another value");
    }
    mesh.revisions = spec.texts("revisions");
}

}  // namespace

ObjectSpec decode_peer_authentication(const DecodeContext& context) {
    PeerAuthenticationSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    FieldReader selector(context.report, spec.take("selector"), "spec.selector");
    out.selector = selector.labels("matchLabels");
    out.has_selector = !out.selector.empty();
    out.mode = read_mtls(spec, "mtls").value_or(MtlsMode::unset);
    read_port_modes(spec, out);
    return out;
}

ObjectSpec decode_mesh_config(const DecodeContext& context) {
    model::MeshConfig mesh;
    mesh.source = context.ref_at(context.root.line);
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    read_names(spec, mesh);
    auto flag = [&](std::string_view name, bool& value) {
        value = spec.boolean(name).value_or(value);
    };
    flag("injectionLabelEnrols", mesh.injection_label_enrols);
    flag("transparentSource", mesh.transparent_source);
    flag("sameNodeShortcut", mesh.same_node_shortcut);
    flag("permissiveFailOpen", mesh.permissive_fail_open);
    flag("http10", mesh.http10);
    flag("shadowHostSuffix", mesh.shadow_host_suffix);
    flag("inboundHttpTelemetry", mesh.inbound_http_telemetry);
    if (auto seed = spec.integer("faultSeed", 0, std::numeric_limits<std::int64_t>::max())) {
        mesh.fault_seed = static_cast<std::uint64_t>(*seed);
    }
    mesh.tracing = decode_tracing(spec);
    auto conflict = spec.choice("conflictResolution", {"overlay", "oldest"});
    mesh.conflict_resolution = static_cast<model::ConflictResolution>(conflict.value_or(0));
    auto outbound =
        spec.choice("outboundPolicy", {"allow_any", "registry_only", "ALLOW_ANY", "REGISTRY_ONLY"});
    mesh.outbound_policy = static_cast<model::OutboundPolicy>(outbound.value_or(0) % 2);
    auto log = spec.choice("accessLog", {"off", "text", "json"});
    mesh.access_log = static_cast<model::AccessLogEncoding>(log.value_or(0));
    const Node* retry = spec.take("defaultRetry");
    if (auto policy = decode_retry_policy(context, retry, "spec.defaultRetry")) {
        mesh.default_retry = *std::move(policy);
    }
    mesh.locality_lb = read_locality_lb(spec);
    read_exclusions(spec, mesh.exclusions);
    mesh.gateway = decode_gateway_role(spec);
    return MeshConfigSpec{std::make_shared<const model::MeshConfig>(std::move(mesh))};
}

ObjectSpec decode_pod_sandbox(const DecodeContext& context) {
    PodSandboxSpec out;
    out.uid = context.meta.uid;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    out.netns = spec.text_or("netns", "");
    out.cgroup = spec.text_or("cgroup", "");
    if (out.uid.empty()) {
        context.report.error(context.root.line, "metadata.uid", "the pod's uid is missing");
    }
    if (!is_absolute_path(out.netns)) {
        spec.error("netns", "the absolute path of a network namespace is needed");
    }
    if (!is_absolute_path(out.cgroup)) {
        spec.error("cgroup", "the absolute path of a cgroup is needed");
    }
    return out;
}

ObjectSpec decode_node_status(const DecodeContext& context) {
    NodeStatusSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    out.node = spec.text_or("node", context.key.name);
    out.redirected = spec.texts("redirected");
    return out;
}

}  // namespace orlop::control
