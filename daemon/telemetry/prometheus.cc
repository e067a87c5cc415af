// write_prometheus: the exposition, family by family. Cores are added up here and nowhere else.
#include "daemon/telemetry/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

namespace orlop::telemetry {

namespace {

constexpr std::size_t piece_bytes = 16 * 1024;

std::string number_text(double value) {
    if (std::isnan(value)) {
        return "NaN";
    }
    if (std::isinf(value)) {
        return value > 0 ? "+Inf" : "-Inf";
    }
    std::array<char, 400> buffer;
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed)
            .ptr;
    return std::string(buffer.data(), end);
}

std::string escape_label(std::string_view value) {
    std::string out;
    for (const char c : value) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    return out;
}

class Exposition {
public:
    explicit Exposition(const TextSink& sink) : sink_(sink) {}
    ~Exposition() { flush(); }
    Exposition(const Exposition&) = delete;
    Exposition& operator=(const Exposition&) = delete;

    void family(std::string_view name, std::string_view help, std::string_view type) {
        append({"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"});
    }
    // `labels` is name="value",... or empty.
    void line(std::string_view name, std::string_view labels, std::string_view value) {
        if (labels.empty()) {
            append({name, " ", value, "\n"});
        } else {
            append({name, "{", labels, "} ", value, "\n"});
        }
    }

private:
    void append(std::initializer_list<std::string_view> parts) {
        for (const std::string_view part : parts) {
            buffer_ += part;
        }
        if (buffer_.size() >= piece_bytes) {
            flush();
        }
    }
    void flush() {
        if (!buffer_.empty()) {
            sink_(buffer_);
            buffer_.clear();
        }
    }
    const TextSink& sink_;
    std::string buffer_;
};

// ---- Istio's families ----

using Variant = TrafficSeries::Variant;
// Labels of the pair, then what tells its variants apart. Views live as long as the Metrics.
using VariantKey = std::tuple<std::string_view, bool, unsigned, long, std::uint32_t>;
using VariantTable = std::map<VariantKey, std::vector<const Variant*>>;

VariantTable gather_variants(const Metrics& metrics) {
    VariantTable table;
    for (std::size_t i = 0; i < metrics.cores(); ++i) {
        metrics.core(i).each_traffic([&](const TrafficSeries& traffic) {
            for (const Variant* one = traffic.first_variant(); one != nullptr; one = one->next) {
                const long grpc = one->grpc_status ? static_cast<long>(*one->grpc_status) : -1;
                table[VariantKey(
                          traffic.labels(), one->overflow, one->status, grpc, one->flags.bits())]
                    .push_back(one);
            }
        });
    }
    return table;
}

std::string variant_labels(std::string_view traffic, const Variant& one) {
    std::string out(traffic);
    out += ",response_code=\"";
    out += one.overflow ? "other" : std::to_string(one.status);
    out += "\",grpc_response_status=\"";
    out += one.grpc_status ? std::to_string(*one.grpc_status) : "";
    out += "\",response_flags=\"";
    out += one.overflow ? "other" : one.flags.to_text().view();
    out += '"';
    return out;
}

void write_requests(const VariantTable& table, Exposition& out) {
    out.family("istio_requests_total", "Requests that ended, by both ends.", "counter");
    for (const auto& [key, variants] : table) {
        std::uint64_t total = 0;
        for (const Variant* one : variants) {
            total += one->requests.value();
        }
        out.line("istio_requests_total",
                 variant_labels(std::get<0>(key), *variants[0]),
                 std::to_string(total));
    }
}

void write_histogram(const std::string& name,
                     const std::string& labels,
                     const HistogramSnapshot& values,
                     Exposition& out) {
    const std::string bucket = name + "_bucket";
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < histogram_bounds.size(); ++i) {
        cumulative += values.buckets[i];
        out.line(bucket,
                 labels + ",le=\"" + number_text(histogram_bounds[i]) + "\"",
                 std::to_string(cumulative));
    }
    const std::string count = std::to_string(values.count());
    out.line(bucket, labels + ",le=\"+Inf\"", count);
    out.line(name + "_sum", labels, number_text(values.sum));
    out.line(name + "_count", labels, count);
}

