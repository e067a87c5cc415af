#include "daemon/control/objects/kubernetes.h"

#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

// Kubernetes checks its own kinds; fields the mesh does not read are none of our business.
constexpr auto lenient = UnknownFields::ignored;

std::optional<IpAddress>
read_address(Report& report, int line, const std::string& path, const std::string& text) {
    auto address = IpAddress::parse(text);
    if (!address) {
        report.error(line, path, fmt::format("\"{:.80}\" is no IP address", text));
        return std::nullopt;
    }
    return *address;
}

void add_unique(std::vector<std::uint16_t>& ports, std::uint16_t port) {
    if (std::ranges::find(ports, port) == ports.end()) {
        ports.push_back(port);
    }
}

// A probe's port: a number, or the name of a port of the same container.
void read_probe(Report& report,
                const Node& container,
                std::string_view probe_name,
                const std::string& path,
                const std::vector<ContainerPort>& ports,
                PodSpec& pod) {
    FieldReader probe(
        report, container.find(probe_name), path + "." + std::string(probe_name), lenient);
    for (std::string_view kind : {"httpGet", "tcpSocket", "grpc"}) {
        FieldReader action(report, probe.take(kind), probe.path_of(kind), lenient);
        const Node* port = action.take("port");
        if (port == nullptr) {
            continue;
        }
        if (read_integer(*port)) {
            if (auto number = read_port(action, "port")) {
                add_unique(pod.probe_ports, *number);
            }
            continue;
        }
        auto named = std::ranges::find(ports, port->text, &ContainerPort::name);
        if (named != ports.end()) {
            add_unique(pod.probe_ports, named->port);
        } else {
            action.error("port",
                         fmt::format("{} names no port of this container", port->describe()));
        }
    }
}

void read_container(Report& report, const Node& node, const std::string& path, PodSpec& pod) {
    FieldReader container(report, &node, path, lenient);
    std::vector<ContainerPort> ports;
    container.each("ports", [&](const Node& item, const std::string& item_path) {
        FieldReader port(report, &item, item_path, lenient);
        std::string name = port.text_or("name", "");
        if (auto number = read_port(port, "containerPort")) {
            ports.push_back({std::move(name), *number});
        } else if (port.present() && !port.has("containerPort")) {
            port.error_here("containerPort is missing");
        }
    });
    for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
        read_probe(report, node, probe, path, ports, pod);
    }
    pod.ports.insert(pod.ports.end(), ports.begin(), ports.end());
}

void read_pod_status(Report& report, const Node* node, PodSpec& pod) {
    FieldReader status(report, node, "status", lenient);
    std::string phase = status.text_or("phase", "");
    pod.finished = phase == "Succeeded" || phase == "Failed";
    status.each("podIPs", [&](const Node& item, const std::string& path) {
        FieldReader entry(report, &item, path, lenient);
        if (auto ip = entry.text("ip"); ip && !ip->empty()) {
            if (auto address = read_address(report, entry.line_of("ip"), path + ".ip", *ip)) {
                pod.addresses.push_back(*address);
            }
        }
    });
    auto single = status.text("podIP");
    if (pod.addresses.empty() && single && !single->empty()) {
        if (auto address = read_address(report, status.line_of("podIP"), "status.podIP", *single)) {
            pod.addresses.push_back(*address);
        }
    }
    if (auto host = status.text("hostIP"); host && !host->empty()) {
        pod.host_ip = read_address(report, status.line_of("hostIP"), "status.hostIP", *host);
    }
    bool conditions = false;
    bool ready = false;
    status.each("conditions", [&](const Node& item, const std::string&) {
        conditions = true;
        ready = ready || (item.text_of("type") == "Ready" && item.text_of("status") == "True");
    });
    pod.ready = conditions ? ready : phase.empty() || phase == "Running";
}

