// Http2Upstream: one HTTP/2 connection of a pool; the requests at its endpoint are its streams.
//
// Held by the coroutine that serves it and by every stream in use. The pool's admission counts it
// as one connection and each stream as one active request (istio-semantics §5). It leaves, which
// means GOAWAY and the end of what is in flight, when it has been idle or open for too long, has
// carried maxRequestsPerConnection, or the peer says so. One core.
#pragma once

#include "daemon/decide/authenticate.h"
#include "daemon/proxy/tunnel.h"

#include <cstdint>
#include <memory>

namespace orlop::proxy {

class Pool;

struct Http2Upstream {
    Http2Upstream(Pool& owner,
                  std::shared_ptr<Tunnel> connection,
                  decide::Wire over,
                  Instant opened,
                  std::string_view in_scheme);

    bool has_room(const model::ConnectionPoolLimits& limits) const;
    void leave();
    // Sets the timer for the earlier of its two ends.
    void await_end(const model::ConnectionPoolLimits& limits);

    Pool& pool;  // outlives this: both are kept by the same coroutine and streams
    std::shared_ptr<Tunnel> tunnel;
    decide::Wire wire;
    Instant born;
    std::string_view scheme;  // a literal
    std::uint32_t streams = 0;
    std::uint32_t requests = 0;
    bool leaving = false;
    runtime::Timer end;

private:
    static void on_end(void* self);
};

}  // namespace orlop::proxy
