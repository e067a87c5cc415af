// Metrics: counters and histograms under Istio's, Envoy's and orlop's own names
// (istio-semantics §15, field.md §4).
//
// Every core has a CoreMetrics that only its thread writes: plain loads and stores of relaxed
// atomics, no lock, no read-modify-write. The admin thread reads all of them at any time through
// write_prometheus(), which adds the cores up. Series are made once and cached by the caller, so
// that a request costs a few increments. Who caches one holds it (Held); one that nobody holds,
// whose peers are gone, is dropped after series_kept without use. Labels come only from configured
// names (workloads, services, clusters), never from Host or path; at the bounds of limits.h further
// ones are counted under the one series "other".
//
//     TrafficSeries* traffic = core.traffic(labels);   // once per (reporter, source, destination)
//     traffic->count_request({.status = 200, .duration_ms = 1.5, ...});  // per request
//     ClusterSeries* cluster = core.cluster("outbound|80||pricing.shop.svc.cluster.local");
//     cluster->add(ClusterCounter::rq_retry);
#pragma once

#include "daemon/base/clock.h"
#include "daemon/telemetry/histogram.h"
#include "daemon/telemetry/request_record.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace orlop::telemetry {

enum class Reporter : unsigned char { source, destination };
enum class RequestProtocol : unsigned char { http, grpc, tcp };
// `unknown` is what reporter=source prints; kernel_attested is orlop's same-node path.
enum class SecurityPolicy : unsigned char { unknown, none, mutual_tls, kernel_attested };

struct PeerLabels {  // empty: printed as "unknown" (revision: "latest")
    std::string_view workload{};
    std::string_view workload_namespace{};
    std::string_view principal{};
    std::string_view app{};
    std::string_view version{};
    std::string_view canonical_service{};
    std::string_view canonical_revision{};
    std::string_view cluster{};
};

struct TrafficLabels {
    Reporter reporter = Reporter::source;
    PeerLabels source{};
    PeerLabels destination{};
    std::string_view destination_service{};  // full host; PassthroughCluster for unknown ones
    std::string_view destination_service_name{};
    std::string_view destination_service_namespace{};
    RequestProtocol protocol = RequestProtocol::http;
    SecurityPolicy security = SecurityPolicy::unknown;
};

// Counts into what it points to for as long as it is there: the series is not dropped meanwhile.
// Owner thread. As a pointer otherwise.
template <class Series> class Held {
public:
    Held() = default;
    Held(Series* series) : series_(series) { take(); }
    Held(const Held& other) : Held(other.series_) {}
    Held& operator=(const Held& other) {
        Held copy(other);
        std::swap(series_, copy.series_);
        return *this;
    }
    ~Held() {
        if (series_ != nullptr) {
            --series_->holders_;
        }
    }
    operator Series*() const { return series_; }
    Series* operator->() const { return series_; }

private:
    void take() {
        if (series_ != nullptr) {
            ++series_->holders_;
        }
    }
    Series* series_ = nullptr;
};

// A series whose peers are gone is dropped after so long without use.
inline constexpr Duration series_kept = std::chrono::minutes(10);

// Who is there, by the names that labels have; what is neither here nor held is gone.
struct LiveNames {
    std::unordered_set<std::string> workloads;  // "namespace/name"
    std::unordered_set<std::string> services;   // full hosts
    std::unordered_set<std::string> clusters;
};

// Since when a series has been of no use; judged by CoreMetrics::retire().
struct Retirement {
    Instant since = Instant::min();  // min: in use
    std::uint64_t activity = 0;      // what it had counted then
};

struct RequestSample {
    std::uint16_t status = 0;
    std::optional<std::uint32_t> grpc_status{};
    ResponseFlags flags{};
    double duration_ms = 0;
    std::uint64_t request_bytes = 0;
    std::uint64_t response_bytes = 0;
    std::uint64_t request_messages = 0;  // gRPC
    std::uint64_t response_messages = 0;
};

// Series of one pair of peers; HTTP variants by code and flags hang below it.
class TrafficSeries {
public:
    struct Variant;
    explicit TrafficSeries(std::string labels);
    TrafficSeries(std::string labels, const TrafficLabels& names);
    ~TrafficSeries();
    TrafficSeries(const TrafficSeries&) = delete;
    TrafficSeries& operator=(const TrafficSeries&) = delete;

    // Owner thread.
    void count_request(const RequestSample& sample);
    void count_request(const RequestRecord& record);
    void tcp_opened() { tcp_opened_.add(1); }
    void tcp_closed() { tcp_closed_.add(1); }
    // Named from the server's side: received is what the caller sent. Flags of the connection do
    // not split these series.
    void tcp_bytes(std::uint64_t received, std::uint64_t sent) {
        tcp_received_.add(received);
        tcp_sent_.add(sent);
    }

