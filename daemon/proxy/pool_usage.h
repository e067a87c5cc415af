// PoolUsage: what one source workload uses of one destination's connection pool: the numbers that
// decide/admission judges, the policy they are held against, and their gauges.
//
// Shared by the pools of the destination's endpoints, which may outlive its DestinationState. A
// pod's outbound traffic lives on its home core, so plain numbers are exact. One core.
#pragma once

#include "daemon/decide/admission.h"
#include "daemon/telemetry/metrics.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace orlop::proxy {

class PoolUsage {
public:
    void follow(const model::ConnectionPoolLimits& limits, telemetry::ClusterSeries* series);
    const model::ConnectionPoolLimits& limits() const { return limits_; }
    const decide::PoolLoad& load() const { return load_; }
    telemetry::ClusterSeries& series() { return *series_; }

    void add_connection();
    void remove_connection();
    void add_pending();
    void remove_pending();
    void add_active();
    void remove_active();
    // Retries in flight against what maxRetries or the retry budget allows at this moment.
    void show_retries(std::uint32_t count, std::uint32_t limit);

private:
    // A gauge that says whether a limit is reached: one for each source workload that is there.
    struct Open {
        telemetry::ClusterGauge gauge;
        bool is = false;
    };
    void show(Open& open, std::uint32_t count, const std::optional<std::uint32_t>& limit);

    model::ConnectionPoolLimits limits_;
    decide::PoolLoad load_;
    telemetry::Held<telemetry::ClusterSeries> series_;
    Open connections_open_{telemetry::ClusterGauge::cx_open};
    Open pending_open_{telemetry::ClusterGauge::rq_pending_open};
    Open active_open_{telemetry::ClusterGauge::rq_open};
    Open retries_open_{telemetry::ClusterGauge::rq_retry_open};
};

// A connection that bytes pass through, counted for as long as this lives.
class CountedConnection {
public:
    explicit CountedConnection(std::shared_ptr<PoolUsage> usage) : usage_(std::move(usage)) {
        if (usage_) {
            usage_->add_connection();
        }
    }
    CountedConnection(const CountedConnection&) = delete;
    CountedConnection& operator=(const CountedConnection&) = delete;
    ~CountedConnection() {
        if (usage_) {
            usage_->remove_connection();
        }
    }

private:
    std::shared_ptr<PoolUsage> usage_;
};

}  // namespace orlop::proxy
