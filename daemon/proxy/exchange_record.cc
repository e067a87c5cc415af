// What is left of a request that has ended: its line in the log, its part of the metrics.
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/inbound_http.h"
#include "daemon/proxy/labels.h"
#include "daemon/proxy/outside.h"

namespace orlop::proxy {

void Exchange::close_record(const Conversation& conversation) {
    record_.bytes_received = body_.bytes();
    record_.request_bytes += body_.bytes();
    record_.actions = actions_;
    record_.request_messages = messages_in_.count();
    record_.response_messages = messages_out_.count();
    record_.duration = core_.loop().now() - record_.started;
    finish_trace();
    if (arriving_ != nullptr) {
        arriving_->count(*caller_,
                         record_,
                         grpc_ ? telemetry::RequestProtocol::grpc
                               : telemetry::RequestProtocol::http);
        finish_record(core_, *pinned_, record_);
        return;
    }
    count_request();
    finish_record(core_, *pinned_, record_);
}

// Into the series of the caller's end, and of the callee's where no second proxy does it.
void Exchange::count_request() {
    core_.metrics().count_path(record_.path_taken);
    const auto protocol =
        grpc_ ? telemetry::RequestProtocol::grpc : telemetry::RequestProtocol::http;
    telemetry::TrafficSeries* series = nullptr;
    std::string_view without_service =
        record_.cluster == blackhole_cluster ? blackhole_cluster : passthrough_cluster;
    auto labels = [&](telemetry::Reporter reporter,
                      const model::Workload* callee,
                      telemetry::SecurityPolicy security) {
        return traffic_series(core_.metrics(),
                              {reporter,
                               caller_.get(),
                               callee,
                               service_,
                               protocol,
                               security,
                               pinned_->snapshot->mesh().cluster_id,
                               nullptr,
                               without_service});
    };
    if (pool_ != nullptr) {
        const model::Workload* callee = pool_->endpoint().workload.get();
        Pool::Traffic& traffic = pool_->traffic[grpc_ ? 1 : 0];
        if (traffic.source == nullptr) {
            traffic.source =
                labels(telemetry::Reporter::source, callee, telemetry::SecurityPolicy::unknown);
        }
        series = traffic.source;
        // On the same node there is no second proxy: this one speaks for both ends.
        if (record_.path_taken == telemetry::PathTaken::same_node) {
            if (traffic.destination == nullptr) {
                traffic.destination = labels(telemetry::Reporter::destination,
                                             callee,
                                             telemetry::SecurityPolicy::kernel_attested);
            }
            traffic.destination->count_request(record_);
        }
    } else if (state_ != nullptr) {
        auto& replies = state_->local_replies[grpc_ ? 1 : 0];
        if (replies == nullptr) {
            replies =
                labels(telemetry::Reporter::source, nullptr, telemetry::SecurityPolicy::unknown);
        }
        series = replies;
    } else {
        series = labels(telemetry::Reporter::source, nullptr, telemetry::SecurityPolicy::unknown);
    }
    series->count_request(record_);
}

}  // namespace orlop::proxy
