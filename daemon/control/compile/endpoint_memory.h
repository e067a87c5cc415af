// EndpointMemory: what a destination's endpoints carry from one generation to the next: their
// health cells (daemon/model/health.h) and the consistentHash table.
//
// One per Compiler, control thread. Cells live as long as a Destination that holds them; the cell
// of an endpoint that left is marked `gone`, so that an old request cannot eject it again.
//
//     memory.complete(destination);   // after key, policy and endpoints are set
#pragma once

#include "daemon/model/destination.h"

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace orlop::control {

class EndpointMemory {
public:
    void complete(model::Destination& destination);

private:
    struct Members {  // of one destination
        std::weak_ptr<model::DestinationHealth> verdicts;
        std::vector<std::weak_ptr<model::EndpointHealth>> cells;
    };
    void watch(model::Destination& destination);
    void forget_unused();

    std::unordered_map<std::uint64_t, Members> watched_;  // by Destination::key
    std::unordered_map<std::uint64_t, std::weak_ptr<const model::HashTable>> tables_;
    std::size_t forget_at_ = 1024;
};

}  // namespace orlop::control
