// DestinationRule: traffic policies and subsets (istio-semantics §5 to §8).
#include "daemon/base/limits.h"
#include "daemon/control/objects/connection_pool.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/load_balancer.h"
#include "daemon/control/objects/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace orlop::control {
namespace {

constexpr std::int64_t int32_max = 2'147'483'647;

// Kubernetes sends unset integers as 0, so 0 means unset (istio-semantics §5).
std::optional<std::uint32_t> read_count(FieldReader& reader, std::string_view name) {
    auto value = reader.integer(name, 0, int32_max);
    if (!value || *value == 0) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(*value);
}

void read_tcp_pool(FieldReader& pool, model::ConnectionPoolLimits& out) {
    FieldReader tcp(pool.report(), pool.take("tcp"), pool.path_of("tcp"));
    out.max_connections = read_count(tcp, "maxConnections");
    if (auto timeout = tcp.duration("connectTimeout")) {
        out.connect_timeout = *timeout;
    }
    out.max_connection_duration = tcp.duration("maxConnectionDuration");
    out.tcp_idle_timeout = tcp.duration("idleTimeout", ZeroDuration::allowed);
    FieldReader keepalive(pool.report(), tcp.take("tcpKeepalive"), tcp.path_of("tcpKeepalive"));
    if (keepalive.present()) {
        model::ConnectionPoolLimits::TcpKeepalive value;
        value.probes = read_count(keepalive, "probes").value_or(0);
        value.time = keepalive.duration("time").value_or(Duration::zero());
        value.interval = keepalive.duration("interval").value_or(Duration::zero());
        out.tcp_keepalive = value;
    }
}

void read_http_pool(FieldReader& pool, model::ConnectionPoolLimits& out) {
    FieldReader http(pool.report(), pool.take("http"), pool.path_of("http"));
    out.http1_max_pending_requests = read_count(http, "http1MaxPendingRequests");
    out.http2_max_requests = read_count(http, "http2MaxRequests");
    out.max_requests_per_connection = read_count(http, "maxRequestsPerConnection");
    out.max_retries = read_count(http, "maxRetries");
    out.max_concurrent_streams = read_count(http, "maxConcurrentStreams");
    out.http_idle_timeout = http.duration("idleTimeout");
    auto upgrade = http.choice("h2UpgradePolicy", {"DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"});
    out.h2_upgrade = upgrade == std::optional<std::size_t>(2);
    out.use_client_protocol = http.boolean("useClientProtocol").value_or(false);
    if (out.h2_upgrade && out.use_client_protocol) {
        http.error("useClientProtocol",
                   "use client protocol must not be true when H2UpgradePolicy is UPGRADE");
    }
    http.accept_unenforced({"http2KeepAlive"});
}

}  // namespace

std::optional<model::ConnectionPoolLimits> read_connection_pool(FieldReader& parent,
                                                                std::string_view name) {
    FieldReader pool(parent.report(), parent.take(name), parent.path_of(name));
    if (!pool.present()) {
        return std::nullopt;
    }
    model::ConnectionPoolLimits limits;
    read_tcp_pool(pool, limits);
    read_http_pool(pool, limits);
    if (!pool.has("tcp") && !pool.has("http")) {
        pool.error_here("connection pool must have at least one field", "write tcp or http");
    }
    return limits;
}