void write_histograms(const VariantTable& table,
                      const std::string& name,
                      std::string_view help,
                      Histogram Variant::* member,
                      Exposition& out) {
    out.family(name, help, "histogram");
    for (const auto& [key, variants] : table) {
        HistogramSnapshot values;
        for (const Variant* one : variants) {
            values.add((one->*member).snapshot());
        }
        write_histogram(name, variant_labels(std::get<0>(key), *variants[0]), values, out);
    }
}

struct TcpTotals {
    std::uint64_t opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
};

void write_tcp(const Metrics& metrics, Exposition& out) {
    std::map<std::string_view, TcpTotals> table;
    for (std::size_t i = 0; i < metrics.cores(); ++i) {
        metrics.core(i).each_traffic([&](const TrafficSeries& traffic) {
            if (traffic.opened() == 0) {
                return;  // an HTTP pair
            }
            TcpTotals& totals = table[traffic.labels()];
            totals.opened += traffic.opened();
            totals.closed += traffic.closed();
            totals.sent += traffic.sent();
            totals.received += traffic.received();
        });
    }
    struct Family {
        std::string_view name;
        std::string_view help;
        std::uint64_t TcpTotals::* value;
    };
    static constexpr std::array<Family, 4> families = {{
        {"istio_tcp_connections_opened_total", "Connections opened.", &TcpTotals::opened},
        {"istio_tcp_connections_closed_total", "Connections closed.", &TcpTotals::closed},
        {"istio_tcp_sent_bytes_total", "Bytes the server sent.", &TcpTotals::sent},
        {"istio_tcp_received_bytes_total", "Bytes the server received.", &TcpTotals::received},
    }};
    for (const Family& family : families) {
        out.family(family.name, family.help, "counter");
        for (const auto& [labels, totals] : table) {
            out.line(family.name,
                     std::string(labels) + ",response_flags=\"-\"",
                     std::to_string(totals.*family.value));
        }
    }
}

// Messages of gRPC calls; pairs that made none have no line.
void write_messages(const Metrics& metrics, Exposition& out) {
    struct Totals {
        std::uint64_t request = 0;
        std::uint64_t response = 0;
    };
    std::map<std::string_view, Totals> table;
    for (std::size_t i = 0; i < metrics.cores(); ++i) {
        metrics.core(i).each_traffic([&](const TrafficSeries& traffic) {
            if (traffic.request_messages() + traffic.response_messages() != 0) {
                Totals& totals = table[traffic.labels()];
                totals.request += traffic.request_messages();
                totals.response += traffic.response_messages();
            }
        });
    }
    out.family("istio_request_messages_total", "Messages that gRPC callers sent.", "counter");
    for (const auto& [labels, totals] : table) {
        out.line("istio_request_messages_total", labels, std::to_string(totals.request));
    }
    out.family("istio_response_messages_total", "Messages that gRPC servers sent.", "counter");
    for (const auto& [labels, totals] : table) {
        out.line("istio_response_messages_total", labels, std::to_string(totals.response));
    }
}

// ---- Envoy's cluster families ----

