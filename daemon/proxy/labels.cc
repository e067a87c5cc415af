#include "daemon/proxy/labels.h"

namespace orlop::proxy {
namespace {

telemetry::PeerLabels labels_of(const model::Workload* workload,
                                const std::string& principal,
                                std::string_view cluster_id) {
    if (workload == nullptr) {
        return {};
    }
    return {workload->workload_name,
            workload->ns,
            principal,
            workload->app,
            workload->version,
            workload->canonical_name,
            workload->canonical_revision,
            cluster_id};
}

}  // namespace

telemetry::TrafficSeries* traffic_series(telemetry::CoreMetrics& metrics,
                                         const SeriesRequest& request) {
    bool attested = request.security == telemetry::SecurityPolicy::mutual_tls ||
                    request.security == telemetry::SecurityPolicy::kernel_attested ||
                    request.reporter == telemetry::Reporter::source;
    auto principal = [&](const model::Workload* workload) {
        return attested && workload != nullptr && workload->enrol_wanted
                   ? workload->identity.to_string()
                   : std::string();
    };
    std::string source_principal = principal(request.source);
    std::string destination_principal = principal(request.destination);
    telemetry::TrafficLabels labels;
    labels.reporter = request.reporter;
    labels.source = labels_of(request.source, source_principal, request.cluster_id);
    if (request.source == nullptr && request.source_identity != nullptr) {
        source_principal = request.source_identity->to_string();
        labels.source.principal = source_principal;
        labels.source.workload_namespace = request.source_identity->ns;
    }
    labels.destination = labels_of(request.destination, destination_principal, request.cluster_id);
    if (request.service != nullptr) {
        labels.destination_service = request.service->host;
        labels.destination_service_name = request.service->name;
        labels.destination_service_namespace = request.service->ns;
    } else {
        labels.destination_service = request.without_service;
        labels.destination_service_name = request.without_service;
    }
    labels.protocol = request.protocol;
    labels.security = request.security;
    return metrics.traffic(labels);
}

telemetry::ObjectText object_text(const model::ObjectRefPtr& object) {
    if (!object) {
        return {};
    }
    return {object->kind, object->ns, object->name, object->file, object->line};
}

}  // namespace orlop::proxy
