// trafficPolicy.loadBalancer of a DestinationRule (istio-semantics §7).
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/traffic.h"

#include <optional>

namespace orlop::control {

std::optional<LoadBalancerSpec> read_load_balancer(FieldReader& policy);
// `localityLbSetting` of a load balancer, or of the MeshConfig.
std::optional<model::LocalityLb> read_locality_lb(FieldReader& parent);

}  // namespace orlop::control