// app protocol first, then the port name's prefix, then well-known numbers (istio-semantics §16).
model::Protocol protocol_of_word(std::string_view word) {
    using model::Protocol;
    static constexpr std::pair<std::string_view, Protocol> words[] = {
        {"http", Protocol::http1},
        {"http2", Protocol::http2},
        {"grpc", Protocol::grpc},
        {"grpc-web", Protocol::http1},
        {"https", Protocol::tls},
        {"tls", Protocol::tls},
        {"tcp", Protocol::tcp},
        {"mongo", Protocol::tcp},
        {"redis", Protocol::tcp},
        {"mysql", Protocol::tcp},
        {"kubernetes.io/h2c", Protocol::http2},
        {"kubernetes.io/ws", Protocol::http1},
        {"kubernetes.io/wss", Protocol::tls},
    };
    auto found = std::ranges::find(words, word, &std::pair<std::string_view, Protocol>::first);
    return found == std::end(words) ? Protocol::undeclared : found->second;
}

bool is_server_first_port(std::uint16_t port) {
    return port == 25 || port == 53 || port == 3306 || port == 27017;
}

void select_protocol(model::ServicePort& port, std::string_view l4, std::string_view app) {
    if (l4 == "UDP" || l4 == "SCTP") {
        port.protocol = model::Protocol::udp;
        return;
    }
    std::string word = to_lower(app);
    port.protocol = protocol_of_word(word);
    std::string name = to_lower(port.name);
    if (port.protocol == model::Protocol::undeclared) {
        bool grpc_web = name == "grpc-web" || name.starts_with("grpc-web-");
        port.protocol = protocol_of_word(grpc_web ? "grpc-web" : name.substr(0, name.find('-')));
    }
    bool mysql = word == "mysql" || name == "mysql" || name.starts_with("mysql-");
    if (port.protocol == model::Protocol::undeclared && is_server_first_port(port.port)) {
        port.protocol = model::Protocol::tcp;
        port.server_first = true;
    }
    port.server_first = port.server_first || mysql;
}

std::optional<model::ServicePort>
read_service_port(Report& report, const Node& node, const std::string& path) {
    FieldReader reader(report, &node, path, lenient);
    model::ServicePort port;
    port.name = reader.text_or("name", "");
    auto number = read_port(reader, "port");
    if (!number) {
        if (reader.present() && !reader.has("port")) {
            reader.error_here("port is missing");
        }
        return std::nullopt;
    }
    port.port = *number;
    port.target_port = *number;
    if (const Node* target = reader.take("targetPort")) {
        if (target->is_scalar() && !read_integer(*target) && !target->text.empty()) {
            port.target_port = 0;
            port.target_port_name = target->text;
        } else if (auto value = reader.integer("targetPort", 0, 65535)) {
            port.target_port = *value == 0 ? *number : static_cast<std::uint16_t>(*value);
        }
    }
    std::string l4 = reader.text_or("protocol", "TCP");
    if (l4 != "TCP" && l4 != "UDP" && l4 != "SCTP") {
        reader.error("protocol", fmt::format("found \"{:.40}\"", l4), "want TCP, UDP or SCTP");
    }
    select_protocol(port, l4, reader.text_or("appProtocol", ""));
    return port;
}

void read_cluster_addresses(FieldReader& spec, ServiceSpec& service) {
    std::vector<std::string> texts = spec.texts("clusterIPs");
    std::string single = spec.text_or("clusterIP", "");
    if (texts.empty() && !single.empty()) {
        texts.push_back(single);
    }
    for (const std::string& text : texts) {
        if (text == "None") {
            service.headless = true;
        } else if (!text.empty()) {
            if (auto ip = read_address(
                    spec.report(), spec.line_of("clusterIP"), spec.path_of("clusterIP"), text)) {
                service.addresses.push_back(*ip);
            }
        }
    }
}

