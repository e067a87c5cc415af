// VirtualService: hosts, matches, routes and how they may be combined (istio-semantics §1, §2).
#include "daemon/base/ip.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/route_actions.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

constexpr std::int64_t weight_max = 1'000'000'000;  // sums of any list of these fit 64 bits

enum class NameCase : unsigned char { kept, lower };

void read_named_matches(FieldReader& reader,
                        std::string_view name,
                        NameCase name_case,
                        std::vector<std::pair<std::string, model::StringMatch>>& out) {
    reader.each_field(name, [&](const Field& field, const std::string& path) {
        if (field.key.empty()) {
            reader.report().error(field.line, path, "the name is empty");
            return;
        }
        if (field.value.is_null()) {
            reader.report().error(field.line,
                                  path,
                                  fmt::format("header match {:.80} cannot be null", field.key),
                                  "write {} to match when it is present");
            return;
        }
        auto match = read_string_match(reader.report(), field.value, path, Presence::allowed);
        if (match) {
            out.emplace_back(name_case == NameCase::lower ? to_lower(field.key) : field.key,
                             *std::move(match));
        }
    });
    std::ranges::sort(out, {}, [](const auto& entry) { return entry.first; });
}

std::optional<model::StringMatch> read_part(FieldReader& reader, std::string_view name) {
    const Node* node = reader.take(name);
    if (node == nullptr) {
        return std::nullopt;
    }
    auto match = read_string_match(reader.report(),
                                   *node,
                                   reader.path_of(name),
                                   name == "uri" ? Presence::allowed : Presence::refused);
    if (match && name != "uri" && match->kind == model::StringMatch::Kind::prefix &&
        match->text.empty()) {
        reader.error(name, "prefix must not be empty");
        return std::nullopt;
    }
    return match;
}

MatchSpec read_match(const DecodeContext& context, const Node& node, const std::string& path) {
    MatchSpec spec;
    model::HttpMatch& match = spec.match;
    FieldReader reader(context.report, &node, path);
    match.source = context.ref_at(node.line);
    match.name = reader.text_or("name", "");
    match.uri = read_part(reader, "uri");
    match.scheme = read_part(reader, "scheme");
    match.method = read_part(reader, "method");
    match.authority = read_part(reader, "authority");
    read_named_matches(reader, "headers", NameCase::lower, match.headers);
    read_named_matches(reader, "withoutHeaders", NameCase::lower, match.without_headers);
    read_named_matches(reader, "queryParams", NameCase::kept, match.query_params);
    match.port = read_port(reader, "port").value_or(0);
    match.source_labels = reader.labels("sourceLabels");
    match.source_namespace = reader.text_or("sourceNamespace", "");
    spec.gateways = reader.texts("gateways");
    bool ignore_case = reader.boolean("ignoreUriCase").value_or(false);
    if (match.uri && ignore_case) {
        if (match.uri->kind == model::StringMatch::Kind::regex) {
            context.report.warn("ORL009",
                                reader.line_of("ignoreUriCase"),
                                path + ".ignoreUriCase",
                                "has no effect on a regex",
                                "begin the regex with (?i)");
        } else {
            match.uri->ignore_case = true;
        }
    }
    reader.accept_unenforced({"statPrefix"});
    return spec;
}

enum class ChoiceFields : unsigned char { with_headers, bytes_only };

std::vector<RouteChoice>
read_choices(const DecodeContext& context, FieldReader& parent, ChoiceFields fields) {
    std::vector<RouteChoice> choices;
    std::int64_t total = 0;
    parent.each("route", [&](const Node& item, const std::string& path) {
        FieldReader entry(context.report, &item, path);
        RouteChoice choice;
        auto to =
            decode_destination(context.report, entry.take("destination"), path + ".destination");
        auto weight = entry.integer("weight", -weight_max, weight_max);
        if (fields == ChoiceFields::with_headers) {
            decode_headers(entry, choice.request_headers, choice.response_headers);
        }
        if (!to) {
            entry.error_here("destination is missing");
            return;
        }
        if (weight.value_or(0) < 0) {
            entry.error("weight", fmt::format("weight {} < 0", *weight));
            return;
        }
        choice.to = *std::move(to);
        choice.weight = static_cast<std::uint32_t>(weight.value_or(0));
        total += choice.weight;
        choices.push_back(std::move(choice));
    });
    if (choices.size() > 1 && total == 0) {
        parent.error("route", "total destination weight = 0", "give one destination a weight");
    }
    if (choices.size() == 1 && choices.front().weight == 0) {
        choices.front().weight = 1;  // a sole destination gets all, whatever its weight
    }
    return choices;
}

