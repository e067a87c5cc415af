// PodDestinations: the Destinations of single pods of one Snapshot, each made when it is first
// asked for: few connections name a pod's own address, and most pods are never named.
//
// Lifetime: part of a Snapshot. find() may be called from any thread; what it returns lives as long
// as this.
#pragma once

#include "daemon/model/destination.h"

#include <array>
#include <atomic>
#include <memory>

namespace orlop::model {

class PodDestinations {
public:
    PodDestinations() = default;
    PodDestinations(const PodDestinations&) {}  // a copy of the tables begins without
    PodDestinations& operator=(const PodDestinations&) = delete;
    ~PodDestinations();

    // `whole` with the one endpoint `address`; `workload` may be null.
    const Destination*
    find(const DestinationPtr& whole, const SocketAddress& address, const WorkloadPtr& workload);

private:
    struct Made {
        SocketAddress address;
        const Destination* whole = nullptr;
        Destination destination;
        Made* next = nullptr;
    };
    static const Made* search(const Made* from, const Destination* whole, const SocketAddress& at);

    static constexpr std::size_t lists = 256;
    std::array<std::atomic<Made*>, lists> made_{};
};

}  // namespace orlop::model
