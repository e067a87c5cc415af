// security.istio.io AuthorizationPolicy as decoded (istio-semantics §10).
#pragma once

#include "daemon/model/authorization.h"
#include "daemon/model/workload.h"

#include <string>
#include <vector>

namespace orlop::control {

struct AuthorizationPolicySpec {
    model::Labels selector;  // empty: the namespace, or the mesh in the root namespace
    bool has_selector = false;
    std::vector<std::string> services;  // targetRefs: the pods of these services of the namespace
    model::AuthorizationPolicyPtr policy;  // principals as written: no trust domain applied yet
};

}  // namespace orlop::control
