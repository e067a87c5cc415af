// ServiceEntry and WorkloadEntry (istio-semantics §14). What Istio's webhook refuses is refused
// here with the gist of its words.
#include "daemon/base/limits.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/egress.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace orlop::control {
namespace {

using model::Protocol;
using model::Resolution;

bool differs_by_host(Protocol protocol) {  // Host or SNI tells hosts apart
    return model::is_http(protocol) || protocol == Protocol::tls;
}

std::optional<Protocol> protocol_of(std::string_view written) {
    static constexpr std::pair<std::string_view, Protocol> known[] = {
        {"HTTP", Protocol::http1},
        {"HTTP2", Protocol::http2},
        {"GRPC", Protocol::grpc},
        {"GRPC-WEB", Protocol::http1},
        {"HTTPS", Protocol::tls},
        {"TLS", Protocol::tls},
        {"TCP", Protocol::tcp},
        {"MONGO", Protocol::tcp},
        {"MYSQL", Protocol::tcp},
        {"REDIS", Protocol::tcp},
        {"UDP", Protocol::udp},
        {"", Protocol::undeclared},
    };
    std::string upper(written);
    std::ranges::transform(upper, upper.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    auto found = std::ranges::find(known, upper, &std::pair<std::string_view, Protocol>::first);
    return found == std::end(known) ? std::nullopt : std::optional(found->second);
}

void read_service_port(Report& report,
                       const Node& node,
                       const std::string& path,
                       ServiceEntrySpec& out) {
    FieldReader reader(report, &node, path);
    model::ServicePort port;
    port.port = read_port(reader, "number").value_or(0);
    port.name = reader.text_or("name", "");
    port.target_port = read_port(reader, "targetPort").value_or(port.port);
    std::string written = reader.text_or("protocol", "");
    auto protocol = protocol_of(written);
    if (port.port == 0) {
        reader.error("number", "a port needs its number", "1 to 65535");
    }
    if (!is_dns_label(port.name)) {
        reader.error("name", fmt::format("\"{:.80}\" is no name of a port", port.name));
    }
    if (!protocol) {
        reader.error("protocol",
                     fmt::format("unsupported protocol \"{:.40}\"", written),
                     "HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP or TLS");
    }
    for (const model::ServicePort& other : out.ports) {
        if (other.port == port.port) {
            reader.error("number", fmt::format("service entry port {} already defined", port.port));
        }
        if (other.name == port.name) {
            reader.error("name",
                         fmt::format("service entry port name {:.80} already defined", port.name));
        }
    }
    port.protocol = protocol.value_or(Protocol::undeclared);
    port.server_first = port.protocol == Protocol::tcp;
    out.ports.push_back(std::move(port));
}

void read_hosts(FieldReader& spec, ServiceEntrySpec& out) {
    for (const std::string& text : spec.texts("hosts")) {
        std::string host = to_lower(text);
        if (host == "*") {
            spec.error("hosts", "invalid host *", "a name, or *.suffix");
        } else if (!is_host_pattern(host)) {
            spec.error("hosts", fmt::format("\"{:.80}\" is no host name", text));
        } else if (std::ranges::find(out.hosts, host) != out.hosts.end()) {
            spec.error("hosts", fmt::format("duplicate host {:.80}", host));
        }
        out.hosts.push_back(std::move(host));
    }
    if (out.hosts.empty()) {
        spec.error("hosts", "service entry must have at least one host");
    }
    if (out.hosts.size() > limits::service_entry_hosts_max) {
        spec.error("hosts", fmt::format("more than {} hosts", limits::service_entry_hosts_max));
    }
}

void read_addresses(FieldReader& spec, ServiceEntrySpec& out) {
    for (const std::string& text : spec.texts("addresses")) {
        auto range = Cidr::parse(text);
        auto address = IpAddress::parse(text);
        if (address) {
            out.addresses.push_back(*address);
        } else if (range && range->prefix_length() == (range->base().is_v4() ? 32 : 128)) {
            out.addresses.push_back(range->base());
        } else if (range) {
            out.ranges.push_back(*range);
        } else {
            spec.error("addresses",
                       fmt::format("invalid address \"{:.60}\"", text),
                       "an IP address, or a range such as 10.0.0.0/24");
        }
    }
}

void read_endpoint_ports(FieldReader& reader, OutsideEndpoint& out) {
    reader.each_field("ports", [&](const Field& field, const std::string& path) {
        auto port = read_integer(field.value);
        if (!port || *port < 1 || *port > 65535) {
            reader.report().error(
                field.line, path, "found " + field.value.describe() + ", want a port");
        } else {
            out.ports[field.key] = static_cast<std::uint16_t>(*port);
        }
    });
}

OutsideEndpoint read_endpoint(FieldReader& reader) {
    OutsideEndpoint out;
    out.address = to_lower(reader.text_or("address", ""));
    if (auto ip = IpAddress::parse(out.address)) {
        out.ip = *ip;
    }
    if (out.address.starts_with("unix:")) {
        reader.error("address", "unix domain sockets are not reachable from a pod's node");
    } else if (!out.ip && !is_dns_name(out.address)) {
        reader.error("address",
                     out.address.empty() ? std::string("address is required")
                                         : fmt::format("endpoint address \"{:.80}\" is not a "
                                                       "valid FQDN or an IP address",
                                                       out.address));
    }
    read_endpoint_ports(reader, out);
    out.labels = reader.labels("labels");
    constexpr std::int64_t weight_max = 1'000'000;
    auto weight = reader.integer("weight", 0, weight_max);
    out.weight = weight && *weight > 0 ? static_cast<std::uint32_t>(*weight) : 1;
    out.service_account = reader.text_or("serviceAccount", "");
    reader.accept_unenforced({"network", "locality"});
    return out;
}

void read_endpoints(const DecodeContext& context, FieldReader& spec, ServiceEntrySpec& out) {
    spec.each("endpoints", [&](const Node& item, const std::string& path) {
        FieldReader reader(context.report, &item, path);
        OutsideEndpoint endpoint = read_endpoint(reader);
        for (const auto& [name, port] : endpoint.ports) {
            if (std::ranges::find(out.ports, name, &model::ServicePort::name) == out.ports.end()) {
                reader.error(
                    "ports",
                    fmt::format("endpoint port {:.80} is not defined by the service entry", name));
            }
        }
        if (out.resolution == Resolution::listed && !endpoint.ip) {
            reader.error(
                "address", "a STATIC endpoint is an IP address", "resolution: DNS looks names up");
        }
        out.endpoints.push_back(std::move(endpoint));
    });
    if (out.endpoints.size() > limits::service_entry_endpoints_max) {
        spec.error("endpoints",
                   fmt::format("more than {} endpoints", limits::service_entry_endpoints_max));
    }
}

void read_resolution(FieldReader& spec, ServiceEntrySpec& out) {
    auto location = spec.choice("location", {"MESH_EXTERNAL", "MESH_INTERNAL"});
    out.external = location.value_or(0) == 0;
    auto resolution =
        spec.choice("resolution", {"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"});
    switch (resolution.value_or(0)) {
    case 0:
        out.resolution = Resolution::original;
        break;
    case 1:
        out.resolution = Resolution::listed;
        break;
    case 4:
        spec.error("resolution",
                   "DYNAMIC_DNS is not offered: names are looked up ahead of requests",
                   "resolution: NONE goes where the caller's own look-up leads");
        break;
    default:
        out.resolution = Resolution::dns;
        out.one_address = *resolution == 3;
        break;
    }
}

void check_resolution(FieldReader& spec, const ServiceEntrySpec& out) {
    bool dns = out.resolution == Resolution::dns;
    if (!out.workload_selector.empty() && !out.endpoints.empty()) {
        spec.error("workloadSelector",
                   "only one of WorkloadSelector or Endpoints is allowed in Service Entry");
    }
    if (!out.ranges.empty() && dns) {
        spec.error("addresses", "CIDR addresses are allowed only for NONE/STATIC resolution types");
    }
    if (out.resolution == Resolution::original && !out.endpoints.empty()) {
        spec.error("endpoints",
                   "no endpoints should be provided for resolution type none",
                   "resolution: STATIC");
    }
    bool wildcard = std::ranges::any_of(
        out.hosts, [](const std::string& host) { return host.starts_with('*'); });
    if (dns && out.endpoints.empty() && out.workload_selector.empty() && wildcard) {
        spec.error("hosts",
                   "hosts must be FQDN if no endpoints are provided for resolution mode DNS");
    }
    if (out.one_address && out.endpoints.size() > 1) {
        spec.error("endpoints",
                   "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN");
    }
    bool told_apart = std::ranges::all_of(
        out.ports, [](const model::ServicePort& port) { return differs_by_host(port.protocol); });
    if (out.hosts.size() > 1 && out.resolution != Resolution::original && !told_apart) {
        spec.error("hosts",
                   "multiple hosts provided with non-HTTP, non-TLS ports",
                   "one ServiceEntry per host");
    }
}

// Accepted by Istio, and seldom what was meant.
void warn_doubtful(const DecodeContext& context, FieldReader& spec, const ServiceEntrySpec& out) {
    bool addressed = !out.addresses.empty() || !out.ranges.empty();
    bool plain_tcp = std::ranges::any_of(out.ports, [](const model::ServicePort& port) {
        return !differs_by_host(port.protocol) && port.protocol != Protocol::udp;
    });
    if (plain_tcp && !addressed) {
        context.report.warn("ORL014",
                            spec.line_of("ports"),
                            "spec.ports",
                            "a TCP port without addresses takes every connection to that port "
                            "number that leads to no known address",
                            "give the entry addresses");
    }
    if (out.resolution == Resolution::listed && out.endpoints.empty() &&
        out.workload_selector.empty()) {
        context.report.warn("ORL016",
                            spec.line(),
                            "spec.endpoints",
                            "STATIC without endpoints and workloadSelector: nobody serves it",
                            "requests are answered 503");
    }
}

std::vector<std::string> read_visibility(FieldReader& spec) {
    std::vector<std::string> values = spec.texts("exportTo");
    for (const std::string& value : values) {
        bool alone = value == "*" || value == "~";
        if (alone && values.size() > 1) {
            spec.error("exportTo", fmt::format("\"{}\" stands alone", value));
        } else if (!alone && value != "." && !is_dns_label(value)) {
            spec.error("exportTo", fmt::format("\"{:.80}\" is no namespace", value));
        }
    }
    if (values.size() == 1 && values.front() == "*") {
        values.clear();
    }
    return values;
}

}  // namespace

ObjectSpec decode_service_entry(const DecodeContext& context) {
    ServiceEntrySpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    read_hosts(spec, out);
    read_addresses(spec, out);
    spec.each("ports", [&](const Node& item, const std::string& path) {
        read_service_port(context.report, item, path, out);
    });
    if (out.ports.empty()) {
        spec.error_here("service entry must have at least one port", "add spec.ports");
    }
    read_resolution(spec, out);
    read_endpoints(context, spec, out);
    FieldReader selector(context.report, spec.take("workloadSelector"), "spec.workloadSelector");
    out.workload_selector = selector.labels("labels");
    if (selector.present() && out.workload_selector.empty()) {
        spec.error("workloadSelector", "a selector without labels selects nothing");
    }
    out.subject_alt_names = spec.texts("subjectAltNames");
    out.export_to = read_visibility(spec);
    check_resolution(spec, out);
    warn_doubtful(context, spec, out);
    return out;
}

ObjectSpec decode_workload_entry(const DecodeContext& context) {
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    WorkloadEntrySpec out{read_endpoint(spec)};
    if (out.endpoint.labels.empty()) {
        out.endpoint.labels = context.meta.labels;
    }
    return out;
}

}  // namespace orlop::control
