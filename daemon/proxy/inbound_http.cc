#include "daemon/proxy/inbound_http.h"

#include "daemon/base/log.h"
#include "daemon/proxy/destination_state.h"
#include "daemon/proxy/labels.h"

namespace orlop::proxy {

const model::Workload* source_of(const model::Snapshot& snapshot, const Caller& caller) {
    const model::Workload* source = snapshot.find_workload(caller.address);
    bool other = source != nullptr && caller.identity && source->identity != *caller.identity;
    return other ? nullptr : source;
}

InboundHttp::InboundHttp(ProxyCore& core,
                         const LocalPod& pod,
                         Caller caller,
                         const SocketAddress& app,
                         telemetry::SecurityPolicy security)
    : core_(core), caller_(std::move(caller)), app_(app), security_(security),
      pinned_(core.pinned()), source_(source_of(*pinned_->snapshot, caller_)),
      destination_(std::make_shared<model::Destination>()),
      state_(std::make_shared<DestinationState>(core, core.random().next())) {
    auto target = pinned_->snapshot->resolve_outbound(pod.workload->ns, app);
    destination_->cluster_name = "inbound|" + std::to_string(app.port) + "||";
    if (target.service != nullptr) {
        destination_->service = std::make_shared<const model::Service>(*target.service);
    }
    if (target.port != nullptr) {
        destination_->port = *target.port;
    }
    destination_->endpoints.push_back({app, 1, pod.workload});
    route_.name = "inbound";
    route_.retries.attempts = 0;
    model::WeightedDestination only;
    only.destination = destination_;
    only.weight = 100;
    route_.weight_total = 100;
    route_.destinations.push_back(std::move(only));
    state_->follow(*destination_, nullptr);
}

InboundHttp::~InboundHttp() {
    state_->end_all();
}

void InboundHttp::describe(telemetry::RequestRecord& record, const model::Workload& callee) const {
    record.direction = telemetry::Direction::inbound;
    record.source_workload = source_ == nullptr ? std::string_view() : source_->workload_name;
    record.source_namespace = source_ == nullptr ? std::string_view() : source_->ns;
    record.destination_workload = callee.workload_name;
    record.destination_namespace = callee.ns;
    record.cluster = destination_->cluster_name;
    record.route_name = route_.name;
    if (destination_->service != nullptr) {
        record.destination_service = destination_->service->host;
    }
}

void note_verdict(const decide::AuthorizationVerdict& verdict,
                  const Caller& caller,
                  const decide::RequestView& request,
                  telemetry::RequestRecord& record) {
    if (verdict.refused_by != nullptr) {
        record.security_object = object_text(verdict.refused_by->source);
    }
    auto note = [&](const model::AuthorizationPolicy* policy, std::string_view what) {
        if (policy == nullptr) {
            return;
        }
        std::string text = policy->source->ns + "/" + policy->source->name + " " +
                           std::string(what) + "; " + std::string(record.authorization_note);
        record.authorization_note = record.keep(text);
        log_line(LogLevel::info,
                 "authorization",
                 "{} {}: {} {} from {}",
                 policy->source->to_string(),
                 what,
                 request.method,
                 request.path,
                 caller.identity ? caller.identity->to_string() : caller.address.to_string());
    };
    note(verdict.audited_by, "audits this");
    note(verdict.dry_run, "would refuse this (dry run)");
}

decide::AuthorizationVerdict InboundHttp::judge(const model::Workload& callee,
                                                const decide::RequestView& request,
                                                telemetry::RequestRecord& record) {
    auto verdict = decide::authorize(callee, caller_.view(app_), &request);
    note_verdict(verdict, caller_, request, record);
    if (!verdict.allowed) {
        core_.metrics().add(telemetry::CoreCounter::requests_denied);
    }
    return verdict;
}

void InboundHttp::count(const model::Workload& callee,
                        const telemetry::RequestRecord& record,
                        telemetry::RequestProtocol protocol) {
    auto& series = series_[protocol == telemetry::RequestProtocol::grpc ? 1 : 0];
    if (series == nullptr) {
        series = traffic_series(core_.metrics(),
                                {telemetry::Reporter::destination,
                                 source_,
                                 &callee,
                                 destination_->service.get(),
                                 protocol,
                                 security_,
                                 pinned_->snapshot->mesh().cluster_id,
                                 caller_.identity ? &*caller_.identity : nullptr});
    }
    series->count_request(record);
}

}  // namespace orlop::proxy