void check_combination(FieldReader& reader, const HttpRouteSpec& route) {
    bool delegates = !route.delegate_name.empty();
    bool forwards = reader.has("route");
    if (route.redirect && (forwards || route.fault || route.rewrite || route.direct_response)) {
        reader.error("redirect",
                     "HTTP route cannot contain both redirect and route, fault, "
                     "rewrite or directResponse");
    } else if (route.direct_response && (forwards || route.fault || route.rewrite)) {
        reader.error("directResponse",
                     "HTTP route cannot contain both directResponse and route, "
                     "fault or rewrite");
    }
    if (delegates && (forwards || route.redirect || route.direct_response)) {
        reader.error("delegate",
                     "a delegating route cannot have route, redirect or "
                     "directResponse of its own");
    }
    if (!delegates && !route.redirect && !route.direct_response && route.choices.empty()) {
        reader.error_here("HTTP route, redirect or direct_response is required");
    }
}

HttpRouteSpec
read_http_route(const DecodeContext& context, const Node& node, const std::string& path) {
    HttpRouteSpec route;
    FieldReader reader(context.report, &node, path);
    route.source = context.ref_at(node.line);
    route.name = reader.text_or("name", "");
    reader.each("match", [&](const Node& item, const std::string& item_path) {
        if (item.is_null()) {
            context.report.error(item.line, item_path, "match cannot be null");
            return;
        }
        route.matches.push_back(read_match(context, item, item_path));
    });
    route.choices = read_choices(context, reader, ChoiceFields::with_headers);
    route.timeout = reader.duration("timeout");
    route.timeout_source = route.timeout ? context.ref_at(reader.line_of("timeout")) : nullptr;
    route.retries = decode_retry_policy(context, reader.take("retries"), path + ".retries");
    route.fault = decode_fault(context, reader);
    route.redirect = decode_redirect(reader);
    route.direct_response = decode_direct_response(reader);
    route.rewrite = decode_rewrite(reader);
    route.mirrors = decode_mirrors(reader);
    route.cors = decode_cors(reader);
    decode_headers(reader, route.request_headers, route.response_headers);
    FieldReader delegate(context.report, reader.take("delegate"), path + ".delegate");
    if (delegate.present()) {
        route.delegate_name = delegate.text_or("name", "");
        route.delegate_ns = delegate.text_or("namespace", context.key.ns);
        if (!is_dns_name(route.delegate_name)) {
            delegate.error("name", "the name of a VirtualService is needed");
        }
    }
    if (reader.present()) {
        check_combination(reader, route);
    } else if (node.is_null()) {
        context.report.error(node.line, path, "HTTP route must not be null");
    }
    return route;
}

void read_ranges(const DecodeContext& context, FieldReader& match, L4RouteSpec& out) {
    for (const std::string& text : match.texts("destinationSubnets")) {
        auto address = IpAddress::parse(text);
        auto range = Cidr::parse(address ? text + (address->is_v4() ? "/32" : "/128") : text);
        if (range) {
            out.destination_ranges.push_back(*range);
        } else {
            match.error("destinationSubnets", fmt::format("\"{:.60}\" is no subnet", text));
        }
    }
}

bool host_covers(const std::string& pattern, const std::string& host) {
    if (pattern == "*" || pattern == host) {
        return true;
    }
    return pattern.starts_with("*.") && host.ends_with(std::string_view(pattern).substr(1));
}

