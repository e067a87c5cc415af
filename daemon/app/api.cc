#include "daemon/app/api.h"

#include "daemon/app/daemon.h"
#include "daemon/app/version.h"

namespace orlop::app {

runtime::Task<admin::Response> Api::handle(const admin::Request& request) {
    co_return public_answer(request);
}

admin::Response Api::public_answer(const admin::Request& request) {
    if (request.path == "/healthz/ready") {
        return daemon_.ready() ? admin::Response{200, "ready\n"}
                               : admin::Response{503, "not ready\n"};
    }
    if (request.path == "/metrics" || request.path == "/stats/prometheus") {
        return {200, metrics(), "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (request.path == "/quitquitquit") {
        return {200, "OK\n"};
    }
    return {404, "not found\n"};
}

std::string Api::metrics() {
    std::vector<telemetry::Sample> samples;
    for (const auto& counter : daemon_.datapath().counters()) {
        samples.push_back({"orlop_capture_total",
                           "Verdicts of the capture programs, by reason.",
                           telemetry::SampleType::counter,
                           {{"reason", std::string(counter.name)}},
                           static_cast<double>(counter.count)});
    }
    samples.push_back({"orlop_snapshot_generation", "Generation of the configuration in force.",
                       telemetry::SampleType::gauge, {},
                       static_cast<double>(daemon_.control().snapshot()->generation())});
    return telemetry::prometheus_text(daemon_.metrics(), {version}, samples);
}

}  // namespace orlop::app
