#include "daemon/control/compile/quotas.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace orlop::control {
namespace {

// NAME.KIND[.NAMESPACE]
struct MixerName {
    std::string name;
    std::string kind;
    std::string ns;
};

MixerName parse_name(std::string_view text, const std::string& own_ns) {
    std::size_t dot = text.find('.');
    if (dot == std::string_view::npos) {
        return {std::string(text), "", own_ns};
    }
    std::string_view rest = text.substr(dot + 1);
    std::size_t second = rest.find('.');
    return {std::string(text.substr(0, dot)),
            std::string(rest.substr(0, second)),
            second == std::string_view::npos ? own_ns : std::string(rest.substr(second + 1))};
}

template <class Spec>
const Spec* find_spec(const ObjectStore& store, const char* kind, const MixerName& name) {
    const StoredObject* stored = store.find({kind, name.ns, name.name});
    return stored == nullptr || !stored->object ? nullptr
                                                : std::get_if<Spec>(&stored->object->spec);
}

model::ObjectRefPtr at_line(const Object& rule, int line) {
    auto where = std::make_shared<model::ObjectRef>(*rule.ref);
    where->line = line;
    return where;
}

void join(const ObjectStore& store,
          const model::MeshConfig& mesh,
          const Object& rule,
          const MixerRuleSpec::Action& action,
          const std::string& instance_text,
          std::vector<model::QuotaPtr>& out,
          FindingSink& findings) {
    const auto& spec = std::get<MixerRuleSpec>(rule.spec);
    auto missing = [&](std::string what) {
        findings.warn("IST0101",
                      at_line(rule, action.line),
                      "spec.actions",
                      std::move(what),
                      "the rule limits nothing until it exists");
    };
    MixerName handler_name = parse_name(action.handler, rule.key.ns);
    MixerName instance_name = parse_name(instance_text, rule.key.ns);
    const auto* handler = find_spec<MemquotaSpec>(store, "memquota", handler_name);
    const auto* instance = find_spec<QuotaInstanceSpec>(store, "quota", instance_name);
    if (handler == nullptr || instance == nullptr) {
        missing(handler == nullptr
                    ? fmt::format("memquota {}/{} not found", handler_name.ns, handler_name.name)
                    : fmt::format("quota {}/{} not found", instance_name.ns, instance_name.name));
        return;
    }
    std::string full = fmt::format("{}.quota.{}", instance_name.name, instance_name.ns);
    auto entry = std::ranges::find(handler->quotas, full, &MemquotaSpec::Entry::name);
    if (entry == handler->quotas.end()) {
        missing(fmt::format("memquota {} has no quota named {}", handler_name.name, full));
        return;
    }
    auto quota = std::make_shared<model::Quota>();
    quota->name = full;
    quota->conditions = spec.conditions;
    if (rule.key.ns != mesh.root_namespace) {
        using Kind = model::LimitAttribute::Kind;
        quota->conditions.push_back({{{Kind::destination_namespace, {}}}, false, rule.key.ns});
    }
    quota->dimensions = instance->dimensions;
    std::ranges::sort(quota->dimensions, {}, [](const auto& entry) { return entry.first; });
    quota->max_amount = entry->max_amount;
    quota->valid_duration = entry->valid_duration;
    quota->overrides = entry->overrides;
    quota->source = at_line(rule, action.line);
    out.push_back(std::move(quota));
}

}  // namespace

std::vector<model::QuotaPtr>
compile_quotas(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings) {
    std::vector<model::QuotaPtr> out;
    for (const ObjectPtr& rule : store.in_creation_order("rule")) {
        for (const auto& action : std::get<MixerRuleSpec>(rule->spec).actions) {
            if (parse_name(action.handler, rule->key.ns).kind != "memquota") {
                findings.warn("ORL003",
                              at_line(*rule, action.line),
                              "spec.actions",
                              fmt::format("handler {} is accepted, not enforced", action.handler),
                              "only memquota handlers act");
                continue;
            }
            for (const std::string& instance : action.instances) {
                join(store, mesh, *rule, action, instance, out, findings);
            }
        }
    }
    return out;
}

}  // namespace orlop::control
