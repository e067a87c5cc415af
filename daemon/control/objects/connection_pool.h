// connectionPool of a DestinationRule, inboundConnectionPool of a Sidecar (istio-semantics §5).
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/model/destination.h"

#include <optional>
#include <string_view>

namespace orlop::control {

std::optional<model::ConnectionPoolLimits> read_connection_pool(FieldReader& parent,
                                                                std::string_view name);

}  // namespace orlop::control
