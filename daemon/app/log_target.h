// Whose access-log lines `orlopctl logs` shows: one pod, or the pods of a workload or Service.
//
// Pure; the control thread's values. Written names come as kubectl takes them; the command line
// puts the namespace in front.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/ip.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"

#include <string>
#include <string_view>
#include <vector>

namespace orlop::app {

// POD, KIND/NAME, NAMESPACE/POD or NAMESPACE/KIND/NAME with its namespace: "ns/pod",
// "ns/kind/name".
std::string log_target(std::string_view written, std::string_view ns);

// The addresses of the pods that "ns/pod" or "ns/kind/name" names. Errors: invalid_input for a kind
// that has no pods, not_found when there is no such pod.
Result<std::vector<IpAddress>> log_addresses(const control::ObjectStore& store,
                                             const model::Snapshot& snapshot,
                                             std::string_view target);

}  // namespace orlop::app
