#include "daemon/control/compile/authorization.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

namespace orlop::control {
namespace {

using model::Attribute;
using model::AuthorizationAction;
using model::TextForm;

bool has_all(const model::Labels& labels, const model::Labels& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

// A principal of an alias, or of `cluster.local`, means the mesh's own trust domain.
void use_trust_domain(const model::MeshConfig& mesh, std::vector<TextForm>& forms) {
    for (TextForm& form : forms) {
        std::size_t slash = form.text.find('/');
        if (slash == std::string::npos || form.kind == TextForm::Kind::suffix) {
            continue;
        }
        std::string domain = form.text.substr(0, slash);
        bool alias =
            domain == "cluster.local" ||
            std::ranges::find(mesh.trust_domain_aliases, domain) != mesh.trust_domain_aliases.end();
        if (alias) {
            form.text.replace(0, slash, mesh.trust_domain);
        }
    }
}

void use_trust_domain(const model::MeshConfig& mesh, model::Clause& clause) {
    for (model::Condition& condition : clause) {
        if (condition.attribute == Attribute::principal) {
            use_trust_domain(mesh, condition.any);
            use_trust_domain(mesh, condition.none);
        }
    }
}

model::AuthorizationPolicyPtr in_mesh(const model::MeshConfig& mesh,
                                      const model::AuthorizationPolicyPtr& written) {
    if (mesh.trust_domain == "cluster.local" && mesh.trust_domain_aliases.empty()) {
        return written;
    }
    auto policy = std::make_shared<model::AuthorizationPolicy>(*written);
    for (model::AuthorizationRule& rule : policy->rules) {
        use_trust_domain(mesh, rule.when);
        for (model::Clause& clause : rule.from) {
            use_trust_domain(mesh, clause);
        }
    }
    return policy;
}

}  // namespace

AuthorizationBook::AuthorizationBook(const ObjectStore& store, const model::MeshConfig& mesh)
    : mesh_(mesh), keep_alive_(store.in_creation_order("AuthorizationPolicy")) {
    for (const ObjectPtr& object : keep_alive_) {
        const auto& spec = std::get<AuthorizationPolicySpec>(object->spec);
        Entry entry{object->key.ns, object->ref, &spec, in_mesh(mesh, spec.policy), {}, 0, {}};
        add_targets(store, entry);
        by_namespace_[object->key.ns].push_back(entries_.size());
        entries_.push_back(std::move(entry));
    }
    for (const StoredObject* stored : store.objects("AuthorizationPolicy")) {
        if (stored->object == nullptr) {
            add_unreadable(*stored);
        }
    }
}

void AuthorizationBook::add_unreadable(const StoredObject& stored) {
    const ObjectKey& key = stored.key;
    auto policy = std::make_shared<model::AuthorizationPolicy>();
    policy->action = AuthorizationAction::deny;
    policy->rules.emplace_back();
    policy->rules.back().details = fmt::format(
        "rbac_access_denied_matched_policy[ns[{}]-policy[{}]-unreadable]", key.ns, key.name);
    policy->source = std::make_shared<const model::ObjectRef>(
        model::ObjectRef{key.kind, key.ns, key.name, stored.source, stored.line});
    by_namespace_[key.ns].push_back(entries_.size());
    entries_.push_back({key.ns, policy->source, &whole_namespace_, policy, {}, 0, {}});
}

void AuthorizationBook::add_targets(const ObjectStore& store, Entry& entry) const {
    for (const std::string& name : entry.spec->services) {
        const StoredObject* service = store.find({"Service", entry.ns, name});
        if (service == nullptr || service->object == nullptr) {
            continue;
        }
        const auto& spec = std::get<ServiceSpec>(service->object->spec);
        if (!spec.selector.empty()) {
            entry.services.push_back(&spec.selector);
        }
    }
}

bool AuthorizationBook::selects(const Entry& entry, const model::Workload& workload) const {
    if (!entry.spec->services.empty()) {
        return workload.ns == entry.ns &&
               std::ranges::any_of(entry.services, [&](const model::Labels* selector) {
                   return has_all(workload.labels, *selector);
               });
    }
    return has_all(workload.labels, entry.spec->selector);
}

std::vector<std::size_t> AuthorizationBook::applying(const model::Workload& workload) const {
    std::vector<std::size_t> out;
    for (const std::string& ns : {mesh_.root_namespace, workload.ns}) {
        auto found = by_namespace_.find(ns);
        if (found != by_namespace_.end()) {
            std::ranges::copy_if(found->second, std::back_inserter(out), [&](std::size_t index) {
                return selects(entries_[index], workload);
            });
        }
        if (workload.ns == mesh_.root_namespace) {
            break;  // one and the same scope
        }
    }
    return out;
}

bool AuthorizationBook::forget(const model::Workload& workload) {
    bool known = true;
    for (std::size_t index : entries_.empty() ? std::vector<std::size_t>() : applying(workload)) {
        Entry& entry = entries_[index];
        --entry.chosen;
        known = known && entry.not_captured != std::pair(workload.ns, workload.name);
    }
    return known;
}

model::AuthorizationPtr AuthorizationBook::of(const model::Workload& workload) {
    if (entries_.empty()) {
        return nullptr;
    }
    std::vector<std::size_t> chosen = applying(workload);
    if (chosen.empty()) {
        return nullptr;
    }
    for (std::size_t index : chosen) {
        Entry& entry = entries_[index];
        ++entry.chosen;
        std::pair name(workload.ns, workload.name);
        bool first = entry.not_captured.second.empty() || name < entry.not_captured;
        if (!workload.enrol_wanted && first) {
            entry.not_captured = std::move(name);
        }
    }
    model::AuthorizationPtr& slot = shared_[chosen];
    if (!slot) {
        auto made = std::make_shared<model::Authorization>();
        made->trust_domain = mesh_.trust_domain;
        made->trust_domain_aliases = mesh_.trust_domain_aliases;
        for (std::size_t index : chosen) {
            const auto& policy = entries_[index].policy;
            auto& list = policy->action == AuthorizationAction::deny    ? made->deny
                         : policy->action == AuthorizationAction::allow ? made->allow
                                                                        : made->audit;
            list.push_back(policy);
        }
        slot = std::move(made);
    }
    return slot;
}

void AuthorizationBook::report(FindingSink& findings) const {
    for (const Entry& entry : entries_) {
        if (entry.spec == &whole_namespace_) {
            findings.warn("ORL033",
                          entry.ref,
                          "",
                          fmt::format("no version of it was ever readable: every call to the pods "
                                      "of {} is refused",
                                      entry.ns == mesh_.root_namespace ? "the mesh"
                                                                       : "namespace " + entry.ns),
                          "correct the object, or remove it");
            continue;
        }
        bool narrowed = entry.spec->has_selector || !entry.spec->services.empty();
        const char* field = entry.spec->services.empty() ? "spec.selector" : "spec.targetRefs";
        if (narrowed && entry.chosen == 0) {
            findings.warn("IST0119",
                          entry.ref,
                          field,
                          "selects no pod: the policy protects nothing",
                          "compare it with the labels of the pods");
        }
        if (!entry.not_captured.second.empty()) {
            findings.warn("ORL034",
                          entry.ref,
                          narrowed ? field : "spec",
                          fmt::format("not enforced at pod {}/{}: it is not in the mesh",
                                      entry.not_captured.first,
                                      entry.not_captured.second),
                          "label the pod or its namespace istio.io/dataplane-mode");
        }
    }
}

}  // namespace orlop::control
