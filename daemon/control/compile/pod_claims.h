// PodClaims: which service's rules hold for an endpoint's own address in one scope. Several
// services may have the same pod; the one that was assembled first has it, the others wait.
//
// Control thread; one per scope and compilation, over a table that is being made or changed.
#pragma once

#include "daemon/model/snapshot_tables.h"

#include <unordered_map>
#include <vector>

namespace orlop::control {

// Claims that another service's claim of the same address keeps from being in force.
using WaitingClaims = std::unordered_map<SocketAddress, std::vector<model::PodTarget>>;

class PodClaims {
public:
    PodClaims(model::PodTargets& table, WaitingClaims& waiting) : edit_(table), waiting_(waiting) {}

    void expect(std::size_t claims) { edit_.expect(claims); }
    // A second claim of the same target for an address is ignored.
    void add(model::PodTarget claim);
    void remove(const SocketAddress& address, std::uint32_t target);

private:
    model::PodTargets::Edit edit_;
    WaitingClaims& waiting_;
};

// What `endpoints` claim for `target`: addresses of the pods, or of the endpoints themselves.
std::vector<model::PodTarget> claims_of(const std::vector<model::Endpoint>& endpoints,
                                        const model::Service& service,
                                        std::uint32_t target);

}  // namespace orlop::control
