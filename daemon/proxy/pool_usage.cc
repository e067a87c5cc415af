#include "daemon/proxy/pool_usage.h"

namespace orlop::proxy {

using telemetry::ClusterCounter;
using telemetry::ClusterGauge;

void PoolUsage::follow(const model::ConnectionPoolLimits& limits,
                       telemetry::ClusterSeries* series) {
    limits_ = limits;
    series_ = series;
    show(connections_open_, load_.connections, limits_.max_connections);
    show(pending_open_, load_.pending, limits_.http1_max_pending_requests);
    show(active_open_, load_.active, limits_.http2_max_requests);
}

void PoolUsage::show(Open& open, std::uint32_t count, const std::optional<std::uint32_t>& limit) {
    const bool is = limit && count >= *limit;
    if (is != open.is) {
        open.is = is;
        series_->add(open.gauge, is ? 1 : -1);
    }
}

void PoolUsage::add_connection() {
    ++load_.connections;
    series_->add(ClusterGauge::cx_active, 1);
    series_->add(ClusterCounter::cx_total);
    show(connections_open_, load_.connections, limits_.max_connections);
}

void PoolUsage::remove_connection() {
    --load_.connections;
    series_->add(ClusterGauge::cx_active, -1);
    show(connections_open_, load_.connections, limits_.max_connections);
}

void PoolUsage::add_pending() {
    ++load_.pending;
    series_->add(ClusterGauge::rq_pending_active, 1);
    series_->add(ClusterCounter::rq_pending_total);
    show(pending_open_, load_.pending, limits_.http1_max_pending_requests);
}

void PoolUsage::remove_pending() {
    --load_.pending;
    series_->add(ClusterGauge::rq_pending_active, -1);
    show(pending_open_, load_.pending, limits_.http1_max_pending_requests);
}

void PoolUsage::add_active() {
    ++load_.active;
    series_->add(ClusterGauge::rq_active, 1);
    show(active_open_, load_.active, limits_.http2_max_requests);
}

void PoolUsage::remove_active() {
    --load_.active;
    series_->add(ClusterGauge::rq_active, -1);
    show(active_open_, load_.active, limits_.http2_max_requests);
}

void PoolUsage::show_retries(std::uint32_t count, std::uint32_t limit) {
    show(retries_open_, count, limit);
}

}  // namespace orlop::proxy
