// Tables name only the fields they are about.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include "daemon/base/limits.h"
#include "daemon/telemetry/metrics.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

namespace orlop::telemetry {
namespace {

TrafficLabels some_labels(Reporter reporter = Reporter::source) {
    return TrafficLabels{.reporter = reporter,
                         .source = {.workload = "web",
                                    .workload_namespace = "shop",
                                    .principal = "spiffe://cluster.local/ns/shop/sa/web",
                                    .app = "web",
                                    .version = "v1",
                                    .canonical_service = "web",
                                    .canonical_revision = "v1",
                                    .cluster = "Kubernetes"},
                         .destination = {.workload = "pricing", .workload_namespace = "shop"},
                         .destination_service = "pricing.shop.svc.cluster.local",
                         .destination_service_name = "pricing",
                         .destination_service_namespace = "shop",
                         .security = SecurityPolicy::mutual_tls};
}

// Reads the exposition as a scraper would; every line must fit the format, every family appear
// once and before its samples.
std::map<std::string, double> parse(const std::string& text) {
    static const std::regex sample(
        R"re(([a-z_][a-z0-9_]*)(\{([a-z_]+="([^"\\\n]|\\["\\n])*"(,|(?=\})))*\})?)re"
        R"re( ([0-9.e+-]+|\+Inf|NaN))re");
    static const std::regex type(R"re(# TYPE ([a-z_0-9]+) (counter|gauge|histogram))re");
    static const std::regex suffix("_(bucket|sum|count)$");
    std::map<std::string, double> values;
    std::set<std::string> families;
    std::string current;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::smatch parts;
        if (line.starts_with("# HELP ")) {
            continue;
        }
        if (std::regex_match(line, parts, type)) {
            current = parts[1];
            EXPECT_TRUE(families.insert(current).second) << "family twice: " << line;
            continue;
        }
        if (!std::regex_match(line, parts, sample)) {
            ADD_FAILURE() << "not a sample: " << line;
            continue;
        }
        const std::string name = parts[1];
        EXPECT_TRUE(name == current || std::regex_replace(name, suffix, "") == current) << line;
        const std::string series = name + parts[2].str();
        EXPECT_TRUE(values.emplace(series, std::stod(parts[6])).second) << "twice: " << line;
    }
    EXPECT_TRUE(text.ends_with("\n"));
    return values;
}

const std::string pair_labels =
    "reporter=\"source\",source_workload=\"web\",source_workload_namespace=\"shop\","
    "source_principal=\"spiffe://cluster.local/ns/shop/sa/web\",source_app=\"web\","
    "source_version=\"v1\",source_canonical_service=\"web\",source_canonical_revision=\"v1\","
    "source_cluster=\"Kubernetes\",destination_workload=\"pricing\","
    "destination_workload_namespace=\"shop\",destination_principal=\"unknown\","
    "destination_app=\"unknown\",destination_version=\"unknown\","
    "destination_canonical_service=\"unknown\",destination_canonical_revision=\"latest\","
    "destination_cluster=\"unknown\",destination_service=\"pricing.shop.svc.cluster.local\","
    "destination_service_name=\"pricing\",destination_service_namespace=\"shop\","
    "request_protocol=\"http\",connection_security_policy=\"mutual_tls\"";

TEST(Metrics, cores_are_added_up_under_istios_names) {
    Metrics metrics(2);
    ResponseFlags timeout;
    timeout.add(ResponseFlag::UT);
    for (std::size_t core = 0; core < 2; ++core) {
        TrafficSeries* traffic = metrics.core(core).traffic(some_labels());
        traffic->count_request({.status = 200, .duration_ms = 3, .request_bytes = 100});
        traffic->count_request({.status = 200, .duration_ms = 700, .request_bytes = 100});
        traffic->count_request({.status = 504, .flags = timeout, .duration_ms = 1000});
    }
    const auto values = parse(prometheus_text(metrics, {.version = "1.2.3"}, {}));
    const std::string ok =
        pair_labels + ",response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\"";
    const std::string late =
        pair_labels + ",response_code=\"504\",grpc_response_status=\"\",response_flags=\"UT\"";
    const std::string duration = "istio_request_duration_milliseconds";
    EXPECT_EQ(values.at("istio_requests_total{" + ok + "}"), 4);
    EXPECT_EQ(values.at("istio_requests_total{" + late + "}"), 2);
    EXPECT_EQ(values.at(duration + "_bucket{" + ok + ",le=\"1\"}"), 0);
    EXPECT_EQ(values.at(duration + "_bucket{" + ok + ",le=\"5\"}"), 2);
    EXPECT_EQ(values.at(duration + "_bucket{" + ok + ",le=\"1000\"}"), 4);
    EXPECT_EQ(values.at(duration + "_bucket{" + ok + ",le=\"3600000\"}"), 4);
    EXPECT_EQ(values.at(duration + "_bucket{" + ok + ",le=\"+Inf\"}"), 4);
    EXPECT_EQ(values.at(duration + "_count{" + ok + "}"), 4);
    EXPECT_EQ(values.at(duration + "_sum{" + ok + "}"), 1406);
    EXPECT_EQ(values.at(duration + "_bucket{" + late + ",le=\"1000\"}"), 2);
    EXPECT_EQ(values.at("istio_request_bytes_sum{" + ok + "}"), 400);
    EXPECT_EQ(values.at("istio_build{component=\"proxy\",tag=\"orlop-1.2.3\"}"), 1);
    EXPECT_EQ(values.at("orlop_cores"), 2);
}

TEST(Metrics, golden_text_of_one_family) {
    Metrics metrics(1);
    metrics.core(0).traffic(some_labels())->count_request({.status = 200, .grpc_status = 14});
    const std::string text = prometheus_text(metrics, {.version = "1"}, {});
    EXPECT_NE(text.find("# HELP istio_requests_total Requests that ended, by both ends.\n"
                        "# TYPE istio_requests_total counter\n"
                        "istio_requests_total{" +
                        pair_labels +
                        ",response_code=\"200\",grpc_response_status=\"14\",response_flags=\"-\"} "
                        "1\n# HELP istio_request_duration_milliseconds "),
              std::string::npos);
}

TEST(Metrics, both_reporters_stand_apart) {
    Metrics metrics(1);
    TrafficSeries* source = metrics.core(0).traffic(some_labels());
    TrafficSeries* destination = metrics.core(0).traffic(some_labels(Reporter::destination));
    EXPECT_NE(source, destination);
    EXPECT_EQ(source, metrics.core(0).traffic(some_labels()));
    EXPECT_TRUE(destination->labels().starts_with("reporter=\"destination\","));
}

TEST(Metrics, tcp_series_are_named_from_the_servers_side) {
    Metrics metrics(1);
    TrafficLabels labels = some_labels();
    labels.protocol = RequestProtocol::tcp;
    TrafficSeries* traffic = metrics.core(0).traffic(labels);
    traffic->tcp_opened();
    traffic->tcp_bytes(10, 20);
    traffic->tcp_closed();
    int found = 0;
    for (const auto& [series, value] : parse(prometheus_text(metrics, {}, {}))) {
        found += series.starts_with("istio_tcp_connections_opened_total{") && value == 1 ? 1 : 0;
        found += series.starts_with("istio_tcp_connections_closed_total{") && value == 1 ? 1 : 0;
        found += series.starts_with("istio_tcp_received_bytes_total{") && value == 10 ? 1 : 0;
        found += series.starts_with("istio_tcp_sent_bytes_total{") && value == 20 ? 1 : 0;
    }
    EXPECT_EQ(found, 4);
}

TEST(Metrics, cluster_counters_add_and_states_do_not) {
    Metrics metrics(2);
    for (std::size_t core = 0; core < 2; ++core) {
        ClusterSeries* cluster = metrics.core(core).cluster("outbound|80|v1|a.b");
        cluster->add(ClusterCounter::rq_retry);
        cluster->count_status(503);
        cluster->set(ClusterGauge::membership_healthy, 3);
        cluster->add(ClusterGauge::rq_active, 2);
        cluster->set(ClusterGauge::cx_open, core == 0 ? 1 : 0);
    }
    const auto values = parse(prometheus_text(metrics, {}, {}));
    const auto of = [&](const std::string& name) {
        return values.at("envoy_cluster_" + name + "{cluster_name=\"outbound|80|v1|a.b\"}");
    };
    EXPECT_EQ(of("upstream_rq_retry"), 2);
    EXPECT_EQ(of("upstream_rq_5xx"), 2);
    EXPECT_EQ(of("upstream_rq_503"), 2);
    EXPECT_EQ(of("upstream_rq_active"), 4);
    EXPECT_EQ(of("membership_healthy"), 3);
    EXPECT_EQ(of("circuit_breakers_default_cx_open"), 1);
    EXPECT_EQ(of("upstream_rq_timeout"), 0);
    EXPECT_EQ(of("outlier_detection_ejections_active"), 0);
}

TrafficLabels between(std::string_view source, std::string_view destination) {
    TrafficLabels labels;
    labels.source.workload = source;
    labels.source.workload_namespace = "shop";
    labels.destination.workload = destination;
    labels.destination.workload_namespace = "shop";
    labels.destination_service = "web.shop.svc.cluster.local";
    return labels;
}

TEST(Metrics, series_of_those_who_are_gone_are_dropped_after_a_while) {
    Metrics metrics(1);
    CoreMetrics& core = metrics.core(0);
    LiveNames live{{"shop/web", "shop/cart"}, {"web.shop.svc.cluster.local"}, {"outbound|80||web"}};
    core.traffic(between("cart", "web"))->count_request({.status = 200});
    core.traffic(between("old", "web"))->count_request({.status = 200});
    core.traffic(between("cart", "held"))->count_request({.status = 200});
    core.traffic(between("cart", "busy"))->count_request({.status = 200});
    Held<TrafficSeries> held = core.traffic(between("cart", "held"));
    core.cluster("outbound|80||web")->add(ClusterCounter::rq_total);
    core.cluster("outbound|80||old")->add(ClusterCounter::rq_total);
    auto shown = [&] {
        std::string text = prometheus_text(metrics, {}, {});
        std::string out;
        for (const char* name : {"source_workload=\"cart\",",
                                 "source_workload=\"old\"",
                                 "destination_workload=\"held\"",
                                 "destination_workload=\"busy\"",
                                 "outbound|80||web",
                                 "outbound|80||old"}) {
            out += text.find(name) == std::string::npos ? '-' : '+';
        }
        return out;
    };
    Instant now{std::chrono::hours(1)};
    EXPECT_EQ(core.retire(live, now), 0u);
    EXPECT_EQ(core.retire(live, now + series_kept - std::chrono::seconds(1)), 0u);
    EXPECT_EQ(shown(), "++++++");
    core.traffic(between("cart", "busy"))->count_request({.status = 200});
    EXPECT_EQ(core.retire(live, now + series_kept), 2u);
    EXPECT_EQ(shown(), "+-+++-");
    held = nullptr;
    EXPECT_EQ(core.retire(live, now + 2 * series_kept), 1u) << "the busy one, idle since";
    EXPECT_EQ(core.retire(live, now + 3 * series_kept), 1u) << "the one that was held";
    EXPECT_EQ(shown(), "+---+-");
    EXPECT_EQ(core.retire(live, now + 9 * series_kept), 0u);
    // Who comes back counts anew, and what is there was never lost.
    core.traffic(between("cart", "web"))->count_request({.status = 200});
    core.traffic(between("old", "web"))->count_request({.status = 200});
    std::string text = prometheus_text(metrics, {}, {});
    EXPECT_EQ(shown(), "++--+-");
    std::size_t cart =
        text.find("istio_requests_total{reporter=\"source\",source_workload=\"cart\"");
    ASSERT_NE(cart, std::string::npos);
    std::string line = text.substr(cart, text.find('\n', cart) - cart);
    EXPECT_TRUE(line.ends_with(" 2")) << line;
}

TEST(Metrics, what_a_reader_has_met_stays_until_it_is_done) {
    Metrics metrics(1);
    CoreMetrics& core = metrics.core(0);
    core.cluster("outbound|80||old")->add(ClusterCounter::rq_total, 7);
    Instant now{std::chrono::hours(1)};
    std::optional<Metrics::Reading> reading(std::in_place, metrics);
    const ClusterSeries* met = nullptr;
    core.each_cluster([&](const ClusterSeries& one) { met = &one; });
    core.retire({}, now);
    EXPECT_EQ(core.retire({}, now + series_kept), 1u);
    core.retire({}, now + 2 * series_kept);
    ASSERT_NE(met, nullptr);
    EXPECT_EQ(met->value(ClusterCounter::rq_total), 7u);  // freed memory under a sanitizer
    bool any = false;
    core.each_cluster([&](const ClusterSeries&) { any = true; });
    EXPECT_FALSE(any);
}

TEST(Metrics, paths_and_samples_of_other_parts) {
    Metrics metrics(1);
    metrics.core(0).count_path(PathTaken::hbone);
    metrics.core(0).count_path(PathTaken::none);
    const std::vector<Sample> samples = {
        {.name = "orlop_capture_total",
         .help = "Sockets seen by the kernel half.",
         .type = SampleType::counter,
         .labels = {{"reason", "captured"}},
         .value = 5},
        {.name = "orlop_memory_bytes",
         .help = "Memory.",
         .labels = {{"part", "a\"\\\nb"}},
         .value = 1.5e15},
        {.name = "orlop_capture_total",
         .help = "",
         .type = SampleType::counter,
         .labels = {{"reason", "excluded_port"}},
         .value = 2},
    };
    const auto values = parse(prometheus_text(metrics, {}, samples));
    EXPECT_EQ(values.at("orlop_path_total{path=\"hbone\"}"), 1);
    EXPECT_EQ(values.at("orlop_path_total{path=\"plaintext\"}"), 0);
    EXPECT_EQ(values.at("orlop_capture_total{reason=\"captured\"}"), 5);
    EXPECT_EQ(values.at("orlop_capture_total{reason=\"excluded_port\"}"), 2);
    EXPECT_EQ(values.at("orlop_memory_bytes{part=\"a\\\"\\\\\\nb\"}"), 1.5e15);
}

TEST(Metrics, hostile_names_cannot_break_the_text) {
    Metrics metrics(1);
    TrafficLabels labels = some_labels();
    const std::string long_name(10'000, 'x');
    labels.source.workload = "a\"} 1\nevil{x=\"\\";
    labels.source.app = long_name;
    labels.destination.app = "caf\xE9";
    metrics.core(0).traffic(labels)->count_request({.status = 200});
    metrics.core(0).cluster("c\"\n\\");
    const std::string text = prometheus_text(metrics, {}, {});
    parse(text);
    EXPECT_EQ(text.find("\nevil"), std::string::npos);
    EXPECT_EQ(text.find(std::string(limits::metric_label_bytes_max + 1, 'x')), std::string::npos);
}

TEST(Metrics, pairs_beyond_the_bound_are_counted_as_other) {
    Metrics metrics(1);
    TrafficLabels labels = some_labels();
    TrafficSeries* other = nullptr;
    for (std::size_t i = 0; i < limits::metric_traffic_per_core_max + 10; ++i) {
        const std::string name = "w" + std::to_string(i);
        labels.source.workload = name;
        TrafficSeries* one = metrics.core(0).traffic(labels);
        if (i >= limits::metric_traffic_per_core_max) {
            EXPECT_TRUE(other == nullptr || other == one);
            other = one;
        }
    }
    ASSERT_NE(other, nullptr);
    EXPECT_NE(other->labels().find("source_workload=\"other\""), std::string::npos);
    EXPECT_EQ(metrics.core(0).value(CoreCounter::series_overflow), 10u);
    labels.source.workload = "w0";
    EXPECT_NE(metrics.core(0).traffic(labels), other);
}

TEST(Metrics, codes_beyond_the_bound_are_counted_as_other) {
    Metrics metrics(1);
    TrafficSeries* traffic = metrics.core(0).traffic(some_labels());
    for (std::uint16_t status = 200; status < 400; ++status) {
        traffic->count_request({.status = status});
    }
    double other = 0;
    double total = 0;
    std::size_t series = 0;
    for (const auto& [name, value] : parse(prometheus_text(metrics, {}, {}))) {
        if (name.starts_with("istio_requests_total{")) {
            total += value;
            ++series;
            other += name.find("response_code=\"other\"") != std::string::npos ? value : 0;
        }
    }
    EXPECT_EQ(total, 200);
    EXPECT_EQ(series, limits::metric_variants_max + 1);
    EXPECT_EQ(other, 200 - static_cast<double>(limits::metric_variants_max));
}

// Under the thread sanitizer this proves the one-writer rule; without it, that nothing is lost and
// that a reader never sees a number fall.
TEST(Metrics, are_read_while_they_are_written) {
    Metrics metrics(2);
    std::atomic<bool> done{false};
    const auto writer = [&](std::size_t core) {
        TrafficLabels labels = some_labels();
        for (int i = 0; i < 2000; ++i) {
            const std::string name = "w" + std::to_string(i % 20);
            labels.source.workload = name;
            TrafficSeries* traffic = metrics.core(core).traffic(labels);
            traffic->count_request({.status = static_cast<std::uint16_t>(200 + i % 5)});
            traffic->tcp_opened();
            metrics.core(core).cluster(name)->count_status(200);
            metrics.core(core).add(CoreCounter::requests);
        }
    };
    std::thread reader([&] {
        std::uint64_t last = 0;
        while (!done.load()) {
            EXPECT_FALSE(prometheus_text(metrics, {}, {}).empty());
            const std::uint64_t now = metrics.core(0).value(CoreCounter::requests);
            EXPECT_GE(now, last);
            last = now;
        }
    });
    std::thread first(writer, 0);
    std::thread second(writer, 1);
    first.join();
    second.join();
    done.store(true);
    reader.join();
    double total = 0;
    for (const auto& [name, value] : parse(prometheus_text(metrics, {}, {}))) {
        total += name.starts_with("istio_requests_total{") ? value : 0;
    }
    EXPECT_EQ(total, 4000);
}

TEST(Histogram, bounds_are_inclusive) {
    Histogram histogram;
    for (const double value : {0.5, 0.51, 1.0, 3'600'000.0, 3'600'001.0, -1.0}) {
        histogram.observe(value);
    }
    const HistogramSnapshot snapshot = histogram.snapshot();
    EXPECT_EQ(snapshot.buckets[0], 2u);
    EXPECT_EQ(snapshot.buckets[1], 2u);
    EXPECT_EQ(snapshot.buckets[18], 1u);
    EXPECT_EQ(snapshot.buckets[19], 1u);
    EXPECT_EQ(snapshot.count(), 6u);
    histogram.observe(std::nan(""));
    EXPECT_EQ(histogram.snapshot().buckets[0], 3u);
}

TEST(Histogram, percentiles_are_linear_inside_a_bucket) {
    EXPECT_EQ(HistogramSnapshot{}.percentile(0.5), 0);
    Histogram histogram;
    for (int i = 0; i < 100; ++i) {
        histogram.observe(20);  // (10, 25]
    }
    EXPECT_DOUBLE_EQ(histogram.snapshot().percentile(0.5), 17.5);
    EXPECT_DOUBLE_EQ(histogram.snapshot().percentile(1), 25);
    EXPECT_DOUBLE_EQ(histogram.snapshot().percentile(0), 10);
    for (int i = 0; i < 100; ++i) {
        histogram.observe(1e9);
    }
    EXPECT_DOUBLE_EQ(histogram.snapshot().percentile(0.5), 25);
    EXPECT_DOUBLE_EQ(histogram.snapshot().percentile(0.99), 3'600'000);
}

}  // namespace
}  // namespace orlop::telemetry
