// A change of pods and endpoints, compiled by itself: the next Snapshot shares with the last one
// all that does not depend on the pods and slices that changed.
//
// The set of services, destinations, virtual hosts and names stays as it is; what may change it,
// or the meaning of something else, is left to a whole compilation.
#pragma once

#include "daemon/control/compile/state.h"

#include <optional>

namespace orlop::control {

// Nothing: everything has to be compiled, and `state` is to be thrown away.
std::optional<CompileResult> compile_patch(const ObjectStore& store,
                                           const CompileOptions& options,
                                           CompileMemory& memory,
                                           CompileState& state);

}  // namespace orlop::control
