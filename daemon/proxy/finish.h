// finish_record(): the one place where a record ends: duration, access log, explanation.
#pragma once

#include "daemon/proxy/core.h"

namespace orlop::proxy {

void finish_record(ProxyCore& core, const Pinned& pinned, telemetry::RequestRecord& record);

}  // namespace orlop::proxy
