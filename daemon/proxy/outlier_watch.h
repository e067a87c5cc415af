// OutlierWatch: what follows a verdict of decide/outlier: the log line, the counters, and the sweep
// that ends an ejection. The core that ejected an endpoint sweeps it, every `interval` from then
// on, until nothing is left to be done. One per core.
#pragma once

#include "daemon/decide/outlier.h"
#include "daemon/runtime/loop.h"
#include "daemon/telemetry/metrics.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::proxy {

class OutlierWatch {
public:
    explicit OutlierWatch(runtime::Loop& loop)
        : loop_(loop), timer_(&OutlierWatch::on_sweep, this) {}
    struct Subject {
        const model::Destination& destination;
        std::size_t index;  // of the endpoint
        IpAddress caller;   // whose try has led to the verdict
    };
    void note(const Subject& subject,
              const decide::OutlierVerdict& verdict,
              telemetry::ClusterSeries& series);
    // Sees every line that is logged here, with whom it is about, for `orlopctl logs`.
    using LineTap = std::function<void(
        const IpAddress& caller, const SocketAddress& endpoint, std::string_view line)>;
    void set_line_tap(LineTap tap) { line_tap_ = std::move(tap); }
    void stop() { timer_.cancel(); }

private:
    struct Swept {
        model::EndpointHealthPtr cell;
        model::DestinationHealthPtr verdicts;
        telemetry::Held<telemetry::ClusterSeries> series;
        std::string cluster;
        IpAddress caller;
        Duration interval;
        Instant due;
        bool ejected = true;
    };
    static void on_sweep(void* self);
    bool sweep(Swept& one, Instant now);  // true: nothing is left to be done
    void arm();
    void tell(const IpAddress& caller, const SocketAddress& endpoint, const std::string& line);

    runtime::Loop& loop_;
    runtime::Timer timer_;
    std::vector<Swept> swept_;
    LineTap line_tap_;
};

}  // namespace orlop::proxy