    // Any thread.
    const std::string& labels() const { return labels_; }
    const Variant* first_variant() const { return variants_.load(std::memory_order_acquire); }
    std::uint64_t opened() const { return tcp_opened_.value(); }
    std::uint64_t closed() const { return tcp_closed_.value(); }
    std::uint64_t received() const { return tcp_received_.value(); }
    std::uint64_t sent() const { return tcp_sent_.value(); }
    std::uint64_t request_messages() const { return request_messages_.value(); }
    std::uint64_t response_messages() const { return response_messages_.value(); }

private:
    friend class CoreMetrics;
    friend class Held<TrafficSeries>;
    Variant* variant(const RequestSample& sample);
    bool is_live(const LiveNames& live) const;
    std::uint64_t activity() const;

    std::string labels_;                       // rendered: name="value",...
    std::atomic<Variant*> variants_{nullptr};  // newest first; owned; never shrinks
    std::size_t variant_count_ = 0;
    Variant* last_used_ = nullptr;  // owner thread: most requests repeat the last outcome
    Counter tcp_opened_, tcp_closed_, tcp_received_, tcp_sent_;
    Counter request_messages_, response_messages_;
    std::atomic<TrafficSeries*> next_{nullptr};
    std::string source_, destination_;  // "namespace/name" of the peers; empty: unknown
    std::string service_;
    std::uint32_t holders_ = 0;
    Retirement retirement_;
};

struct TrafficSeries::Variant {
    std::uint16_t status = 0;
    std::optional<std::uint32_t> grpc_status;
    ResponseFlags flags;
    bool overflow = false;  // response_code="other"
    Counter requests;
    Histogram duration_ms;
    Histogram request_bytes;
    Histogram response_bytes;
    Variant* next = nullptr;  // set before publication
};

// Envoy's names: envoy_cluster_<name>{cluster_name="..."}.
enum class ClusterCounter : unsigned char {
    rq_total,
    rq_2xx,
    rq_3xx,
    rq_4xx,
    rq_5xx,
    rq_503,
    rq_pending_total,
    rq_pending_overflow,
    rq_retry,
    rq_retry_success,
    rq_retry_overflow,
    rq_retry_limit_exceeded,
    rq_timeout,
    rq_per_try_timeout,
    rq_rx_reset,
    rq_tx_reset,
    cx_total,
    cx_overflow,
    cx_connect_fail,
    cx_connect_timeout,
    cx_max_requests,
    retry_or_shadow_abandoned,
    outlier_ejections_enforced_total,
    outlier_ejections_overflow,
    outlier_detected_consecutive_5xx,
    outlier_enforced_consecutive_5xx,
    outlier_detected_consecutive_gateway,
    outlier_enforced_consecutive_gateway,
    outlier_detected_consecutive_local,
    outlier_enforced_consecutive_local,
    lb_healthy_panic,
    count_,
};
enum class ClusterGauge : unsigned char {
    rq_active,
    rq_pending_active,
    cx_active,
    membership_total,
    membership_healthy,
    outlier_ejections_active,
    cx_open,
    rq_pending_open,
    rq_open,
    rq_retry_open,
    count_,
};

class ClusterSeries {
public:
    explicit ClusterSeries(std::string name) : name_(std::move(name)) {}
    void add(ClusterCounter counter, std::uint64_t n = 1) {
        counters_[static_cast<std::size_t>(counter)].add(n);
    }
    void count_status(std::uint16_t status);  // rq_total is counted apart, per try
    void add(ClusterGauge gauge, std::int64_t n) {
        gauges_[static_cast<std::size_t>(gauge)].add(n);
    }
    void set(ClusterGauge gauge, std::int64_t value) {
        gauges_[static_cast<std::size_t>(gauge)].set(value);
    }
    const std::string& name() const { return name_; }
    std::uint64_t value(ClusterCounter counter) const {
        return counters_[static_cast<std::size_t>(counter)].value();
    }
    std::int64_t value(ClusterGauge gauge) const {
        return gauges_[static_cast<std::size_t>(gauge)].value();
    }

private:
    friend class CoreMetrics;
    friend class Held<ClusterSeries>;
    bool is_live(const LiveNames& live) const {
        return name_ == "other" || live.clusters.contains(name_);
    }
    std::uint64_t activity() const;
    std::string name_;
    std::array<Counter, static_cast<std::size_t>(ClusterCounter::count_)> counters_;
    std::array<Gauge, static_cast<std::size_t>(ClusterGauge::count_)> gauges_;
    std::atomic<ClusterSeries*> next_{nullptr};
    std::uint32_t holders_ = 0;
    Retirement retirement_;
};

