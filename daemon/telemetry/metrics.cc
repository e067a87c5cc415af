#include "daemon/telemetry/metrics.h"

#include "daemon/base/limits.h"

#include <array>
#include <unordered_map>
#include <vector>

namespace orlop::telemetry {

namespace {

std::string_view reporter_name(Reporter reporter) {
    return reporter == Reporter::source ? "source" : "destination";
}

std::string_view protocol_name(RequestProtocol protocol) {
    switch (protocol) {
    case RequestProtocol::http:
        return "http";
    case RequestProtocol::grpc:
        return "grpc";
    case RequestProtocol::tcp:
        return "tcp";
    }
    return "";
}

std::string_view security_name(SecurityPolicy security) {
    switch (security) {
    case SecurityPolicy::unknown:
        return "unknown";
    case SecurityPolicy::none:
        return "none";
    case SecurityPolicy::mutual_tls:
        return "mutual_tls";
    case SecurityPolicy::kernel_attested:
        return "kernel_attested";
    }
    return "";
}

// Appends name="value". Names of Kubernetes are ASCII; other bytes are not worth an exposition
// that a scraper refuses whole.
void put_label(std::string& out,
               std::string_view prefix,
               std::string_view name,
               std::string_view value,
               std::string_view missing = "unknown") {
    if (!out.empty()) {
        out += ',';
    }
    out += prefix;
    out += name;
    out += "=\"";
    value = value.substr(0, limits::metric_label_bytes_max);
    for (const char c : value.empty() ? missing : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else {
            out += byte < 0x20 || byte >= 0x7F ? '_' : c;
        }
    }
    out += '"';
}

void put_peer(std::string& out, std::string_view prefix, const PeerLabels& peer) {
    put_label(out, prefix, "workload", peer.workload);
    put_label(out, prefix, "workload_namespace", peer.workload_namespace);
    put_label(out, prefix, "principal", peer.principal);
    put_label(out, prefix, "app", peer.app);
    put_label(out, prefix, "version", peer.version);
    put_label(out, prefix, "canonical_service", peer.canonical_service);
    put_label(out, prefix, "canonical_revision", peer.canonical_revision, "latest");
    put_label(out, prefix, "cluster", peer.cluster);
}

std::string render(const TrafficLabels& labels) {
    std::string out;
    put_label(out, "", "reporter", reporter_name(labels.reporter));
    put_peer(out, "source_", labels.source);
    put_peer(out, "destination_", labels.destination);
    put_label(out, "", "destination_service", labels.destination_service);
    put_label(out, "", "destination_service_name", labels.destination_service_name);
    put_label(out, "", "destination_service_namespace", labels.destination_service_namespace);
    put_label(out, "", "request_protocol", protocol_name(labels.protocol));
    put_label(out, "", "connection_security_policy", security_name(labels.security));
    return out;
}

// What is counted once the table is full: the closed sets stay, every name is "other".
TrafficLabels overflow_labels(const TrafficLabels& labels) {
    constexpr std::string_view other = "other";
    constexpr PeerLabels peer{other, other, other, other, other, other, other, other};
    return TrafficLabels{.reporter = labels.reporter,
                         .source = peer,
                         .destination = peer,
                         .destination_service = other,
                         .destination_service_name = other,
                         .destination_service_namespace = other,
                         .protocol = labels.protocol,
                         .security = labels.security};
}

std::string peer_name(const PeerLabels& peer) {
    return peer.workload.empty()
               ? std::string()
               : std::string(peer.workload_namespace) + "/" + std::string(peer.workload);
}

template <class Table> auto* find_or_null(Table& table, const std::string& key) {
    const auto found = table.find(key);
    return found == table.end() ? nullptr : found->second.get();
}

}  // namespace

// ---- one pair of peers ----

TrafficSeries::TrafficSeries(std::string labels) : labels_(std::move(labels)) {}

TrafficSeries::TrafficSeries(std::string labels, const TrafficLabels& names)
    : labels_(std::move(labels)), source_(peer_name(names.source)),
      destination_(peer_name(names.destination)), service_(names.destination_service) {}

bool TrafficSeries::is_live(const LiveNames& live) const {
    return (source_.empty() || live.workloads.contains(source_)) &&
           (destination_.empty() || live.workloads.contains(destination_)) &&
           (service_.empty() || live.services.contains(service_));
}

std::uint64_t TrafficSeries::activity() const {
    std::uint64_t sum = opened() + closed() + received() + sent();
    for (const Variant* one = first_variant(); one != nullptr; one = one->next) {
        sum += one->requests.value();
    }
    return sum;
}

TrafficSeries::~TrafficSeries() {
    Variant* one = variants_.load(std::memory_order_relaxed);
    while (one != nullptr) {
        Variant* next = one->next;
        delete one;
        one = next;
    }
}

TrafficSeries::Variant* TrafficSeries::variant(const RequestSample& sample) {
    const auto fits = [&](const Variant& one) {
        return !one.overflow && one.status == sample.status && one.flags == sample.flags &&
               one.grpc_status == sample.grpc_status;
    };
    if (last_used_ != nullptr && fits(*last_used_)) {
        return last_used_;
    }
    Variant* overflow = nullptr;
    Variant* head = variants_.load(std::memory_order_relaxed);
    for (Variant* one = head; one != nullptr; one = one->next) {
        if (fits(*one)) {
            return one;
        }
        overflow = one->overflow ? one : overflow;
    }
    const bool full = variant_count_ >= limits::metric_variants_max;
    if (full && overflow != nullptr) {
        return overflow;
    }
    auto made = std::make_unique<Variant>();
    made->overflow = full;
    if (!full) {
        made->status = sample.status;
        made->grpc_status = sample.grpc_status;
        made->flags = sample.flags;
    }
    made->next = head;
    ++variant_count_;
    variants_.store(made.get(), std::memory_order_release);
    return made.release();  // owned by the list from here on
}

void TrafficSeries::count_request(const RequestSample& sample) {
    Variant* one = variant(sample);
    last_used_ = one;
    one->requests.add(1);
    one->duration_ms.observe(sample.duration_ms);
    one->request_bytes.observe(static_cast<double>(sample.request_bytes));
    one->response_bytes.observe(static_cast<double>(sample.response_bytes));
    request_messages_.add(sample.request_messages);
    response_messages_.add(sample.response_messages);
}

void TrafficSeries::count_request(const RequestRecord& record) {
    count_request(RequestSample{.status = record.status,
                                .grpc_status = record.grpc_status,
                                .flags = record.flags,
                                .duration_ms = static_cast<double>(record.duration.count()) / 1e6,
                                .request_bytes = record.request_bytes,
                                .response_bytes = record.response_bytes,
                                .request_messages = record.request_messages,
                                .response_messages = record.response_messages});
}

void ClusterSeries::count_status(std::uint16_t status) {
    switch (status / 100) {
    case 2:
        add(ClusterCounter::rq_2xx);
        break;
    case 3:
        add(ClusterCounter::rq_3xx);
        break;
    case 4:
        add(ClusterCounter::rq_4xx);
        break;
    case 5:
        add(ClusterCounter::rq_5xx);
        break;
    default:
        break;
    }
    if (status == 503) {
        add(ClusterCounter::rq_503);
    }
}

std::uint64_t ClusterSeries::activity() const {
    std::uint64_t sum = 0;
    for (const Counter& counter : counters_) {
        sum += counter.value();
    }
    return sum;
}

// ---- one core ----

struct CoreMetrics::Index {
    std::unordered_map<std::string, std::unique_ptr<TrafficSeries>> traffic;
    std::unordered_map<std::string, std::unique_ptr<ClusterSeries>> clusters;
    // Out of the lists, perhaps still under the eyes of a reader.
    std::vector<std::unique_ptr<TrafficSeries>> dropped_traffic;
    std::vector<std::unique_ptr<ClusterSeries>> dropped_clusters;
};

CoreMetrics::CoreMetrics() : index_(std::make_unique<Index>()) {}
CoreMetrics::~CoreMetrics() = default;

TrafficSeries* CoreMetrics::traffic(const TrafficLabels& labels) {
    std::string key = render(labels);
    if (TrafficSeries* known = find_or_null(index_->traffic, key)) {
        return known;
    }
    const bool full = index_->traffic.size() >= limits::metric_traffic_per_core_max;
    if (full) {
        add(CoreCounter::series_overflow);
        key = render(overflow_labels(labels));
        if (TrafficSeries* known = find_or_null(index_->traffic, key)) {
            return known;
        }
    }
    auto made = std::make_unique<TrafficSeries>(key, full ? TrafficLabels{} : labels);
    TrafficSeries* out = made.get();
    out->next_.store(traffic_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    index_->traffic.emplace(std::move(key), std::move(made));
    traffic_.store(out, std::memory_order_release);
    return out;
}

ClusterSeries* CoreMetrics::cluster(std::string_view name) {
    std::string key(name.substr(0, limits::metric_label_bytes_max));
    if (ClusterSeries* known = find_or_null(index_->clusters, key)) {
        return known;
    }
    if (index_->clusters.size() >= limits::metric_clusters_per_core_max) {
        add(CoreCounter::series_overflow);
        key = "other";
        if (ClusterSeries* known = find_or_null(index_->clusters, key)) {
            return known;
        }
    }
    auto made = std::make_unique<ClusterSeries>(key);
    ClusterSeries* out = made.get();
    out->next_.store(clusters_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    index_->clusters.emplace(std::move(key), std::move(made));
    clusters_.store(out, std::memory_order_release);
    return out;
}

namespace {

// True when the series has been gone and unused for series_kept.
bool is_over(Retirement& retirement, std::uint64_t activity, Instant now) {
    if (retirement.since == Instant::min() || retirement.activity != activity) {
        retirement = {now, activity};
        return false;
    }
    return now - retirement.since >= series_kept;
}

}  // namespace

std::size_t CoreMetrics::retire(const LiveNames& live, Instant now) {
    // Whoever began to read after the last call cannot have met what that call took out.
    if (readers_.load() == 0) {
        index_->dropped_traffic.clear();
        index_->dropped_clusters.clear();
    }
    std::size_t dropped = 0;
    const auto sweep = [&](auto& head, auto& table, auto& graves, const auto& key_of) {
        auto* link = &head;
        while (auto* one = link->load(std::memory_order_relaxed)) {
            if (one->holders_ > 0 || one->is_live(live)) {
                one->retirement_ = {};
            } else if (is_over(one->retirement_, one->activity(), now)) {
                link->store(one->next_.load(std::memory_order_relaxed));
                auto entry = table.extract(key_of(*one));
                graves.push_back(std::move(entry.mapped()));
                ++dropped;
                continue;
            }
            link = &one->next_;
        }
    };
    sweep(traffic_,
          index_->traffic,
          index_->dropped_traffic,
          [](const TrafficSeries& one) -> const std::string& { return one.labels(); });
    sweep(clusters_,
          index_->clusters,
          index_->dropped_clusters,
          [](const ClusterSeries& one) -> const std::string& { return one.name(); });
    return dropped;
}

void CoreMetrics::count_path(PathTaken path) {
    switch (path) {
    case PathTaken::none:
        break;
    case PathTaken::plaintext:
        add(CoreCounter::path_plaintext);
        break;
    case PathTaken::hbone:
        add(CoreCounter::path_hbone);
        break;
    case PathTaken::same_node:
        add(CoreCounter::path_same_node);
        break;
    case PathTaken::tls:
        add(CoreCounter::path_tls);
        break;
    }
}

Metrics::Metrics(std::size_t cores) {
    for (std::size_t i = 0; i < cores; ++i) {
        cores_.push_back(std::make_unique<CoreMetrics>());
    }
}

}  // namespace orlop::telemetry