struct CounterName {
    ClusterCounter counter;
    std::string_view name;
};
constexpr std::array<CounterName, static_cast<std::size_t>(ClusterCounter::count_)> counter_names =
    {{
        {ClusterCounter::rq_total, "upstream_rq_total"},
        {ClusterCounter::rq_2xx, "upstream_rq_2xx"},
        {ClusterCounter::rq_3xx, "upstream_rq_3xx"},
        {ClusterCounter::rq_4xx, "upstream_rq_4xx"},
        {ClusterCounter::rq_5xx, "upstream_rq_5xx"},
        {ClusterCounter::rq_503, "upstream_rq_503"},
        {ClusterCounter::rq_pending_total, "upstream_rq_pending_total"},
        {ClusterCounter::rq_pending_overflow, "upstream_rq_pending_overflow"},
        {ClusterCounter::rq_retry, "upstream_rq_retry"},
        {ClusterCounter::rq_retry_success, "upstream_rq_retry_success"},
        {ClusterCounter::rq_retry_overflow, "upstream_rq_retry_overflow"},
        {ClusterCounter::rq_retry_limit_exceeded, "upstream_rq_retry_limit_exceeded"},
        {ClusterCounter::rq_timeout, "upstream_rq_timeout"},
        {ClusterCounter::rq_per_try_timeout, "upstream_rq_per_try_timeout"},
        {ClusterCounter::rq_rx_reset, "upstream_rq_rx_reset"},
        {ClusterCounter::rq_tx_reset, "upstream_rq_tx_reset"},
        {ClusterCounter::cx_total, "upstream_cx_total"},
        {ClusterCounter::cx_overflow, "upstream_cx_overflow"},
        {ClusterCounter::cx_connect_fail, "upstream_cx_connect_fail"},
        {ClusterCounter::cx_connect_timeout, "upstream_cx_connect_timeout"},
        {ClusterCounter::cx_max_requests, "upstream_cx_max_requests"},
        {ClusterCounter::retry_or_shadow_abandoned, "retry_or_shadow_abandoned"},
        {ClusterCounter::outlier_ejections_enforced_total,
         "outlier_detection_ejections_enforced_total"},
        {ClusterCounter::outlier_ejections_overflow, "outlier_detection_ejections_overflow"},
        {ClusterCounter::outlier_detected_consecutive_5xx,
         "outlier_detection_ejections_detected_consecutive_5xx"},
        {ClusterCounter::outlier_enforced_consecutive_5xx,
         "outlier_detection_ejections_enforced_consecutive_5xx"},
        {ClusterCounter::outlier_detected_consecutive_gateway,
         "outlier_detection_ejections_detected_consecutive_gateway_failure"},
        {ClusterCounter::outlier_enforced_consecutive_gateway,
         "outlier_detection_ejections_enforced_consecutive_gateway_failure"},
        {ClusterCounter::outlier_detected_consecutive_local,
         "outlier_detection_ejections_detected_consecutive_local_origin_failure"},
        {ClusterCounter::outlier_enforced_consecutive_local,
         "outlier_detection_ejections_enforced_consecutive_local_origin_failure"},
        {ClusterCounter::lb_healthy_panic, "lb_healthy_panic"},
    }};

// A state every core sees alike is not added up.
enum class Merge : unsigned char { sum, most };
struct GaugeName {
    ClusterGauge gauge;
    std::string_view name;
    Merge merge;
};
constexpr std::array<GaugeName, static_cast<std::size_t>(ClusterGauge::count_)> gauge_names = {{
    {ClusterGauge::rq_active, "upstream_rq_active", Merge::sum},
    {ClusterGauge::rq_pending_active, "upstream_rq_pending_active", Merge::sum},
    {ClusterGauge::cx_active, "upstream_cx_active", Merge::sum},
    {ClusterGauge::membership_total, "membership_total", Merge::most},
    {ClusterGauge::membership_healthy, "membership_healthy", Merge::most},
    {ClusterGauge::outlier_ejections_active, "outlier_detection_ejections_active", Merge::sum},
    {ClusterGauge::cx_open, "circuit_breakers_default_cx_open", Merge::most},
    {ClusterGauge::rq_pending_open, "circuit_breakers_default_rq_pending_open", Merge::most},
    {ClusterGauge::rq_open, "circuit_breakers_default_rq_open", Merge::most},
    {ClusterGauge::rq_retry_open, "circuit_breakers_default_rq_retry_open", Merge::most},
}};

using ClusterTable = std::map<std::string_view, std::vector<const ClusterSeries*>>;

