// RouteRule of config.istio.io/v1alpha2 becomes one element of VirtualService spec.http.
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/legacy.h"
#include "daemon/control/objects/legacy_service.h"
#include "daemon/control/objects/route_actions.h"
#include "daemon/control/objects/tree_builder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace orlop::control {
namespace {

constexpr std::int64_t precedence_max = 1'000'000;

// The destination of one choice, and the subset that its labels mean.
Node make_destination(const LegacyName& name, RouteRuleSpec& out) {
    Node destination = make_map(name.line);
    put(destination,
        "host",
        make_text(host_seen_from(name.service, out.destination.ns), name.line));
    LegacySubset subset = make_legacy_subset(name);
    if (!subset.name.empty()) {
        put(destination, "subset", make_text(subset.name, name.line));
        out.subsets.push_back(std::move(subset));
    }
    return destination;
}

// match.request.headers: uri, scheme, method and authority were written among the headers.
void carry_headers(FieldReader& request, Node& match) {
    Node headers = make_map(request.line());
    request.each_field("headers", [&](const Field& field, const std::string&) {
        bool part = field.key == "uri" || field.key == "scheme" || field.key == "method" ||
                    field.key == "authority";
        put(part ? match : headers, field.key, field.value);
    });
    if (!headers.fields.empty()) {
        put(match, "headers", std::move(headers));
    }
}

void refuse_tcp(FieldReader& reader, std::string_view name) {
    if (reader.has(name)) {
        reader.error(name,
                     "rules for TCP and UDP of v1alpha2 are not carried",
                     "write a VirtualService with tcp routes");
    }
}

void carry_match(FieldReader& spec, const DecodeContext& context, Node& http, RouteRuleSpec& out) {
    FieldReader match(context.report, spec.take("match"), "spec.match");
    if (!match.present()) {
        return;
    }
    Node current = make_map(match.line());
    const Node* source_node = match.take("source");
    bool named = source_node != nullptr &&
                 (source_node->find("name") != nullptr || source_node->find("service") != nullptr);
    if (named) {
        if (auto source = read_legacy_service(match, "source", context.key.ns)) {
            std::size_t dot = source->service.host.find('.');
            out.source_service = source->service.host.substr(0, dot);
            out.source_ns = source->service.ns;
        }
    }
    if (source_node != nullptr) {
        FieldReader source(
            context.report, source_node, "spec.match.source", UnknownFields::ignored);
        if (const Node* labels = source.take("labels")) {
            put(current, "sourceLabels", *labels);
        }
        std::string ns = source.text_or("namespace", named ? out.source_ns : "");
        if (!ns.empty()) {
            put(current, "sourceNamespace", make_text(ns, source.line()));
        }
    }
    FieldReader request(context.report, match.take("request"), "spec.match.request");
    carry_headers(request, current);
    refuse_tcp(match, "tcp");
    refuse_tcp(match, "udp");
    if (!current.fields.empty() || named) {
        put(http, "match", make_list(match.line())).items.push_back(std::move(current));
    }
}

void carry_route(FieldReader& spec,
                 const DecodeContext& context,
                 const LegacyName& destination,
                 Node& http,
                 RouteRuleSpec& out) {
    Node route = make_list(spec.line());
    std::int64_t total = 0;
    spec.each("route", [&](const Node& item, const std::string& path) {
        FieldReader entry(context.report, &item, path);
        LegacyName to = read_legacy_service(entry, "destination", context.key.ns)
                            .value_or(LegacyName{destination.service, {}, item.line});
        auto labels = entry.labels("labels");
        if (!labels.empty()) {
            to.labels = std::move(labels);
        }
        auto weight = entry.integer("weight", 0, 100);
        total += weight.value_or(0);
        Node choice = make_map(item.line);
        put(choice, "destination", make_destination(to, out));
        if (weight) {
            put(choice, "weight", make_plain(std::to_string(*weight), item.line));
        }
        route.items.push_back(std::move(choice));
    });
    bool single_zero = route.items.size() == 1 && total == 0;
    if (!route.items.empty() && total != 100 && !single_zero) {
        spec.error("route",
                   fmt::format("sum of weights is {}, want 100", total),
                   "v1alpha2 counts in percent");
    }
    if (route.items.empty() && !spec.has("redirect")) {
        Node choice = make_map(spec.line());
        put(choice, "destination", make_destination(destination, out));
        route.items.push_back(std::move(choice));
    }
    if (!route.items.empty()) {
        put(http, "route", std::move(route));
    }
}

// {simpleTimeout: {timeout}} -> timeout.
void carry_timeout(FieldReader& spec, Node& http) {
    FieldReader timeout(spec.report(), spec.take("httpReqTimeout"), spec.path_of("httpReqTimeout"));
    FieldReader simple(
        spec.report(), timeout.take("simpleTimeout"), timeout.path_of("simpleTimeout"));
    simple.duration("timeout");
    if (const Node* value = simple.take("timeout")) {
        put(http, "timeout", *value);
    }
    note_not_carried(simple, "overrideHeaderName", "x-envoy-upstream-rq-timeout-ms does this");
    note_not_carried(timeout, "custom", "no counterpart");
}

// Retries of v1alpha2 had one fixed policy.
void carry_retries(FieldReader& spec, Node& http) {
    FieldReader retries(spec.report(), spec.take("httpReqRetries"), spec.path_of("httpReqRetries"));
    FieldReader simple(spec.report(), retries.take("simpleRetry"), retries.path_of("simpleRetry"));
    auto attempts = simple.integer("attempts", 0, 100);
    simple.duration("perTryTimeout");
    note_not_carried(simple, "overrideHeaderName", "x-envoy-max-retries does this");
    note_not_carried(retries, "custom", "no counterpart");
    if (!simple.present()) {
        return;
    }
    Node current = make_map(simple.line());
    put(current, "attempts", make_plain(std::to_string(attempts.value_or(0)), simple.line()));
    if (attempts.value_or(0) > 0) {
        if (const Node* each_try = simple.take("perTryTimeout")) {
            put(current, "perTryTimeout", *each_try);
        }
        put(current, "retryOn", make_text("5xx,connect-failure,refused-stream", simple.line()));
    }
    put(http, "retries", std::move(current));
}

// v1alpha2 cut the percentage to a whole number and took an absent one for 0.
void carry_percent(FieldReader& fault, Node& current) {
    auto percent = fault.number("percent", 0, 100);
    if (!percent) {
        if (!fault.has("percent")) {
            fault.report().warn("ORL009",
                                fault.line(),
                                fault.path_of("percent"),
                                "absent, and absent means 0: nothing is injected",
                                "write percent: 100");
        }
        return;
    }
    if (std::floor(*percent) != *percent) {
        fault.report().warn("ORL022",
                            fault.line_of("percent"),
                            fault.path_of("percent"),
                            "v1alpha2 cuts it to a whole number",
                            "VirtualService takes fractions");
    }
    Node value = make_map(fault.line_of("percent"));
    put(value,
        "value",
        make_plain(fmt::format("{}", static_cast<int>(*percent)), fault.line_of("percent")));
    put(current, "percentage", std::move(value));
}

void carry_fault(FieldReader& spec, Node& http) {
    FieldReader fault(spec.report(), spec.take("httpFault"), spec.path_of("httpFault"));
    if (!fault.present()) {
        return;
    }
    Node current = make_map(fault.line());
    for (std::string_view kind : {"delay", "abort"}) {
        FieldReader part(spec.report(), fault.take(kind), fault.path_of(kind));
        if (!part.present()) {
            continue;
        }
        Node one = make_map(part.line());
        carry_percent(part, one);
        for (std::string_view name :
             {"fixedDelay", "exponentialDelay", "httpStatus", "grpcStatus", "http2Error"}) {
            if (const Node* value = part.take(name)) {
                put(one, std::string(name), *value);
            }
        }
        note_not_carried(part, "overrideHeaderName", "no counterpart");
        put(current, std::string(kind), std::move(one));
    }
    put(http, "fault", std::move(current));
}

void carry_actions(FieldReader& spec,
                   const DecodeContext& context,
                   Node& http,
                   RouteRuleSpec& out) {
    for (std::string_view name : {"redirect", "rewrite", "corsPolicy"}) {
        if (const Node* value = spec.take(name)) {
            put(http, std::string(name), *value);
        }
    }
    carry_timeout(spec, http);
    carry_retries(spec, http);
    carry_fault(spec, http);
    if (auto mirror = read_legacy_service(spec, "mirror", context.key.ns)) {
        put(http, "mirror", make_destination(*mirror, out));
    }
    if (const Node* append = spec.take("appendHeaders")) {
        Node request = make_map(append->line);
        put(request, "add", *append);
        Node headers = make_map(append->line);
        put(headers, "request", std::move(request));
        put(http, "headers", std::move(headers));
    }
    refuse_tcp(spec, "l4Fault");
    spec.boolean("websocketUpgrade");  // always possible
}

}  // namespace

ObjectSpec decode_route_rule(const DecodeContext& context) {
    RouteRuleSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    if (!spec.present()) {
        context.report.error(context.root.line, "spec", "spec is missing");
        return out;
    }
    auto destination = read_legacy_service(spec, "destination", context.key.ns);
    if (!destination) {
        if (!spec.has("destination")) {
            spec.error_here("destination is missing", "write destination: {name: SERVICE}");
        }
        return out;
    }
    out.destination = destination->service;
    auto precedence = spec.integer("precedence", -precedence_max, precedence_max);
    out.precedence = static_cast<int>(precedence.value_or(0));
    out.http = make_map(spec.line());
    put(out.http, "name", make_text(context.key.name, spec.line()));
    carry_match(spec, context, out.http, out);
    carry_route(spec, context, *destination, out.http, out);
    carry_actions(spec, context, out.http, out);
    if (!context.report.failed()) {
        out.route =
            std::make_shared<const HttpRouteSpec>(decode_http_route(context, out.http, "spec"));
    }
    return out;
}

}  // namespace orlop::control
