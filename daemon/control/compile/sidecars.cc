#include "daemon/control/compile/sidecars.h"

#include "daemon/control/compile/rules.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {

bool EgressView::listed(const SidecarSpec::Egress& egress,
                        const std::string& ns,
                        const std::string& host) const {
    return std::ranges::any_of(egress.hosts, [&](const std::string& text) {
        std::size_t slash = text.find('/');
        std::string wanted = text.substr(0, slash);
        bool from_there =
            ns.empty() || wanted == "*" || wanted == ns || (wanted == "." && ns == own_ns_);
        return wanted != "~" && from_there && pattern_covers(text.substr(slash + 1), host);
    });
}

bool EgressView::shows(const std::string& ns, const std::string& host, std::uint16_t port) const {
    if (spec_.egress.empty()) {
        return true;
    }
    if (port == 0) {
        return std::ranges::any_of(spec_.egress,
                                   [&](const auto& egress) { return listed(egress, ns, host); });
    }
    auto own = std::ranges::find(spec_.egress, port, &SidecarSpec::Egress::port);
    if (own == spec_.egress.end()) {
        own = std::ranges::find(spec_.egress, 0, &SidecarSpec::Egress::port);
    }
    return own != spec_.egress.end() && listed(*own, ns, host);
}

Sidecars::Sidecars(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings)
    : mesh_(mesh) {
    for (const ObjectPtr& object : store.in_creation_order("Sidecar")) {
        const std::string& ns = object->key.ns;
        if (!std::get<SidecarSpec>(object->spec).selector.empty()) {
            selecting_[ns].push_back(object);
            continue;
        }
        auto [known, added] = by_namespace_.emplace(ns, object);
        if (!added) {
            findings.warn(
                "IST0111",
                object->ref,
                "spec",
                fmt::format("namespace {} already has {}", ns, known->second->ref->to_string()),
                "the older one is in force; give this one a workloadSelector");
        }
    }
}

std::string Sidecars::scope_of(const std::string& ns, const model::Labels& labels) const {
    auto candidates = selecting_.find(ns);
    if (candidates == selecting_.end()) {
        return {};
    }
    for (const ObjectPtr& object : candidates->second) {
        const auto& selector = std::get<SidecarSpec>(object->spec).selector;
        bool all = std::ranges::all_of(selector, [&](const auto& entry) {
            auto found = labels.find(entry.first);
            return found != labels.end() && found->second == entry.second;
        });
        if (all) {
            return ns + "/" + object->key.name;
        }
    }
    return {};
}

std::vector<SidecarScope> Sidecars::scopes(const std::vector<std::string>& namespaces) const {
    std::vector<SidecarScope> out;
    auto root = by_namespace_.find(mesh_.root_namespace);
    for (const std::string& ns : namespaces) {
        auto own = by_namespace_.find(ns);
        if (own == by_namespace_.end()) {
            own = root;
        }
        if (own != by_namespace_.end()) {
            out.push_back({ns, ns, EgressView(std::get<SidecarSpec>(own->second->spec), ns)});
        }
    }
    for (const auto& [ns, objects] : selecting_) {
        for (const ObjectPtr& object : objects) {
            out.push_back({ns + "/" + object->key.name,
                           ns,
                           EgressView(std::get<SidecarSpec>(object->spec), ns)});
        }
    }
    return out;
}

}  // namespace orlop::control
