// Health: what the tries of this node have shown about an endpoint, and the verdict on it.
//
// One EndpointHealth per destination and endpoint, one DestinationHealth per destination, shared by
// all cores of the node as atomics; made by control/compile, carried from one generation to the
// next for as long as the destination watches its endpoints. decide/outlier writes them; a success
// at an endpoint without evidence only reads. Times are nanoseconds of Instant.
#pragma once

#include "daemon/base/ip.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace orlop::model {

struct EndpointHealth {
    static constexpr std::int64_t in_rotation = 0;
    static constexpr std::int64_t gone = -1;  // left the destination: never ejected again
    static constexpr std::size_t errors_kept = 4;

    EndpointHealth(const SocketAddress& at, std::string of) : address(at), uid(std::move(of)) {}
    const SocketAddress address;
    const std::string uid;  // of the pod: an address given to another pod starts afresh

    // Evidence.
    std::atomic<std::uint32_t> consecutive_5xx{0};
    std::atomic<std::uint32_t> consecutive_gateway{0};
    std::atomic<std::uint32_t> consecutive_local{0};
    // The last errors, newest in the low 16 bits: a status, or 1000 + decide::FailureKind.
    std::atomic<std::uint64_t> last_errors{0};

    // Verdict.
    std::atomic<std::int64_t> ejected_until{in_rotation};
    std::atomic<std::uint32_t> multiplier{0};  // of the base ejection time
    std::atomic<std::uint32_t> ejections{0};   // ever

    std::atomic<std::int64_t> first_seen{0};  // by a core; warm-up counts from here
    bool ejected() const { return ejected_until.load(std::memory_order_relaxed) > 0; }
};
using EndpointHealthPtr = std::shared_ptr<EndpointHealth>;

struct DestinationHealth {
    std::atomic<std::uint32_t> ejected{0};
    std::atomic<std::uint64_t> epoch{1};  // another one whenever a verdict has changed
};
using DestinationHealthPtr = std::shared_ptr<DestinationHealth>;

}  // namespace orlop::model
