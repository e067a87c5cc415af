// trafficPolicy.loadBalancer of a DestinationRule (istio-semantics §7).
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/traffic.h"

#include <optional>

namespace orlop::control {

std::optional<LoadBalancerSpec> read_load_balancer(FieldReader& policy);

}  // namespace orlop::control