namespace {

void read_old_consecutive_errors(FieldReader& outlier, model::OutlierDetection& out) {
    auto old = outlier.integer("consecutiveErrors", 0, int32_max);
    if (!old) {
        return;
    }
    outlier.report().warn("ORL009",
                          outlier.line_of("consecutiveErrors"),
                          outlier.path_of("consecutiveErrors"),
                          "deprecated; counted as consecutive 502, 503, 504 and connection "
                          "failures",
                          "write consecutiveGatewayErrors or consecutive5xxErrors");
    if (!outlier.has("consecutive5xxErrors") && !outlier.has("consecutiveGatewayErrors") &&
        *old > 0) {
        out.consecutive_gateway = static_cast<std::uint32_t>(*old);
        out.consecutive_5xx = 0;
    }
}

// Numbers, or numbers as text.
void read_error_codes(FieldReader& outlier, model::OutlierDetection& out) {
    constexpr std::string_view name = "outlierDetectionHttpErrorCodes";
    outlier.each(name, [&](const Node& item, const std::string& path) {
        std::optional<std::int64_t> code = read_integer(item);
        if (auto text = read_text(item); !code && text) {
            std::int64_t number = 0;
            auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
            if (error == std::errc() && end == text->data() + text->size()) {
                code = number;
            }
        }
        if (!code || *code < 100 || *code > 599) {
            outlier.report().error(item.line, path, "an HTTP status in range 100..599 is wanted");
        } else if (out.error_codes.size() < limits::outlier_error_codes_max) {
            out.error_codes.push_back(static_cast<std::uint16_t>(*code));
        }
    });
}

std::optional<model::OutlierDetection> read_outlier(FieldReader& policy) {
    FieldReader outlier(
        policy.report(), policy.take("outlierDetection"), policy.path_of("outlierDetection"));
    if (!outlier.present()) {
        return std::nullopt;
    }
    model::OutlierDetection out;
    auto count = [&](std::string_view name, std::uint32_t& value) {
        if (auto read = outlier.integer(name, 0, int32_max)) {
            value = static_cast<std::uint32_t>(*read);
        }
    };
    count("consecutive5xxErrors", out.consecutive_5xx);
    count("consecutiveGatewayErrors", out.consecutive_gateway);
    read_old_consecutive_errors(outlier, out);
    out.split_local_origin = outlier.boolean("splitExternalLocalOriginErrors").value_or(false);
    count("consecutiveLocalOriginFailures", out.consecutive_local_origin);
    if (!out.split_local_origin && out.consecutive_local_origin > 0 &&
        outlier.has("consecutiveLocalOriginFailures")) {
        outlier.error("consecutiveLocalOriginFailures",
                      "outlier detection consecutive local origin failures is specified, but "
                      "split external local origin errors is set to false",
                      "set splitExternalLocalOriginErrors: true");
    }
    out.interval = outlier.duration("interval").value_or(out.interval);
    out.base_ejection_time = outlier.duration("baseEjectionTime").value_or(out.base_ejection_time);
    if (auto percent = outlier.integer("maxEjectionPercent", 0, 100); percent && *percent > 0) {
        out.max_ejection_percent = static_cast<std::uint32_t>(*percent);
    }
    out.min_health_percent =
        static_cast<std::uint32_t>(outlier.integer("minHealthPercent", 0, 100).value_or(0));
    read_error_codes(outlier, out);
    return out;
}

std::optional<model::ClientTls> read_tls(FieldReader& policy) {
    using Mode = model::ClientTls::Mode;
    FieldReader reader(policy.report(), policy.take("tls"), policy.path_of("tls"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::ClientTls tls;
    auto mode = reader.choice("mode", {"DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"});
    tls.mode = static_cast<Mode>(mode.value_or(0));
    tls.sni = reader.text_or("sni", "");
    tls.subject_alt_names = reader.texts("subjectAltNames");
    tls.client_certificate = reader.text_or("clientCertificate", "");
    tls.private_key = reader.text_or("privateKey", "");
    tls.ca_certificates = reader.text_or("caCertificates", "");
    tls.credential_name = reader.text_or("credentialName", "");
    tls.insecure_skip_verify = reader.boolean("insecureSkipVerify").value_or(false);
    reader.accept_unenforced({"caCrl"});
    bool files = !tls.client_certificate.empty() || !tls.private_key.empty();
    if (tls.mode == Mode::mutual && tls.credential_name.empty() &&
        (tls.client_certificate.empty() || tls.private_key.empty())) {
        reader.error_here("client certificate and private key are required for mutual TLS",
                          "or write credentialName");
    }
    if (tls.mode == Mode::istio_mutual &&
        (files || !tls.ca_certificates.empty() || !tls.credential_name.empty() ||
         !tls.sni.empty() || !tls.subject_alt_names.empty())) {
        reader.error_here("with ISTIO_MUTUAL the other tls fields must be empty");
    }
    if (!tls.credential_name.empty() && files) {
        reader.error_here("credentialName and certificate files exclude each other");
    }
    if (tls.insecure_skip_verify &&
        (!tls.ca_certificates.empty() || !tls.subject_alt_names.empty())) {
        reader.error_here("insecureSkipVerify cannot be set with caCertificates or "
                          "subjectAltNames");
    }
    return tls;
}

std::optional<model::RetryBudget> read_retry_budget(FieldReader& policy) {
    FieldReader reader(policy.report(), policy.take("retryBudget"), policy.path_of("retryBudget"));
    if (!reader.present()) {
        return std::nullopt;
    }
    model::RetryBudget budget;
    if (const Node* node = reader.take("percent"); node != nullptr && node->is_map()) {
        budget.percent = read_percent(reader, "percent").value_or(budget.percent);
    } else {
        budget.percent = reader.number("percent", 0, 100).value_or(budget.percent);
    }
    auto minimum = reader.integer("minRetryConcurrency", 0, int32_max);
    budget.min_concurrency = static_cast<std::uint32_t>(minimum.value_or(budget.min_concurrency));
    if (auto interval = reader.duration("budgetInterval", ZeroDuration::allowed);
        interval && *interval > Duration::zero()) {
        reader.report().warn("ORL003",
                             reader.line_of("budgetInterval"),
                             reader.path_of("budgetInterval"),
                             "accepted, not enforced: the budget counts the requests in flight",
                             "leave it out, or write 0s");
    }
    return budget;
}

enum class PolicyLevel : unsigned char { destination, port };

TrafficPolicySpec read_policy(const DecodeContext& context,
                              const Node& node,
                              const std::string& path,
                              PolicyLevel level) {
    TrafficPolicySpec out;
    out.source = context.ref_at(node.line);
    FieldReader policy(context.report, &node, path);
    out.load_balancer = read_load_balancer(policy);
    out.pool = read_connection_pool(policy, "connectionPool");
    out.outlier = read_outlier(policy);
    out.tls = read_tls(policy);
    if (level == PolicyLevel::port) {
        policy.take("port");
        return out;
    }
    out.retry_budget = read_retry_budget(policy);
    policy.each("portLevelSettings", [&](const Node& item, const std::string& item_path) {
        FieldReader port(context.report, item.find("port"), item_path + ".port");
        auto number = read_port(port, "number");
        if (!number) {
            if (!port.has("number")) {
                context.report.error(item.line, item_path + ".port", "number is missing");
            }
            return;
        }
        auto setting = read_policy(context, item, item_path, PolicyLevel::port);
        if (!out.ports.emplace(*number, std::move(setting)).second) {
            context.report.error(
                item.line, item_path, fmt::format("port {} appears twice", *number));
        }
    });
    policy.accept_unenforced({"tunnel", "proxyProtocol"});
    if (policy.present() && policy.empty()) {
        policy.error_here("traffic policy must have at least one field");
    }
    return out;
}

void read_subset(const DecodeContext& context,
                 const Node& item,
                 const std::string& path,
                 DestinationRuleSpec& out) {
    FieldReader reader(context.report, &item, path);
    SubsetSpec subset;
    subset.line = item.line;
    subset.name = reader.text_or("name", "");
    subset.labels = reader.labels("labels");
    if (const Node* policy = reader.take("trafficPolicy")) {
        subset.policy =
            read_policy(context, *policy, path + ".trafficPolicy", PolicyLevel::destination);
    }
    if (!is_dns_label(subset.name)) {
        reader.error("name",
                     subset.name.empty()
                         ? std::string("subset must have a name")
                         : fmt::format("subset name \"{:.80}\" is invalid", subset.name));
    }
    if (std::ranges::find(out.subsets, subset.name, &SubsetSpec::name) != out.subsets.end()) {
        reader.error("name", fmt::format("duplicate subset name: {:.80}", subset.name));
    }
    out.subsets.push_back(std::move(subset));
}

}  // namespace

TrafficPolicySpec
decode_traffic_policy(const DecodeContext& context, const Node& node, const std::string& path) {
    return read_policy(context, node, path, PolicyLevel::destination);
}

ObjectSpec decode_destination_rule(const DecodeContext& context) {
    DestinationRuleSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    if (!spec.present()) {
        context.report.error(context.root.line, "spec", "spec is missing");
        return out;
    }
    out.host = to_lower(spec.text_or("host", ""));
    if (!is_host_pattern(out.host)) {
        spec.error("host",
                   out.host.empty() ? std::string("host is missing")
                                    : fmt::format("\"{:.80}\" is no host name", out.host));
    }
    if (const Node* policy = spec.take("trafficPolicy")) {
        out.policy = std::make_shared<const TrafficPolicySpec>(
            read_policy(context, *policy, "spec.trafficPolicy", PolicyLevel::destination));
    }
    spec.each("subsets", [&](const Node& item, const std::string& path) {
        read_subset(context, item, path, out);
    });
    out.export_to = read_export_to(spec);
    FieldReader selector(context.report, spec.take("workloadSelector"), "spec.workloadSelector");
    out.workload_selector = selector.labels("matchLabels");
    if (selector.present()) {
        context.report.warn("ORL003",
                            selector.line(),
                            selector.path(),
                            "a rule for selected workloads is accepted, not enforced yet");
    }
    return out;
}

}  // namespace orlop::control
