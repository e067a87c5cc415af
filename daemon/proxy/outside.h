// Addresses outside the registry, as destinations (istio-semantics §1.3, §14): what nobody
// described (ALLOW_ANY), and ServiceEntries with resolution NONE, whose requests go where the
// caller's own look-up led. Each such address has pools of its own. One core.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/model/destination.h"
#include "daemon/proxy/core.h"

#include <string_view>

namespace orlop::proxy {

inline constexpr std::string_view passthrough_cluster = "PassthroughCluster";
inline constexpr std::string_view blackhole_cluster = "BlackHoleCluster";

// Has it no endpoints but the address that the caller names?
inline bool is_outside(const model::Destination& destination) {
    return destination.service != nullptr &&
           destination.service->resolution == model::Resolution::original;
}

// The destination with `original` as its one endpoint; `base` null: PassthroughCluster. Kept by the
// pod until its snapshot changes, bounded by limits::outside_destinations_per_pod_max.
model::DestinationPtr outside_destination(LocalPod& pod,
                                          const model::Destination* base,
                                          const SocketAddress& original,
                                          model::WorkloadPtr workload = nullptr);

}  // namespace orlop::proxy
