// finish_record(): the one place where a record ends: duration, access log, explanation.
#pragma once

#include "daemon/proxy/core.h"

namespace orlop::proxy {

// The access-log line alone: of a mirror, whose explanation is the primary's.
void log_record(ProxyCore& core, const Pinned& pinned, const telemetry::RequestRecord& record);
void finish_record(ProxyCore& core, const Pinned& pinned, telemetry::RequestRecord& record);

}  // namespace orlop::proxy
