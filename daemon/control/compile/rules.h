// RuleBook: which DestinationRule governs a host for callers of a namespace (istio-semantics §1.9,
// §5; DESIGN §5 for several rules of one host).
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/object_store.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace orlop::control {

// All rules of one host and namespace that the caller may see, joined.
struct MergedRule {
    std::optional<TrafficPolicySpec> policy;
    std::vector<SubsetSpec> subsets;
    const SubsetSpec* find(std::string_view name) const;
};

class RuleBook {
public:
    // `objects`: DestinationRules in order of creation.
    RuleBook(const std::vector<ObjectPtr>& objects,
             const model::MeshConfig& mesh,
             const Services& services,
             FindingSink& findings);

    // `client_ns` empty: callers of any namespace without rules of its own. Null when no rule.
    const MergedRule*
    find(const std::string& client_ns, const std::string& host, const std::string& service_ns);

    // Namespaces that see other rules than the rest, with the hosts (or `*.suffix`) concerned.
    const std::map<std::string, std::set<std::string>>& special() const { return special_; }

private:
    using Candidates = std::vector<ObjectPtr>;  // in order of creation
    struct Book {
        std::map<std::string, Candidates> exact;
        std::map<std::string, Candidates> wildcard;  // by pattern
    };

    const MergedRule*
    lookup(const std::string& ns, const std::string& client_ns, const std::string& host);
    std::shared_ptr<const MergedRule> merge(const Candidates& candidates,
                                            const std::string& client_ns) const;
    void note_special(const Object& object,
                      const DestinationRuleSpec& spec,
                      const std::string& host,
                      const Services& services);

    const model::MeshConfig& mesh_;
    std::map<std::string, Book> books_;  // by namespace of the rules
    std::map<std::string, std::set<std::string>> special_;
    std::map<std::string, std::shared_ptr<const MergedRule>> cache_;
};

// exportTo as seen from a namespace; `client_ns` empty sees only what everybody sees.
bool is_visible(const std::vector<std::string>& export_to,
                const std::string& own_ns,
                const std::string& client_ns);

bool pattern_covers(std::string_view pattern, std::string_view host);  // `*.suffix`, `*` or equal

// The policy of one port and subset, blocks merged as §5 says.
model::TrafficPolicy
effective_policy(const MergedRule* rule, const SubsetSpec* subset, std::uint16_t port);

}  // namespace orlop::control
