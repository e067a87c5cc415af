// TableBuild: the tables of a Snapshot while a whole compilation fills them.
#pragma once

#include "daemon/control/compile/pod_claims.h"
#include "daemon/model/snapshot_tables.h"

#include <map>
#include <memory>
#include <string>

namespace orlop::control {

struct ScopeBuild {
    model::ScopeNames names;
    model::PodTargets pods;
    WaitingClaims waiting;
    PodClaims claims{pods, waiting};
    std::vector<std::uint32_t> targets;  // with a destination, in ascending order
};

using WaitingByScope = std::map<std::string, WaitingClaims>;

struct TableBuild {
    model::Snapshot::Tables tables;
    model::Snapshot::Tables::Fixed fixed;
    std::map<std::string, ScopeBuild> scopes;  // elements stay where they are
    // Of destinations that are subsets, by position.
    std::unordered_map<std::uint32_t, model::Labels> subset_labels;

    // Once: joins the parts; `waiting` gets the claims that are not in force.
    std::unique_ptr<model::Snapshot::Tables> take(WaitingByScope& waiting);
};

}  // namespace orlop::control
