// Admission: may a request use, or wait for, an upstream connection (istio-semantics §5).
//
// Pure. The caller keeps PoolLoad per source workload and destination, as plain numbers of one
// core, and one queue and one set of connections per endpoint.
//
//     switch (admit(limits, load, Ready::no)) {
//     case Admission::dispatch: ...       // use the ready connection
//     case Admission::queue: ...          // wait; connect when may_connect() says so
//     default: answer overflow            // limit_name() tells which limit it was
//     }
#pragma once

#include "daemon/model/destination.h"

#include <cstdint>
#include <string_view>

namespace orlop::decide {

struct PoolLoad {
    std::uint32_t connections = 0;  // being opened, busy or idle, over all endpoints
    std::uint32_t pending = 0;      // requests waiting for a connection
    std::uint32_t active = 0;       // requests at a connection
};

enum class Ready : unsigned char { no, yes };  // a connection with room for the request
enum class Admission : unsigned char {
    dispatch,
    queue,
    too_many_requests,  // http2MaxRequests
    too_many_pending,   // http1MaxPendingRequests
};

inline bool below(std::uint32_t count, const std::optional<std::uint32_t>& limit) {
    return !limit || count < *limit;
}

inline Admission
admit(const model::ConnectionPoolLimits& limits, const PoolLoad& load, Ready ready) {
    if (ready == Ready::yes) {
        return below(load.active, limits.http2_max_requests) ? Admission::dispatch
                                                             : Admission::too_many_requests;
    }
    return below(load.pending, limits.http1_max_pending_requests) ? Admission::queue
                                                                  : Admission::too_many_pending;
}

// A waiting request's turn: `dispatch` or `too_many_requests`.
inline Admission admit_waiting(const model::ConnectionPoolLimits& limits, const PoolLoad& load) {
    return admit(limits, load, Ready::yes);
}

// Another connection to an endpoint that has `own` of them; one is allowed beyond the limit, so
// that no endpoint starves.
inline bool
may_connect(const model::ConnectionPoolLimits& limits, const PoolLoad& load, std::uint32_t own) {
    return below(load.connections, limits.max_connections) || own == 0;
}

inline std::string_view limit_name(Admission admission) {
    switch (admission) {
    case Admission::too_many_requests:
        return "http2MaxRequests";
    case Admission::too_many_pending:
        return "http1MaxPendingRequests";
    default:
        return "";
    }
}

}  // namespace orlop::decide
