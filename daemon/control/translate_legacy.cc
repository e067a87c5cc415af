#include "daemon/control/translate_legacy.h"

#include "daemon/control/objects/tree_builder.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace orlop::control {
namespace {

// (namespace, host as written there)
using HostKey = std::pair<std::string, std::string>;

struct HostParts {
    model::ObjectRefPtr first;  // the first object that says something about the host
    std::vector<ObjectPtr> rules;
    std::vector<ObjectPtr> policies;
    std::map<std::string, LegacySubset> subsets;
};

Node make_document(const char* kind, const HostKey& host, Node spec) {
    Node document = make_map(spec.line);
    put(document, "apiVersion", make_text("networking.istio.io/v1", spec.line));
    put(document, "kind", make_text(kind, spec.line));
    Node metadata = make_map(spec.line);
    std::string name = host.second.starts_with('*') ? "any" + host.second.substr(1) : host.second;
    put(metadata, "name", make_text(std::move(name), spec.line));
    put(metadata, "namespace", make_text(host.first, spec.line));
    put(document, "metadata", std::move(metadata));
    put(document, "spec", std::move(spec));
    return document;
}

Finding note(const Object& about, std::string path, std::string message, std::string hint) {
    return {Severity::warning,
            "ORL022",
            about.key,
            about.ref->file,
            about.ref->line,
            std::move(path),
            std::move(message),
            std::move(hint)};
}

// Callers behind a Service are today told by labels: those of the Service's selector.
model::Labels caller_labels(const ObjectStore& store,
                            const Object& rule,
                            const RouteRuleSpec& spec,
                            Findings& notes) {
    const StoredObject* service = store.find({"Service", spec.source_ns, spec.source_service});
    if (service != nullptr && service->object) {
        const auto& selector = std::get<ServiceSpec>(service->object->spec).selector;
        if (!selector.empty()) {
            return selector;
        }
    }
    notes.push_back(note(rule,
                         "spec.match.source",
                         fmt::format("Service {}/{} is not known here; its pods are taken to have "
                                     "the label app: {}",
                                     spec.source_ns,
                                     spec.source_service,
                                     spec.source_service),
                         "check sourceLabels"));
    return {{"app", spec.source_service}};
}

void narrow_to_callers(const model::Labels& labels, HttpRouteSpec& route, Node& http) {
    for (MatchSpec& match : route.matches) {
        match.match.source_labels.insert(labels.begin(), labels.end());
    }
    for (Field& field : http.fields) {
        if (field.key != "match") {
            continue;
        }
        for (Node& match : field.value.items) {
            bool written = match.find("sourceLabels") != nullptr;
            if (!written) {
                put(match, "sourceLabels", make_map(match.line));
            }
            auto place = std::ranges::find(match.fields, "sourceLabels", &Field::key);
            for (const auto& [key, value] : labels) {
                if (place->value.find(key) == nullptr) {
                    put(place->value, key, make_text(value, match.line));
                }
            }
        }
    }
}

ObjectPtr make_virtual_service(const ObjectStore& store,
                               const HostKey& host,
                               const std::vector<ObjectPtr>& rules,
                               Findings& notes) {
    std::multimap<int, ObjectPtr> by_precedence;  // higher first; equal ones stay in order
    for (const ObjectPtr& rule : rules) {
        by_precedence.emplace(-std::get<RouteRuleSpec>(rule->spec).precedence, rule);
    }
    const model::ObjectRefPtr& first = by_precedence.begin()->second->ref;
    auto out = std::make_shared<Object>();
    VirtualServiceSpec spec;
    spec.hosts = {host.second};
    int line = first->line;
    Node http = make_list(line);
    for (const auto& [precedence, rule] : by_precedence) {
        const auto& written = std::get<RouteRuleSpec>(rule->spec);
        HttpRouteSpec route = *written.route;
        Node element = written.http;
        if (!written.source_service.empty()) {
            auto labels = caller_labels(store, *rule, written, notes);
            narrow_to_callers(labels, route, element);
        }
        spec.http.push_back(std::move(route));
        http.items.push_back(std::move(element));
    }
    Node tree = make_map(line);
    put(tree, "hosts", make_list(line)).items.push_back(make_text(host.second, line));
    put(tree, "http", std::move(http));
    out->key = {"RouteRule", host.first, host.second};
    out->api_version = "networking.istio.io/v1";
    out->ref = first;
    out->spec = std::move(spec);
    out->written = to_yaml(make_document("VirtualService", host, std::move(tree)));
    return out;
}

// Older policies first: blocks of a newer one for the same target replace theirs.
const ObjectPtr* newest_policy(const std::vector<ObjectPtr>& policies, const std::string& subset) {
    const ObjectPtr* newest = nullptr;
    for (const ObjectPtr& policy : policies) {
        if (std::get<DestinationPolicySpec>(policy->spec).target.name == subset) {
            newest = &policy;
        }
    }
    return newest;
}

void report_replaced(const std::vector<ObjectPtr>& policies, Findings& notes) {
    for (const ObjectPtr& policy : policies) {
        const auto& target = std::get<DestinationPolicySpec>(policy->spec).target;
        const ObjectPtr& newest = *newest_policy(policies, target.name);
        if (newest != policy) {
            notes.push_back(note(*policy,
                                 "spec.destination",
                                 "replaced by the newer " + newest->ref->to_string(),
                                 "delete one of the two"));
        }
    }
}

ObjectPtr make_destination_rule(const HostKey& host, const HostParts& parts, Findings& notes) {
    auto out = std::make_shared<Object>();
    out->ref = parts.policies.empty() ? parts.first : parts.policies.front()->ref;
    int line = out->ref->line;
    DestinationRuleSpec spec;
    spec.host = host.second;
    Node tree = make_map(line);
    put(tree, "host", make_text(host.second, line));
    if (const ObjectPtr* whole = newest_policy(parts.policies, "")) {
        const auto& policy = std::get<DestinationPolicySpec>((*whole)->spec);
        spec.policy = policy.decoded;
        put(tree, "trafficPolicy", policy.policy);
    }
    Node subsets = make_list(line);
    for (const auto& [name, subset] : parts.subsets) {
        SubsetSpec current{name, subset.labels, std::nullopt, subset.line};
        Node entry = make_map(subset.line);
        put(entry, "name", make_text(name, subset.line));
        Node& labels = put(entry, "labels", make_map(subset.line));
        for (const auto& [key, value] : subset.labels) {
            put(labels, key, make_text(value, subset.line));
        }
        if (const ObjectPtr* own = newest_policy(parts.policies, name)) {
            const auto& policy = std::get<DestinationPolicySpec>((*own)->spec);
            current.policy = *policy.decoded;
            put(entry, "trafficPolicy", policy.policy);
        }
        spec.subsets.push_back(std::move(current));
        subsets.items.push_back(std::move(entry));
    }
    if (!subsets.items.empty()) {
        put(tree, "subsets", std::move(subsets));
    }
    report_replaced(parts.policies, notes);
    out->key = {"DestinationPolicy", host.first, host.second};
    out->api_version = "networking.istio.io/v1";
    out->spec = std::move(spec);
    out->written = to_yaml(make_document("DestinationRule", host, std::move(tree)));
    return out;
}

// A policy for labels holds for requests that a route sends to these labels, and no others.
void report_unrouted(const HostParts& parts, Findings& notes) {
    for (const ObjectPtr& object : parts.policies) {
        const auto& target = std::get<DestinationPolicySpec>(object->spec).target;
        bool routed =
            target.name.empty() || std::ranges::any_of(parts.rules, [&](const auto& rule) {
                return std::ranges::any_of(
                    std::get<RouteRuleSpec>(rule->spec).subsets,
                    [&](const LegacySubset& used) { return used.name == target.name; });
            });
        if (!routed) {
            notes.push_back(note(*object,
                                 "spec.destination.labels",
                                 fmt::format("no RouteRule sends requests to the labels of subset "
                                             "{}: the policy acts only on routes that name them",
                                             target.name),
                                 "add a RouteRule with these labels, or remove the labels"));
        }
    }
}

HostParts& parts_of(const LegacyService& service,
                    const ObjectPtr& object,
                    std::map<HostKey, HostParts>& hosts) {
    HostParts& parts = hosts[{service.ns, service.host}];
    if (!parts.first) {
        parts.first = object->ref;
    }
    return parts;
}

}  // namespace

