#include "daemon/control/compile/table_build.h"

#include <utility>

namespace orlop::control {

std::unique_ptr<model::Snapshot::Tables> TableBuild::take(WaitingByScope& waiting) {
    auto out = std::make_unique<model::Snapshot::Tables>(std::move(tables));
    for (std::uint32_t i = 0; i < out->destinations.size(); ++i) {
        fixed.destination_by_key.emplace(out->destinations[i]->key, i);
    }
    out->fixed = std::make_shared<const model::Snapshot::Tables::Fixed>(std::move(fixed));
    for (auto& [name, scope] : scopes) {
        out->scopes[name] = {std::make_shared<const model::ScopeNames>(std::move(scope.names)),
                             std::make_shared<const model::PodTargets>(std::move(scope.pods))};
        if (!scope.waiting.empty()) {
            waiting[name] = std::move(scope.waiting);
        }
    }
    return out;
}

}  // namespace orlop::control