void write_clusters(const Metrics& metrics, Exposition& out) {
    ClusterTable table;
    for (std::size_t i = 0; i < metrics.cores(); ++i) {
        metrics.core(i).each_cluster(
            [&](const ClusterSeries& cluster) { table[cluster.name()].push_back(&cluster); });
    }
    const auto label = [](std::string_view name) {
        return "cluster_name=\"" + escape_label(name) + "\"";
    };
    for (const CounterName& row : counter_names) {
        const std::string name = "envoy_cluster_" + std::string(row.name);
        out.family(name, "Per destination, as Envoy counts it.", "counter");
        for (const auto& [cluster, parts] : table) {
            std::uint64_t total = 0;
            for (const ClusterSeries* part : parts) {
                total += part->value(row.counter);
            }
            out.line(name, label(cluster), std::to_string(total));
        }
    }
    for (const GaugeName& row : gauge_names) {
        const std::string name = "envoy_cluster_" + std::string(row.name);
        out.family(name, "Per destination, as Envoy counts it.", "gauge");
        for (const auto& [cluster, parts] : table) {
            std::int64_t value = 0;
            for (const ClusterSeries* part : parts) {
                const std::int64_t one = part->value(row.gauge);
                value = row.merge == Merge::sum ? value + one : std::max(value, one);
            }
            out.line(name, label(cluster), std::to_string(value));
        }
    }
}

// ---- orlop's own ----

struct OwnCounter {
    std::string_view name;
    std::string_view help;
    std::string_view labels;
    CoreCounter counter;
};
// Rows of one family stand together.
constexpr std::array<OwnCounter, static_cast<std::size_t>(CoreCounter::count_)> own_counters = {{
    {"orlop_downstream_connections_total",
     "Connections accepted from pods and peers.",
     "",
     CoreCounter::downstream_connections},
    {"orlop_requests_total", "HTTP exchanges ended.", "", CoreCounter::requests},
    {"orlop_path_total",
     "Upstream exchanges by the path they took.",
     "path=\"plaintext\"",
     CoreCounter::path_plaintext},
    {"orlop_path_total", "", "path=\"hbone\"", CoreCounter::path_hbone},
    {"orlop_path_total", "", "path=\"same_node\"", CoreCounter::path_same_node},
    {"orlop_path_total", "", "path=\"tls\"", CoreCounter::path_tls},
    {"orlop_refused_total",
     "Connections refused by policy or bound.",
     "reason=\"strict\"",
     CoreCounter::refused_strict},
    {"orlop_refused_total", "", "reason=\"limit\"", CoreCounter::refused_limit},
    {"orlop_refused_total", "", "reason=\"authorization\"", CoreCounter::refused_authorization},
    {"orlop_requests_denied_total",
     "Requests answered 403 by an AuthorizationPolicy of the pods of this node.",
     "",
     CoreCounter::requests_denied},
    {"orlop_protocol_errors_total",
     "Messages refused as malformed.",
     "",
     CoreCounter::protocol_errors},
    {"orlop_protocol_look_timeouts_total",
     "Connections whose protocol did not show in time.",
     "",
     CoreCounter::protocol_look_timeouts},
    {"orlop_rate_limited_total",
     "Requests refused by a rate limit or a quota.",
     "by=\"rate_limit\"",
     CoreCounter::rate_limited},
    {"orlop_rate_limited_total", "", "by=\"quota\"", CoreCounter::quota_refused},
    {"orlop_rate_limit_buckets_full_total",
     "Requests counted in the shared bucket of their limit: rate_limit_buckets_max.",
     "",
     CoreCounter::rate_limit_buckets_full},
    {"orlop_trace_spans_total",
     "Spans made, by whether there was room for them: trace_queue_spans_max.",
     "outcome=\"queued\"",
     CoreCounter::trace_spans},
    {"orlop_trace_spans_total", "", "outcome=\"dropped\"", CoreCounter::trace_spans_dropped},
    {"orlop_tls_handshakes_total",
     "TLS handshakes by how they ended.",
     "outcome=\"full\"",
     CoreCounter::handshakes},
    {"orlop_tls_handshakes_total", "", "outcome=\"resumed\"", CoreCounter::handshakes_resumed},
    {"orlop_tls_handshakes_total", "", "outcome=\"failed\"", CoreCounter::handshakes_failed},
    {"orlop_metric_series_overflow_total",
     "Look-ups counted under \"other\".",
     "",
     CoreCounter::series_overflow},
    {"orlop_loop_turns_total", "Turns of the event loop.", "", CoreCounter::loop_turns},
    {"orlop_core_messages_dropped_total",
     "Messages between cores that found no room.",
     "",
     CoreCounter::messages_dropped},
}};

