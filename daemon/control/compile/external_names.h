// Services of type ExternalName: other names for a host. The caller's DNS follows the alias by
// itself; what is compiled here is what the alias means as the host of a request or of a rule.
//
// An alias of a Service of the mesh has the endpoints of that Service; any other name is looked up
// as that of a ServiceEntry with resolution DNS is (istio-semantics §14).
#pragma once

#include "daemon/control/compile/service_entries.h"

#include <set>
#include <string>

namespace orlop::control {

// Adds to `services`, which has those of the registry; returns the names that want looking up.
std::set<std::string>
add_external_names(const OutsideInput& in, const model::MeshConfig& mesh, Services& services);

}  // namespace orlop::control
