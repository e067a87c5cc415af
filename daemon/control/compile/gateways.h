// Gateways: Gateway objects that this node serves, joined with the VirtualServices bound to them,
// become listeners of the Snapshot (istio-semantics §1.4, §1.6, §14).
#pragma once

#include "daemon/control/compile/assemble.h"
#include "daemon/control/compile/credentials.h"
#include "daemon/control/object_store.h"

#include <string>
#include <vector>

namespace orlop::control {

struct GatewayInput {
    const ObjectStore& store;
    const std::string& node;                         // ours
    const std::vector<IpAddress>& node_addresses;    // of our node
    const std::vector<ObjectPtr>& virtual_services;  // in force, in order of creation
    const AssembleInput& assemble;
};

// Fills gateways and gateway_workload of the tables.
void compile_gateways(const GatewayInput& in, TableBuild& build);

// `gw`, `./gw`, `ns/gw` and the old `gw.ns[.svc...]`, as a VirtualService of `ns` means them:
// "ns/gw", or "mesh".
std::string gateway_key(std::string_view written, std::string_view ns);

}  // namespace orlop::control