void split_commas(std::string_view text, std::vector<std::string>& out) {
    while (!text.empty()) {
        std::size_t comma = text.find(',');
        std::string_view item = text.substr(0, comma);
        while (!item.empty() && item.front() == ' ') {
            item.remove_prefix(1);
        }
        while (!item.empty() && item.back() == ' ') {
            item.remove_suffix(1);
        }
        if (!item.empty()) {
            out.emplace_back(item);
        }
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
}

void read_members(Report& report,
                  FieldReader& parent,
                  std::string_view name,
                  bool ready,
                  std::vector<EndpointSliceSpec::Member>& out) {
    parent.each(name, [&](const Node& item, const std::string& path) {
        FieldReader entry(report, &item, path, lenient);
        EndpointSliceSpec::Member member;
        member.ready = ready;
        member.node = entry.text_or("nodeName", "");
        if (auto ip = entry.text("ip")) {
            if (auto address = read_address(report, entry.line_of("ip"), path + ".ip", *ip)) {
                member.addresses.push_back(*address);
            }
        }
        out.push_back(std::move(member));
    });
}

std::vector<EndpointSliceSpec::Port> read_endpoint_ports(Report& report, FieldReader& parent) {
    std::vector<EndpointSliceSpec::Port> ports;
    parent.each("ports", [&](const Node& item, const std::string& path) {
        FieldReader entry(report, &item, path, lenient);
        std::string name = entry.text_or("name", "");
        if (auto number = read_port(entry, "port")) {
            ports.push_back({std::move(name), *number});
        }
    });
    return ports;
}

}  // namespace

bool LabelSelector::matches(const model::Labels& labels) const {
    for (const auto& [key, value] : match_labels) {
        auto found = labels.find(key);
        if (found == labels.end() || found->second != value) {
            return false;
        }
    }
    for (const Expression& expression : expressions) {
        auto found = labels.find(expression.key);
        bool exists = found != labels.end();
        bool listed = exists && std::ranges::find(expression.values, found->second) !=
                                    expression.values.end();
        bool holds = false;
        switch (expression.op) {
        case Operator::in:
            holds = listed;
            break;
        case Operator::not_in:
            holds = !listed;
            break;
        case Operator::exists:
            holds = exists;
            break;
        case Operator::does_not_exist:
            holds = !exists;
            break;
        }
        if (!holds) {
            return false;
        }
    }
    return true;
}

LabelSelector decode_label_selector(Report& report, const Node* node, const std::string& path) {
    LabelSelector selector;
    FieldReader reader(report, node, path);
    selector.match_labels = reader.labels("matchLabels");
    reader.each("matchExpressions", [&](const Node& item, const std::string& item_path) {
        FieldReader entry(report, &item, item_path);
        LabelSelector::Expression expression;
        expression.key = entry.text_or("key", "");
        auto op = entry.choice("operator", {"In", "NotIn", "Exists", "DoesNotExist"});
        expression.values = entry.texts("values");
        if (expression.key.empty() || !op) {
            entry.error_here("key and operator are needed");
            return;
        }
        expression.op = static_cast<LabelSelector::Operator>(*op);
        selector.expressions.push_back(std::move(expression));
    });
    return selector;
}

ObjectSpec decode_pod(const DecodeContext& context) {
    PodSpec pod;
    Report& report = context.report;
    FieldReader spec(report, context.root.find("spec"), "spec", lenient);
    pod.node = spec.text_or("nodeName", "");
    pod.service_account = spec.text_or("serviceAccountName", "");
    if (pod.service_account.empty()) {
        pod.service_account = spec.text_or("serviceAccount", "default");
    }
    if (!is_dns_name(pod.service_account)) {
        spec.error("serviceAccountName", "not a DNS-1123 name");
    }
    pod.host_network = spec.boolean("hostNetwork").value_or(false);
    spec.each("initContainers", [&](const Node& item, const std::string& path) {
        if (item.text_of("restartPolicy") == "Always") {
            read_container(report, item, path, pod);
        }
    });
    spec.each("containers", [&](const Node& item, const std::string& path) {
        read_container(report, item, path, pod);
    });
    std::ranges::sort(pod.probe_ports);
    read_pod_status(report, context.root.find("status"), pod);
    const Node* metadata = context.root.find("metadata");
    pod.terminating = metadata != nullptr && !metadata->text_of("deletionTimestamp").empty();
    return pod;
}

