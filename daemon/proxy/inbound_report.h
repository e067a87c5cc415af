// The arriving end of a connection that is bytes here, in metrics and log. One core; lives as long
// as the connection.
#pragma once

#include "daemon/decide/authorize.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/proxy/arrival.h"
#include "daemon/proxy/core.h"
#include "daemon/proxy/tcp_meter.h"
#include "daemon/telemetry/request_record.h"

namespace orlop::proxy {

struct Delivery {
    ProxyCore* core = nullptr;
    LocalPodPtr pod;
    SocketAddress app;
    Caller caller;
    SocketAddress caller_socket;  // for the log
    telemetry::SecurityPolicy security = telemetry::SecurityPolicy::none;
};

class InboundReport {
public:
    explicit InboundReport(const Delivery& delivery);
    void note(const decide::AuthorizationVerdict& verdict);
    void finish();

private:
    ProxyCore& core_;
    PinnedPtr pinned_;
    model::WorkloadPtr callee_;  // the record names its policies

public:
    TcpMeter meter;
    telemetry::RequestRecord record;
};

}  // namespace orlop::proxy
