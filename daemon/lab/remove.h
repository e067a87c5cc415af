// Removing a lab: everything it left on the machine, found without asking anyone.
//
// What the lab makes is reachable from two names: the prefix (network namespaces, the cgroup tree
// with every process, the BPF pins) and the state directory. Order: the supervisor, so that nothing
// is restarted; the pods; orlopd with a chance to detach; then what remains by force.
#pragma once

#include "daemon/base/error.h"
#include "daemon/lab/lab.h"

#include <string>
#include <vector>

namespace orlop::lab {

// Traces that exist now, one line each ("netns orlop-lab-n1", "cgroup ...", "state ..."): empty
// when no lab of this location ever was or nothing is left of it.
std::vector<std::string> list_traces(const Location& location);

Result<void> remove_everything(const Location& location);

}  // namespace orlop::lab
