#include "daemon/control/compile/rules.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {
namespace {

void overlay_blocks(TrafficPolicySpec& base, const TrafficPolicySpec& newer) {
    auto take = [](auto& mine, const auto& theirs) {
        if (theirs) {
            mine = theirs;
        }
    };
    take(base.load_balancer, newer.load_balancer);
    take(base.pool, newer.pool);
    take(base.outlier, newer.outlier);
    take(base.tls, newer.tls);
    take(base.retry_budget, newer.retry_budget);
    for (const auto& [port, policy] : newer.ports) {
        base.ports[port] = policy;
    }
    base.source = newer.source;
}

void overlay_policy(std::optional<TrafficPolicySpec>& base, const TrafficPolicySpec* newer) {
    if (newer == nullptr) {
        return;
    }
    if (base) {
        overlay_blocks(*base, *newer);
    } else {
        base = *newer;
    }
}

void overlay_subset(SubsetSpec& base, const SubsetSpec& newer) {
    base.labels = newer.labels;
    base.line = newer.line;
    overlay_policy(base.policy, newer.policy ? &*newer.policy : nullptr);
}

void apply_blocks(const TrafficPolicySpec& spec, model::TrafficPolicy& out) {
    if (spec.load_balancer) {
        out.load_balancing = spec.load_balancer->simple;
        out.consistent_hash = spec.load_balancer->consistent_hash;
        out.warmup = spec.load_balancer->warmup;
        out.locality_lb = spec.load_balancer->locality;
    }
    if (spec.pool) {
        out.pool = *spec.pool;
    }
    if (spec.outlier) {
        out.outlier = spec.outlier;
    }
    if (spec.tls) {
        out.tls = spec.tls;
    }
    if (spec.retry_budget) {
        out.retry_budget = *spec.retry_budget;
    }
    out.source = spec.source;
}

// The port's own entry replaces the level whole: what it omits is default again.
const TrafficPolicySpec& level_for_port(const TrafficPolicySpec& policy, std::uint16_t port) {
    auto found = policy.ports.find(port);
    return found == policy.ports.end() ? policy : found->second;
}

// Namespace of `<service>.<namespace>.svc.<domain>`, by the registry.
std::string namespace_of(const std::string& host, const Services& services) {
    const ServiceRecord* record = services.find(host);
    return record == nullptr ? std::string() : record->service->ns;
}

}  // namespace

const SubsetSpec* MergedRule::find(std::string_view name) const {
    auto found = std::ranges::find(subsets, name, &SubsetSpec::name);
    return found == subsets.end() ? nullptr : &*found;
}

bool is_visible(const std::vector<std::string>& export_to,
                const std::string& own_ns,
                const std::string& client_ns) {
    if (export_to.empty()) {
        return true;
    }
    return !client_ns.empty() && std::ranges::any_of(export_to, [&](const std::string& target) {
        return target == "*" || target == client_ns || (target == "." && client_ns == own_ns);
    });
}

bool pattern_covers(std::string_view pattern, std::string_view host) {
    if (pattern == "*" || pattern == host) {
        return true;
    }
    return pattern.starts_with("*.") && host.size() >= pattern.size() &&
           host.ends_with(pattern.substr(1));
}

RuleBook::RuleBook(const std::vector<ObjectPtr>& objects,
                   const model::MeshConfig& mesh,
                   const Services& services,
                   FindingSink& findings)
    : mesh_(mesh) {
    for (const ObjectPtr& object : objects) {
        const auto& spec = std::get<DestinationRuleSpec>(object->spec);
        if (!spec.workload_selector.empty()) {
            continue;  // reported when applied: not enforced yet
        }
        std::string host = full_host(spec.host, object->key.ns, mesh);
        Book& book = books_[object->key.ns];
        Candidates& candidates = host.starts_with('*') ? book.wildcard[host] : book.exact[host];
        if (!candidates.empty()) {
            bool overlay = mesh.conflict_resolution == model::ConflictResolution::overlay;
            findings.warn("ORL004",
                          object->ref,
                          "spec.host",
                          fmt::format("{} already has a rule for {}",
                                      candidates.back()->ref->to_string(),
                                      host),
                          overlay ? "the blocks of the newer one override those of the older"
                                  : "the older one's trafficPolicy is in force, this one's is not");
        }
        candidates.push_back(object);
        note_special(*object, spec, host, services);
    }
}

