// Quotas of Mixer: a rule joins a memquota handler and a quota instance (istio-semantics §13).
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"

#include <vector>

namespace orlop::control {

// In order of the rules' creation. A rule outside of the root namespace holds for requests to
// services of its own namespace only, as it did in Mixer.
std::vector<model::QuotaPtr>
compile_quotas(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings);

}  // namespace orlop::control
