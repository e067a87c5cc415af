// Copies of a request: which mirrors get one, and the body as it arrives (mirror.h).
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/gateway.h"

namespace orlop::proxy {

void Exchange::start_mirrors(Conversation& conversation) {
    if (request_.upgrade_requested) {
        return;  // the bytes behind an upgrade are a dialogue
    }
    for (const model::Mirror& mirror : route_->mirrors) {
        if (!decide::chance(mirror.percent, core_.dice().next())) {
            continue;
        }
        if (core_.mirrors().full()) {
            note_action("mirror left out: mirrors_in_flight_per_core_max");
            core_.metrics().add(telemetry::CoreCounter::refused_limit);
            continue;
        }
        start_mirror(conversation, mirror);
    }
}

void Exchange::start_mirror(Conversation& conversation, const model::Mirror& mirror) {
    auto job = std::make_shared<MirrorJob>(core_.loop());
    std::string authority(upstream_authority());
    if (pinned_->snapshot->mesh().shadow_host_suffix) {
        authority = shadow_host(authority);
    }
    auto head = write_request(authority, Copy::mirror);
    if (!head) {
        note_action("mirror left out: its head cannot be written");
        return;
    }
    job->pinned = pinned_;
    job->pod = conversation.pod;
    job->caller = caller_;
    job->destination = mirror.destination.get();
    job->head.assign(out_.data(), *head);
    job->method = request_.method_kind;
    job->framing = body_.framing();
    job->peer = shown_caller(conversation);
    job->version = conversation.version;
    job->timeout = timeouts_.route;
    telemetry::RequestRecord& record = job->record;
    record.started = core_.loop().now();
    record.started_wall = std::chrono::system_clock::now();
    record.method = record.keep(record_.method);
    record.path = record.keep(record_.path, telemetry::RequestRecord::path_bytes_max);
    record.protocol = record_.protocol;
    record.authority = record.keep(authority);
    record.request_id = record.keep(record_.request_id);
    record.route_name = record_.route_name;
    record.cluster = mirror.destination->cluster_name;
    record.source_workload = record_.source_workload;
    record.source_namespace = record_.source_namespace;
    record.downstream_local = record_.downstream_local;
    record.downstream_remote = record_.downstream_remote;
    record.request_bytes = job->head.size();
    note_action("mirrored to ", mirror.destination->cluster_name);
    if (body_.complete()) {
        job->feed(body_.kept());
        job->finish();
    } else {
        mirrors_.push_back(job);
    }
    core_.scope().spawn(&run_mirror, &core_, std::move(job));
}

void Exchange::feed_mirrors(std::string_view payload) {
    for (const MirrorJobPtr& job : mirrors_) {
        job->feed(payload);
    }
}

void Exchange::end_mirrors() {
    for (const MirrorJobPtr& job : mirrors_) {
        if (body_.complete()) {
            job->finish();
        } else {
            job->abandon();
        }
    }
    mirrors_.clear();
}

}  // namespace orlop::proxy