// `kind` is tls or tcp; every match becomes an element of its own, as matches are alternatives.
void read_l4_route(const DecodeContext& context,
                   const Node& node,
                   const std::string& path,
                   std::string_view kind,
                   const VirtualServiceSpec& spec,
                   std::vector<L4RouteSpec>& out) {
    FieldReader reader(context.report, &node, path);
    L4RouteSpec base;
    base.source = context.ref_at(node.line);
    base.choices = read_choices(context, reader, ChoiceFields::bytes_only);
    if (base.choices.empty()) {
        reader.error_here(fmt::format("{} route is required", kind));
    }
    std::size_t matches = 0;
    reader.each("match", [&](const Node& item, const std::string& item_path) {
        ++matches;
        FieldReader match(context.report, &item, item_path);
        L4RouteSpec route = base;
        if (kind == "tls") {
            route.sni_hosts = match.texts("sniHosts");
            if (route.sni_hosts.empty()) {
                match.error_here("TLS match must have at least one SNI host");
            }
        }
        for (std::string& host : route.sni_hosts) {
            host = to_lower(host);
            bool covered = std::ranges::any_of(
                spec.hosts, [&](const std::string& pattern) { return host_covers(pattern, host); });
            if (!is_host_pattern(host) || !covered) {
                match.error("sniHosts",
                            fmt::format("SNI host \"{:.80}\" is not within hosts", host));
            }
        }
        read_ranges(context, match, route);
        if (auto port = read_port(match, "port")) {
            route.ports.push_back(*port);
        }
        route.source_labels = match.labels("sourceLabels");
        route.gateways = match.texts("gateways");
        route.source_namespace = match.text_or("sourceNamespace", "");
        out.push_back(std::move(route));
    });
    if (kind == "tls" && matches == 0) {
        reader.error_here("TLS route must have at least one match");
    } else if (matches == 0) {
        out.push_back(std::move(base));
    }
}

void check_hosts(FieldReader& reader, const VirtualServiceSpec& spec) {
    bool mesh =
        spec.gateways.empty() || std::ranges::find(spec.gateways, "mesh") != spec.gateways.end();
    std::vector<std::string> seen;
    for (const std::string& host : spec.hosts) {
        if (!is_host_pattern(host)) {
            reader.error("hosts",
                         fmt::format("\"{:.80}\" is no host name", host),
                         "a DNS name, optionally with a leading \"*.\"");
        }
        if (host == "*" && mesh) {
            reader.error("hosts",
                         "wildcard host * is not allowed for virtual services bound to the mesh "
                         "gateway",
                         "name the hosts, or list gateways without mesh");
        }
        if (std::ranges::find(seen, host) != seen.end()) {
            reader.error("hosts", fmt::format("duplicate host {:.80} in virtual service", host));
        }
        seen.push_back(host);
    }
}

void check_delegate(FieldReader& reader, const VirtualServiceSpec& spec) {
    if (!spec.gateways.empty()) {
        reader.error("gateways",
                     "delegate virtual service must have no gateways",
                     "write hosts, or leave gateways out");
    }
    if (!spec.tls.empty() || !spec.tcp.empty()) {
        reader.error_here("delegate virtual service must have no TLS or TCP routes", "write hosts");
    }
    for (const HttpRouteSpec& route : spec.http) {
        if (!route.delegate_name.empty()) {
            reader.error("http", "a delegate cannot delegate again");
        }
    }
}

}  // namespace

model::ObjectRefPtr DecodeContext::ref_at(int line) const {
    return std::make_shared<const model::ObjectRef>(
        model::ObjectRef{key.kind, key.ns, key.name, report.file(), line});
}

HttpRouteSpec
decode_http_route(const DecodeContext& context, const Node& node, const std::string& path) {
    return read_http_route(context, node, path);
}

ObjectSpec decode_virtual_service(const DecodeContext& context) {
    VirtualServiceSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    for (const std::string& host : spec.texts("hosts")) {
        out.hosts.push_back(to_lower(host));
    }
    out.gateways = spec.texts("gateways");
    out.export_to = read_export_to(spec);
    spec.each("http", [&](const Node& item, const std::string& path) {
        out.http.push_back(read_http_route(context, item, path));
    });
    spec.each("tls", [&](const Node& item, const std::string& path) {
        read_l4_route(context, item, path, "tls", out, out.tls);
    });
    spec.each("tcp", [&](const Node& item, const std::string& path) {
        read_l4_route(context, item, path, "tcp", out, out.tcp);
    });
    if (!spec.present()) {
        context.report.error(context.root.line, "spec", "spec is missing");
        return out;
    }
    if (!spec.has("http") && !spec.has("tls") && !spec.has("tcp")) {
        spec.error_here("http, tcp or tls must be provided in virtual service");
    }
    if (out.hosts.empty() && !spec.has("hosts")) {
        check_delegate(spec, out);
    } else if (out.hosts.empty()) {
        spec.error("hosts", "the list is empty", "name the hosts, or leave it out for a delegate");
    }
    check_hosts(spec, out);
    return out;
}

MatchSpec
decode_http_match(const DecodeContext& context, const Node& node, const std::string& path) {
    return read_match(context, node, path);
}

}  // namespace orlop::control
