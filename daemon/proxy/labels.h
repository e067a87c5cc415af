// Metric labels and record texts of workloads and destinations; made once per pair, then cached.
#pragma once

#include "daemon/model/destination.h"
#include "daemon/model/snapshot.h"
#include "daemon/telemetry/metrics.h"

#include <string>

namespace orlop::proxy {

struct SeriesRequest {
    telemetry::Reporter reporter = telemetry::Reporter::source;
    const model::Workload* source = nullptr;       // null: unknown
    const model::Workload* destination = nullptr;  // null: unknown
    const model::Service* service = nullptr;       // null: `without_service`
    telemetry::RequestProtocol protocol = telemetry::RequestProtocol::http;
    telemetry::SecurityPolicy security = telemetry::SecurityPolicy::unknown;
    std::string_view cluster_id;
    const SpiffeId* source_identity = nullptr;  // checked; says who calls when `source` is unknown
    std::string_view without_service = "PassthroughCluster";  // or BlackHoleCluster
};
telemetry::TrafficSeries* traffic_series(telemetry::CoreMetrics& metrics,
                                         const SeriesRequest& request);

telemetry::ObjectText object_text(const model::ObjectRefPtr& object);

}  // namespace orlop::proxy