struct OwnGauge {
    std::string_view name;
    std::string_view help;
    CoreGauge gauge;
};
constexpr std::array<OwnGauge, static_cast<std::size_t>(CoreGauge::count_)> own_gauges = {{
    {"orlop_downstream_active",
     "Open connections from pods and peers.",
     CoreGauge::downstream_active},
    {"orlop_tunnels_active", "Open HBONE connections.", CoreGauge::tunnels_active},
    {"orlop_streams_active", "Open HBONE streams.", CoreGauge::streams_active},
    {"orlop_upstream_idle", "Idle upstream connections in pools.", CoreGauge::upstream_idle},
    {"orlop_buffers_in_use", "Relay buffers handed out.", CoreGauge::buffers_in_use},
}};

void write_own(const Metrics& metrics, Exposition& out) {
    std::string_view family;
    for (const OwnCounter& row : own_counters) {
        if (row.name != family) {
            family = row.name;
            out.family(row.name, row.help, "counter");
        }
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < metrics.cores(); ++i) {
            total += metrics.core(i).value(row.counter);
        }
        out.line(row.name, row.labels, std::to_string(total));
    }
    for (const OwnGauge& row : own_gauges) {
        out.family(row.name, row.help, "gauge");
        std::int64_t total = 0;
        for (std::size_t i = 0; i < metrics.cores(); ++i) {
            total += metrics.core(i).value(row.gauge);
        }
        out.line(row.name, "", std::to_string(total));
    }
    out.family("orlop_cores", "Data cores.", "gauge");
    out.line("orlop_cores", "", std::to_string(metrics.cores()));
}

// Samples of one name may come scattered; a family may appear only once.
void write_samples(const std::vector<Sample>& samples, Exposition& out) {
    std::map<std::string_view, std::vector<const Sample*>> families;
    for (const Sample& sample : samples) {
        families[sample.name].push_back(&sample);
    }
    for (const auto& [name, members] : families) {
        out.family(
            name, members[0]->help, members[0]->type == SampleType::counter ? "counter" : "gauge");
        for (const Sample* sample : members) {
            std::string labels;
            for (const auto& [key, value] : sample->labels) {
                labels += (labels.empty() ? "" : ",") + key + "=\"" + escape_label(value) + "\"";
            }
            out.line(name, labels, number_text(sample->value));
        }
    }
}

}  // namespace

void write_prometheus(const Metrics& metrics,
                      const BuildInfo& build,
                      const std::vector<Sample>& samples,
                      const TextSink& sink) {
    Metrics::Reading reading(metrics);
    Exposition out(sink);
    out.family("istio_build", "Version of this program.", "gauge");
    out.line("istio_build",
             "component=\"proxy\",tag=\"orlop-" + escape_label(build.version) + "\"",
             "1");
    const VariantTable variants = gather_variants(metrics);
    write_requests(variants, out);
    write_histograms(variants,
                     "istio_request_duration_milliseconds",
                     "Duration of requests.",
                     &Variant::duration_ms,
                     out);
    write_histograms(
        variants, "istio_request_bytes", "Size of requests.", &Variant::request_bytes, out);
    write_histograms(
        variants, "istio_response_bytes", "Size of responses.", &Variant::response_bytes, out);
    write_messages(metrics, out);
    write_tcp(metrics, out);
    write_clusters(metrics, out);
    write_own(metrics, out);
    write_samples(samples, out);
}

std::string prometheus_text(const Metrics& metrics,
                            const BuildInfo& build,
                            const std::vector<Sample>& samples) {
    std::string text;
    write_prometheus(metrics, build, samples, [&](std::string_view piece) { text += piece; });
    return text;
}

}  // namespace orlop::telemetry
