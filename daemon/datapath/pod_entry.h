// PodPolicy and addresses -> the kernel's view of a pod. Pure.
#pragma once

#include "bpf/abi.h"
#include "daemon/base/error.h"
#include "daemon/datapath/datapath.h"

#include <cstdint>
#include <span>

namespace orlop::datapath {

orlop_address to_kernel(const IpAddress& address);
orlop_cidr to_kernel(const Cidr& range);

// The pod's exclusions joined with the mesh's. limit_exceeded names the list that is too long;
// invalid_input a port range with first > last.
Result<orlop_pod> make_pod_entry(std::uint64_t netns_cookie,
                                 std::span<const IpAddress> addresses,
                                 const PodPolicy& policy,
                                 const Exclusions& mesh);

}  // namespace orlop::datapath