// orlop's own per-core numbers.
enum class CoreCounter : unsigned char {
    downstream_connections,
    requests,
    path_plaintext,
    path_hbone,
    path_same_node,
    path_tls,
    refused_strict,
    refused_limit,
    refused_authorization,
    requests_denied,
    protocol_errors,
    protocol_look_timeouts,
    rate_limited,
    rate_limit_buckets_full,
    quota_refused,
    trace_spans,
    trace_spans_dropped,
    handshakes,
    handshakes_failed,
    handshakes_resumed,
    series_overflow,
    loop_turns,
    messages_dropped,
    count_,
};
enum class CoreGauge : unsigned char {
    downstream_active,
    tunnels_active,
    streams_active,
    upstream_idle,
    buffers_in_use,
    count_,
};

class CoreMetrics {
public:
    CoreMetrics();
    ~CoreMetrics();
    CoreMetrics(const CoreMetrics&) = delete;
    CoreMetrics& operator=(const CoreMetrics&) = delete;

    // Owner thread. Never null; allocate on first use of a label set, look up by text after: cache
    // the pointer.
    TrafficSeries* traffic(const TrafficLabels& labels);
    ClusterSeries* cluster(std::string_view name);
    void add(CoreCounter counter, std::uint64_t n = 1) {
        counters_[static_cast<std::size_t>(counter)].add(n);
    }
    void add(CoreGauge gauge, std::int64_t n) { gauges_[static_cast<std::size_t>(gauge)].add(n); }
    void set(CoreGauge gauge, std::int64_t value) {
        gauges_[static_cast<std::size_t>(gauge)].set(value);
    }
    void count_path(PathTaken path);
    // Drops series that have been gone and unused for series_kept; how many. Called now and then.
    std::size_t retire(const LiveNames& live, Instant now);

    // Any thread.
    std::uint64_t value(CoreCounter counter) const {
        return counters_[static_cast<std::size_t>(counter)].value();
    }
    std::int64_t value(CoreGauge gauge) const {
        return gauges_[static_cast<std::size_t>(gauge)].value();
    }
    // Series that are dropped meanwhile stay readable until the reader is done.
    void begin_reading() const { readers_.fetch_add(1); }
    void end_reading() const { readers_.fetch_sub(1); }
    // Any thread, between begin_reading() and end_reading(), or the owner thread.
    template <class Visit> void each_traffic(Visit visit) const {
        for (const TrafficSeries* one = traffic_.load(std::memory_order_acquire); one != nullptr;
             one = one->next_.load(std::memory_order_relaxed)) {
            visit(*one);
        }
    }
    template <class Visit> void each_cluster(Visit visit) const {
        for (const ClusterSeries* one = clusters_.load(std::memory_order_acquire); one != nullptr;
             one = one->next_.load(std::memory_order_relaxed)) {
            visit(*one);
        }
    }

private:
    struct Index;  // owner thread's look-up tables
    std::unique_ptr<Index> index_;
    mutable std::atomic<std::uint32_t> readers_{0};
    std::atomic<TrafficSeries*> traffic_{nullptr};
    std::atomic<ClusterSeries*> clusters_{nullptr};
    std::array<Counter, static_cast<std::size_t>(CoreCounter::count_)> counters_;
    std::array<Gauge, static_cast<std::size_t>(CoreGauge::count_)> gauges_;
};

// A value some other part keeps (BPF counters, memory, generation): read when asked.
enum class SampleType : unsigned char { counter, gauge };
struct Sample {
    std::string name;  // orlop_capture_total
    std::string help;
    SampleType type = SampleType::gauge;
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
};

struct BuildInfo {
    std::string version;
};

class Metrics {
public:
    explicit Metrics(std::size_t cores);
    CoreMetrics& core(std::size_t index) { return *cores_[index]; }
    const CoreMetrics& core(std::size_t index) const { return *cores_[index]; }
    std::size_t cores() const { return cores_.size(); }

    // While one is there, what was found in a core's lists stays where it is.
    class Reading {
    public:
        explicit Reading(const Metrics& metrics) : metrics_(metrics) {
            for (const auto& core : metrics_.cores_) {
                core->begin_reading();
            }
        }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        ~Reading() {
            for (const auto& core : metrics_.cores_) {
                core->end_reading();
            }
        }

    private:
        const Metrics& metrics_;
    };

private:
    std::vector<std::unique_ptr<CoreMetrics>> cores_;
};

// The whole exposition (Prometheus text format 0.0.4), families in a fixed order, series sorted.
// `samples` are gathered by the caller. Any thread but the data cores.
// The text leaves in pieces of some KiB, since a large mesh's exposition is large.
using TextSink = std::function<void(std::string_view)>;
void write_prometheus(const Metrics& metrics,
                      const BuildInfo& build,
                      const std::vector<Sample>& samples,
                      const TextSink& sink);
std::string
prometheus_text(const Metrics& metrics, const BuildInfo& build, const std::vector<Sample>& samples);

}  // namespace orlop::telemetry
