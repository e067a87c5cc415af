#include "daemon/proxy/inbound_report.h"

#include "daemon/proxy/finish.h"
#include "daemon/proxy/inbound_http.h"
#include "daemon/proxy/labels.h"

namespace orlop::proxy {
namespace {

telemetry::TrafficSeries& series_of(const Delivery& delivery, const model::Snapshot& snapshot) {
    auto target = snapshot.resolve_outbound(delivery.pod->workload->ns, delivery.app);
    return *traffic_series(delivery.core->metrics(),
                           {telemetry::Reporter::destination,
                            source_of(snapshot, delivery.caller),
                            delivery.pod->workload.get(),
                            target.service,
                            telemetry::RequestProtocol::tcp,
                            delivery.security,
                            snapshot.mesh().cluster_id,
                            delivery.caller.identity ? &*delivery.caller.identity : nullptr});
}

}  // namespace

InboundReport::InboundReport(const Delivery& delivery)
    : core_(*delivery.core), pinned_(core_.pinned()), callee_(delivery.pod->workload),
      meter(core_.loop(), series_of(delivery, *pinned_->snapshot)) {
    const model::Snapshot& snapshot = *pinned_->snapshot;
    record.kind = telemetry::ExchangeKind::tcp;
    record.direction = telemetry::Direction::inbound;
    record.started = core_.loop().now();
    record.started_wall = std::chrono::system_clock::now();
    record.downstream_local = delivery.app;
    record.downstream_remote = delivery.caller_socket;
    record.upstream_host = delivery.app;
    record.generation = snapshot.generation();
    if (const model::Workload* source = source_of(snapshot, delivery.caller)) {
        record.source_workload = source->workload_name;
        record.source_namespace = source->ns;
    }
    record.destination_workload = callee_->workload_name;
    record.destination_namespace = callee_->ns;
}

void InboundReport::note(const decide::AuthorizationVerdict& verdict) {
    if (verdict.allowed) {
        return;
    }
    record.flags.add(telemetry::ResponseFlag::DENY);
    record.transport_failure = verdict.details;
    if (verdict.refused_by != nullptr) {
        record.security_object = object_text(verdict.refused_by->source);
    }
}

void InboundReport::finish() {
    record.bytes_received = meter.outcome().to_second;
    record.bytes_sent = meter.outcome().to_first;
    finish_record(core_, *pinned_, record);
}

}  // namespace orlop::proxy
