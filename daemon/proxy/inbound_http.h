// InboundHttp: HTTP at the callee's end of a connection, where policy asks about requests.
//
// An Exchange serves it like any other, but for its ends: it takes no route, retries nothing, sets
// no timer and edits no head; its only destination is the app in its own namespace, seen with the
// caller's address. The caller's node has done the rest. Connections to the app belong to the one
// arriving connection, as if it had reached the app itself.
//
// Held by the conversations of the connection: one, or one for each stream of HTTP/2. One core.
#pragma once

#include "daemon/model/route.h"
#include "daemon/proxy/arrival.h"
#include "daemon/proxy/core.h"
#include "daemon/telemetry/request_record.h"

#include <array>
#include <memory>

namespace orlop::proxy {

class InboundHttp {
public:
    InboundHttp(ProxyCore& core,
                const LocalPod& pod,
                Caller caller,
                const SocketAddress& app,
                telemetry::SecurityPolicy security);
    ~InboundHttp();
    InboundHttp(const InboundHttp&) = delete;
    InboundHttp& operator=(const InboundHttp&) = delete;

    const model::HttpRoute& route() const { return route_; }
    const model::Destination& destination() const { return *destination_; }
    const std::shared_ptr<DestinationState>& state() const { return state_; }
    void describe(telemetry::RequestRecord& record, const model::Workload& callee) const;
    // Refused, with the reason in the record; the record's texts live as long as `callee`.
    decide::AuthorizationVerdict judge(const model::Workload& callee,
                                       const decide::RequestView& request,
                                       telemetry::RequestRecord& record);
    void count(const model::Workload& callee,
               const telemetry::RequestRecord& record,
               telemetry::RequestProtocol protocol);

private:
    ProxyCore& core_;
    Caller caller_;
    SocketAddress app_;
    telemetry::SecurityPolicy security_;
    PinnedPtr pinned_;  // of the arrival: `source_` is part of it
    const model::Workload* source_ = nullptr;
    model::HttpRoute route_;
    std::shared_ptr<model::Destination> destination_;
    std::shared_ptr<DestinationState> state_;
    std::array<telemetry::Held<telemetry::TrafficSeries>, 2> series_{};  // HTTP and gRPC
};

// What the verdict on a request says, into its record and, for AUDIT and dry run, into the log.
void note_verdict(const decide::AuthorizationVerdict& verdict,
                  const Caller& caller,
                  const decide::RequestView& request,
                  telemetry::RequestRecord& record);

// The workload that calls: by its address, unless its identity says that it is another.
const model::Workload* source_of(const model::Snapshot& snapshot, const Caller& caller);

}  // namespace orlop::proxy