void RuleBook::note_special(const Object& object,
                            const DestinationRuleSpec& spec,
                            const std::string& host,
                            const Services& services) {
    for (const std::string& target : spec.export_to) {
        special_[target == "." ? object.key.ns : target].insert(host);
    }
    bool foreign = namespace_of(host, services) != object.key.ns;
    if (spec.export_to.empty() && foreign && object.key.ns != mesh_.root_namespace) {
        special_[object.key.ns].insert(host);
    }
}

std::shared_ptr<const MergedRule> RuleBook::merge(const Candidates& candidates,
                                                  const std::string& client_ns) const {
    std::shared_ptr<MergedRule> merged;
    bool overlay = mesh_.conflict_resolution == model::ConflictResolution::overlay;
    for (const ObjectPtr& object : candidates) {
        const auto& spec = std::get<DestinationRuleSpec>(object->spec);
        if (!is_visible(spec.export_to, object->key.ns, client_ns)) {
            continue;
        }
        if (!merged) {
            merged = std::make_shared<MergedRule>();
        }
        if (overlay) {
            overlay_policy(merged->policy, spec.policy.get());
        } else if (!merged->policy && spec.policy) {
            merged->policy = *spec.policy;
        }
        for (const SubsetSpec& subset : spec.subsets) {
            auto known = std::ranges::find(merged->subsets, subset.name, &SubsetSpec::name);
            if (known == merged->subsets.end()) {
                merged->subsets.push_back(subset);
            } else if (overlay) {
                overlay_subset(*known, subset);
            }
        }
    }
    return merged;
}

const MergedRule*
RuleBook::lookup(const std::string& ns, const std::string& client_ns, const std::string& host) {
    auto book = books_.find(ns);
    if (book == books_.end()) {
        return nullptr;
    }
    std::string key = ns + '\n' + client_ns + '\n' + host;
    if (auto cached = cache_.find(key); cached != cache_.end()) {
        return cached->second.get();
    }
    std::shared_ptr<const MergedRule> found;
    if (auto exact = book->second.exact.find(host); exact != book->second.exact.end()) {
        found = merge(exact->second, client_ns);
    }
    std::size_t longest = 0;
    for (const auto& [pattern, candidates] : book->second.wildcard) {
        bool better = pattern.size() > longest && pattern_covers(pattern, host);
        if ((found && longest == 0) || !better) {
            continue;
        }
        if (auto merged = merge(candidates, client_ns)) {
            found = merged;
            longest = pattern.size();
        }
    }
    return cache_.emplace(std::move(key), std::move(found)).first->second.get();
}

const MergedRule* RuleBook::find(const std::string& client_ns,
                                 const std::string& host,
                                 const std::string& service_ns) {
    if (!client_ns.empty()) {
        if (const MergedRule* own = lookup(client_ns, client_ns, host)) {
            return own;
        }
    }
    if (service_ns != client_ns) {
        if (const MergedRule* service = lookup(service_ns, client_ns, host)) {
            return service;
        }
    }
    if (mesh_.root_namespace != client_ns && mesh_.root_namespace != service_ns) {
        return lookup(mesh_.root_namespace, client_ns, host);
    }
    return nullptr;
}

model::TrafficPolicy
effective_policy(const MergedRule* rule, const SubsetSpec* subset, std::uint16_t port) {
    model::TrafficPolicy out;
    if (rule != nullptr && rule->policy) {
        const TrafficPolicySpec& level = level_for_port(*rule->policy, port);
        apply_blocks(level, out);
        if (rule->policy->retry_budget) {
            out.retry_budget = *rule->policy->retry_budget;
        }
    }
    if (subset != nullptr && subset->policy) {
        apply_blocks(level_for_port(*subset->policy, port), out);
    }
    return out;
}

}  // namespace orlop::control