ObjectSpec decode_service(const DecodeContext& context) {
    ServiceSpec service;
    FieldReader spec(context.report, context.root.find("spec"), "spec", lenient);
    service.type = spec.text_or("type", "ClusterIP");
    std::string external_name = to_lower(spec.text_or("externalName", ""));
    if (external_name.ends_with('.')) {
        external_name.pop_back();
    }
    if (service.type == "ExternalName") {
        if (!is_dns_name(external_name)) {
            spec.error("externalName",
                       external_name.empty()
                           ? std::string("a Service of type ExternalName needs it")
                           : fmt::format("\"{:.80}\" is no DNS name", external_name),
                       "the name that the Service stands for");
        }
        service.external_name = std::move(external_name);
    }
    service.publish_not_ready = spec.boolean("publishNotReadyAddresses").value_or(false);
    service.selector = spec.labels("selector");
    read_cluster_addresses(spec, service);
    spec.each("ports", [&](const Node& item, const std::string& path) {
        if (auto port = read_service_port(context.report, item, path)) {
            auto twin = std::ranges::find_if(service.ports, [&](const model::ServicePort& other) {
                return other.port == port->port && (other.protocol == model::Protocol::udp) ==
                                                       (port->protocol == model::Protocol::udp);
            });
            if (twin != service.ports.end()) {
                context.report.error(
                    item.line, path, fmt::format("port {} appears twice", port->port));
                return;
            }
            service.ports.push_back(*std::move(port));
        }
    });
    auto exported = context.meta.annotations.find("networking.istio.io/exportTo");
    if (exported != context.meta.annotations.end() && exported->second != "*") {
        split_commas(exported->second, service.export_to);
    }
    return service;
}

ObjectSpec decode_endpoints(const DecodeContext& context) {
    EndpointSliceSpec slice;
    slice.service = context.key.name;
    FieldReader root(context.report, &context.root, "", lenient);
    root.each("subsets", [&](const Node& item, const std::string& path) {
        FieldReader subset(context.report, &item, path, lenient);
        EndpointSliceSpec::Group group;
        group.ports = read_endpoint_ports(context.report, subset);
        read_members(context.report, subset, "addresses", true, group.members);
        read_members(context.report, subset, "notReadyAddresses", false, group.members);
        slice.groups.push_back(std::move(group));
    });
    return slice;
}

ObjectSpec decode_endpoint_slice(const DecodeContext& context) {
    EndpointSliceSpec slice;
    auto label = context.meta.labels.find("kubernetes.io/service-name");
    slice.service = label == context.meta.labels.end() ? "" : label->second;
    FieldReader root(context.report, &context.root, "", lenient);
    EndpointSliceSpec::Group group;
    group.ports = read_endpoint_ports(context.report, root);
    root.each("endpoints", [&](const Node& item, const std::string& path) {
        FieldReader entry(context.report, &item, path, lenient);
        EndpointSliceSpec::Member member;
        FieldReader conditions(
            context.report, entry.take("conditions"), path + ".conditions", lenient);
        member.ready = conditions.boolean("ready").value_or(true);
        member.node = entry.text_or("nodeName", "");
        for (const std::string& text : entry.texts("addresses")) {
            if (auto address = read_address(
                    context.report, entry.line_of("addresses"), path + ".addresses", text)) {
                member.addresses.push_back(*address);
            }
        }
        group.members.push_back(std::move(member));
    });
    group.members.shrink_to_fit();  // there may be a hundred thousand of them
    slice.groups.push_back(std::move(group));
    return slice;
}

ObjectSpec decode_node(const DecodeContext& context) {
    NodeSpec spec;
    FieldReader status(context.report, context.root.find("status"), "status", lenient);
    status.each("addresses", [&](const Node& item, const std::string& path) {
        FieldReader entry(context.report, &item, path, lenient);
        std::string type = entry.text_or("type", "");
        auto text = entry.text("address");
        if (text && (type == "InternalIP" || type == "ExternalIP")) {
            if (auto address = read_address(
                    context.report, entry.line_of("address"), path + ".address", *text)) {
                spec.addresses.push_back(*address);
            }
        }
    });
    return spec;
}

ObjectSpec decode_network_policy(const DecodeContext& context) {
    NetworkPolicySpec policy;
    FieldReader spec(context.report, context.root.find("spec"), "spec", lenient);
    policy.pods =
        decode_label_selector(context.report, spec.take("podSelector"), "spec.podSelector");
    return policy;
}

}  // namespace orlop::control