Translation translate_legacy(const ObjectStore& store) {
    Translation out;
    std::map<HostKey, HostParts> hosts;
    for (const ObjectPtr& object : store.in_creation_order("RouteRule")) {
        const auto& spec = std::get<RouteRuleSpec>(object->spec);
        parts_of(spec.destination, object, hosts).rules.push_back(object);
        for (const LegacySubset& subset : spec.subsets) {
            parts_of(subset.service, object, hosts).subsets.emplace(subset.name, subset);
        }
    }
    for (const ObjectPtr& object : store.in_creation_order("DestinationPolicy")) {
        const LegacySubset& target = std::get<DestinationPolicySpec>(object->spec).target;
        HostParts& parts = parts_of(target.service, object, hosts);
        parts.policies.push_back(object);
        if (!target.name.empty()) {
            parts.subsets.emplace(target.name, target);
        }
    }
    for (const auto& [host, parts] : hosts) {
        if (!parts.rules.empty()) {
            out.virtual_services.push_back(
                make_virtual_service(store, host, parts.rules, out.notes));
        }
        if (!parts.policies.empty() || !parts.subsets.empty()) {
            out.destination_rules.push_back(make_destination_rule(host, parts, out.notes));
        }
        report_unrouted(parts, out.notes);
    }
    return out;
}

}  // namespace orlop::control
