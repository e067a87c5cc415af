#include "daemon/proxy/outlier_watch.h"

#include "daemon/base/log.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

namespace orlop::proxy {

using decide::OutlierTrigger;
using telemetry::ClusterCounter;
using telemetry::ClusterGauge;

namespace {

struct TriggerCounters {
    ClusterCounter detected;
    ClusterCounter enforced;
};

TriggerCounters counters_of(OutlierTrigger trigger) {
    switch (trigger) {
    case OutlierTrigger::consecutive_gateway:
        return {ClusterCounter::outlier_detected_consecutive_gateway,
                ClusterCounter::outlier_enforced_consecutive_gateway};
    case OutlierTrigger::consecutive_local_origin:
        return {ClusterCounter::outlier_detected_consecutive_local,
                ClusterCounter::outlier_enforced_consecutive_local};
    default:
        return {ClusterCounter::outlier_detected_consecutive_5xx,
                ClusterCounter::outlier_enforced_consecutive_5xx};
    }
}

double seconds_of(Duration duration) {
    return static_cast<double>(duration.count()) / 1e9;
}

}  // namespace

// Verdicts are rare: they may allocate and format.
void OutlierWatch::note(const Subject& subject,
                        const decide::OutlierVerdict& verdict,
                        telemetry::ClusterSeries& series) {
    const model::Destination& destination = subject.destination;
    const auto& cell = destination.health[subject.index];
    const TriggerCounters counters = counters_of(verdict.trigger);
    series.add(counters.detected);
    if (verdict.overflow) {
        series.add(ClusterCounter::outlier_ejections_overflow);
        tell(subject.caller,
             cell->address,
             fmt::format("host {} in cluster {} fails ({}: {}) and stays in rotation: "
                         "maxEjectionPercent {} of {} endpoints is reached",
                         cell->address.to_string(),
                         destination.cluster_name,
                         decide::trigger_name(verdict.trigger),
                         decide::last_errors_text(*cell),
                         destination.policy.outlier->max_ejection_percent,
                         destination.endpoints.size()));
    }
    if (!verdict.ejected) {
        return;
    }
    series.add(counters.enforced);
    series.add(ClusterCounter::outlier_ejections_enforced_total);
    series.add(ClusterGauge::outlier_ejections_active, 1);
    tell(subject.caller,
         cell->address,
         fmt::format("host {} in cluster {} was ejected by the outlier detector: {} ({}), for {} s",
                     cell->address.to_string(),
                     destination.cluster_name,
                     decide::trigger_name(verdict.trigger),
                     decide::last_errors_text(*cell),
                     seconds_of(verdict.duration)));
    const Duration interval = destination.policy.outlier->interval;
    const Instant due = loop_.now() + interval;
    auto known = std::ranges::find(swept_, cell, &Swept::cell);
    if (known != swept_.end()) {  // ejected again while its past was still being forgotten
        known->ejected = true;
        known->due = due;
    } else {
        swept_.push_back({cell,
                          destination.verdicts,
                          &series,
                          destination.cluster_name,
                          subject.caller,
                          interval,
                          due});
    }
    arm();
}

bool OutlierWatch::sweep(Swept& one, Instant now) {
    const auto result = decide::sweep(*one.cell, *one.verdicts, now);
    one.due = now + one.interval;
    const bool over = result == decide::Swept::returned || result == decide::Swept::done;
    if (over && one.ejected) {
        one.ejected = false;
        one.series->add(ClusterGauge::outlier_ejections_active, -1);
    }
    if (result == decide::Swept::returned) {
        tell(one.caller,
             one.cell->address,
             fmt::format("host {} in cluster {} is back in rotation",
                         one.cell->address.to_string(),
                         one.cluster));
    }
    return result == decide::Swept::done;
}

void OutlierWatch::on_sweep(void* context) {
    auto& self = *static_cast<OutlierWatch*>(context);
    const Instant now = self.loop_.now();
    std::erase_if(self.swept_, [&](Swept& one) { return one.due <= now && self.sweep(one, now); });
    self.arm();
}

void OutlierWatch::arm() {
    if (swept_.empty()) {
        timer_.cancel();
        return;
    }
    const auto next = std::ranges::min_element(swept_, {}, &Swept::due);
    loop_.timers().set(timer_, next->due);
}

void OutlierWatch::tell(const IpAddress& caller,
                        const SocketAddress& endpoint,
                        const std::string& line) {
    log_line(LogLevel::info, "proxy", "{}", line);
    if (line_tap_) {
        line_tap_(caller, endpoint, line);
    }
}

}  // namespace orlop::proxy
