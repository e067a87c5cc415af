#include "daemon/app/api_views.h"

#include "daemon/base/clock.h"
#include "daemon/control/objects/validate.h"
#include "daemon/control/yaml_document.h"
#include "daemon/decide/outlier.h"
#include "daemon/model/authorization.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace orlop::app {

using nlohmann::json;

namespace {

double to_ms(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

const char* mode_name(model::MtlsMode mode) {
    switch (mode) {
    case model::MtlsMode::unset:
        return "UNSET";
    case model::MtlsMode::disable:
        return "DISABLE";
    case model::MtlsMode::permissive:
        return "PERMISSIVE";
    case model::MtlsMode::strict:
        break;
    }
    return "STRICT";
}

const char* protocol_name(model::Protocol protocol) {
    switch (protocol) {
    case model::Protocol::undeclared:
        return "auto";
    case model::Protocol::http1:
        return "HTTP";
    case model::Protocol::http2:
        return "HTTP2";
    case model::Protocol::grpc:
        return "GRPC";
    case model::Protocol::tls:
        return "TLS";
    case model::Protocol::tcp:
        return "TCP";
    case model::Protocol::udp:
        break;
    }
    return "UDP";
}

const char* balancing_name(const model::TrafficPolicy& policy) {
    switch (policy.load_balancing) {
    case model::LoadBalancing::least_request:
        return "LEAST_REQUEST";
    case model::LoadBalancing::round_robin:
        return "ROUND_ROBIN";
    case model::LoadBalancing::random:
        return "RANDOM";
    case model::LoadBalancing::passthrough:
        return "PASSTHROUGH";
    case model::LoadBalancing::consistent_hash:
        break;
    }
    return "CONSISTENT_HASH";
}

json source_json(const model::ObjectRefPtr& source) {
    if (!source) {
        return nullptr;
    }
    return {{"kind", source->kind},
            {"namespace", source->ns},
            {"name", source->name},
            {"file", source->file},
            {"line", source->line}};
}

std::string match_text(const model::StringMatch& match) {
    switch (match.kind) {
    case model::StringMatch::Kind::present:
        return "present";
    case model::StringMatch::Kind::exact:
        return match.text;
    case model::StringMatch::Kind::prefix:
        return match.text + "*";
    case model::StringMatch::Kind::regex:
        break;
    }
    return "regex " + match.text;
}

std::string match_text(const model::HttpMatch& match) {
    std::string text = match.uri ? match_text(*match.uri) : "/*";
    auto also = [&text](std::string_view what, const model::StringMatch& one) {
        text += fmt::format(", {}: {}", what, match_text(one));
    };
    if (match.method) {
        also("method", *match.method);
    }
    if (match.authority) {
        also("authority", *match.authority);
    }
    for (const auto& [name, one] : match.headers) {
        also(name, one);
    }
    for (const auto& [name, one] : match.without_headers) {
        also("not " + name, one);
    }
    for (const auto& [name, one] : match.query_params) {
        also("?" + name, one);
    }
    return text;
}

json route_json(const model::HttpRoute& route) {
    json matches = json::array();
    for (const auto& match : route.matches) {
        matches.push_back(match_text(match));
    }
    json destinations = json::array();
    for (const auto& choice : route.destinations) {
        destinations.push_back(
            {{"cluster", choice.destination ? choice.destination->cluster_name : ""},
             {"wanted", choice.wanted},
             {"weight", choice.weight}});
    }
    json out = {{"name", route.name},
                {"matches", std::move(matches)},
                {"destinations", std::move(destinations)},
                {"timeoutMs", nullptr},
                {"retries", {{"attempts", route.retries.attempts}, {"perTryTimeoutMs", nullptr}}},
                {"source", source_json(route.source)},
                {"timeoutSource", source_json(route.timeout_source)}};
    if (route.timeout) {
        out["timeoutMs"] = to_ms(*route.timeout);
    }
    if (route.retries.per_try_timeout) {
        out["retries"]["perTryTimeoutMs"] = to_ms(*route.retries.per_try_timeout);
    }
    out["retries"]["source"] = source_json(route.retries.source);
    return out;
}

json limits_json(const model::ConnectionPoolLimits& pool) {
    json out = {{"connectTimeoutMs", to_ms(pool.connect_timeout)}};
    auto add = [&out](const char* name, const std::optional<std::uint32_t>& value) {
        if (value) {
            out[name] = *value;
        }
    };
    add("maxConnections", pool.max_connections);
    add("http1MaxPendingRequests", pool.http1_max_pending_requests);
    add("http2MaxRequests", pool.http2_max_requests);
    add("maxRequestsPerConnection", pool.max_requests_per_connection);
    add("maxRetries", pool.max_retries);
    add("maxConcurrentStreams", pool.max_concurrent_streams);
    if (pool.tcp_idle_timeout) {
        out["tcpIdleTimeoutMs"] = to_ms(*pool.tcp_idle_timeout);
    }
    if (pool.http_idle_timeout) {
        out["httpIdleTimeoutMs"] = to_ms(*pool.http_idle_timeout);
    }
    if (pool.max_connection_duration) {
        out["maxConnectionDurationMs"] = to_ms(*pool.max_connection_duration);
    }
    return out;
}

json object_json(const control::StoredObject& entry, const control::Findings& compiled) {
    json findings = findings_json(entry.findings);
    for (const auto& finding : compiled) {
        if (finding.object == entry.key) {
            findings.push_back(finding_json(finding));
        }
    }
    json out = {{"kind", entry.key.kind},
                {"namespace", entry.key.ns},
                {"name", entry.key.name},
                {"state", control::state_name(entry.state)},
                {"file", entry.source},
                {"line", entry.line},
                {"createdNs", entry.created_ns},
                {"findings", std::move(findings)},
                {"yaml", ""}};
    if (entry.object) {
        out["apiVersion"] = entry.object->api_version;
        out["labels"] = json(entry.object->meta.labels);
        out["yaml"] = entry.object->written;
        if (auto tree = control::parse_yaml(entry.object->written); tree && tree->size() == 1) {
            out["object"] = json::parse(control::to_json(tree->front()),
                                        nullptr,
                                        /*allow_exceptions=*/false);
        }
    }
    return out;
}

json policy_names(const std::vector<model::AuthorizationPolicyPtr>& policies) {
    json out = json::array();
    for (const auto& policy : policies) {
        out.push_back(policy->source->ns + "/" + policy->source->name +
                      (policy->dry_run ? " (dry run)" : ""));
    }
    return out;
}

// AuthorizationPolicies that apply to the pod, by action.
json authorization_json(const model::AuthorizationPtr& all) {
    if (all == nullptr) {
        return json::object();
    }
    return {{"deny", policy_names(all->deny)},
            {"allow", policy_names(all->allow)},
            {"audit", policy_names(all->audit)}};
}

json policy_row(const model::Workload& workload) {
    json ports = json::object();
    for (const auto& [port, mode] : workload.port_mtls) {
        ports[std::to_string(port)] = mode_name(mode);
    }
    return {{"namespace", workload.ns},
            {"pod", workload.name},
            {"mtls", mode_name(workload.mtls)},
            {"portLevelMtls", std::move(ports)},
            {"authorization", authorization_json(workload.authorization)},
            {"networkPolicy", workload.network_policy_selected},
            {"enrolled", workload.enrol_wanted}};
}

}  // namespace

std::string rfc3339(WallTime time) {
    std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32];
    std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text, size};
}

json finding_json(const control::Finding& finding) {
    return {{"severity", control::severity_name(finding.severity)},
            {"code", finding.code},
            {"kind", finding.object.kind},
            {"namespace", finding.object.ns},
            {"name", finding.object.name},
            {"file", finding.file},
            {"line", finding.line},
            {"path", finding.path},
            {"message", finding.message},
            {"hint", finding.hint},
            {"text", finding.to_string()}};
}

json findings_json(const control::Findings& findings) {
    json out = json::array();
    for (const auto& finding : findings) {
        out.push_back(finding_json(finding));
    }
    return out;
}

json objects_json(const control::ObjectStore& store,
                  const control::Findings& compiled,
                  const ObjectQuery& query) {
    json out = json::array();
    for (const auto* entry : store.objects(query.kind, query.ns)) {
        if (query.name.empty() || entry->key.name == query.name) {
            out.push_back(object_json(*entry, compiled));
        }
    }
    return out;
}

json workloads_json(const model::Snapshot& snapshot) {
    json out = json::array();
    for (const auto& workload : snapshot.workloads()) {
        json addresses = json::array();
        for (const auto& address : workload->addresses) {
            addresses.push_back(address.to_string());
        }
        out.push_back({{"namespace", workload->ns},
                       {"pod", workload->name},
                       {"uid", workload->uid},
                       {"addresses", std::move(addresses)},
                       {"node", workload->node},
                       {"workload", workload->workload_name},
                       {"identity", workload->identity.to_string()},
                       {"protocol", workload->redirected ? "HBONE" : "TCP"},
                       {"local", workload->local},
                       {"enrolled", workload->enrol_wanted},
                       {"ready", workload->ready},
                       {"mtls", mode_name(workload->mtls)}});
    }
    return out;
}

json routes_json(const model::Snapshot& snapshot) {
    json out = json::array();
    for (const auto& host : snapshot.virtual_hosts()) {
        json routes = json::array();
        for (const auto& route : host->routes) {
            routes.push_back(route_json(route));
        }
        out.push_back({{"host", host->host},
                       {"port", host->port},
                       {"source", source_json(host->source)},
                       {"routes", std::move(routes)}});
    }
    return out;
}

json destinations_json(const model::Snapshot& snapshot) {
    json out = json::array();
    for (const auto& destination : snapshot.destinations()) {
        out.push_back({{"cluster", destination->cluster_name},
                       {"host", destination->service ? destination->service->host : ""},
                       {"port", destination->port.port},
                       {"subset", destination->subset},
                       {"protocol", protocol_name(destination->port.protocol)},
                       {"loadBalancing", balancing_name(destination->policy)},
                       {"limits", limits_json(destination->policy.pool)},
                       {"outlierDetection", destination->policy.outlier.has_value()},
                       {"endpoints", destination->endpoints.size()},
                       {"source", source_json(destination->policy.source)}});
    }
    return out;
}

namespace {

// What the outlier detector says about endpoint `index`, as istioctl's OUTLIER CHECK.
json outlier_json(const model::Destination& destination, std::size_t index) {
    if (!destination.policy.outlier || index >= destination.health.size()) {
        return {{"check", "OK"}};
    }
    const model::EndpointHealth& cell = *destination.health[index];
    json out = {{"check", cell.ejected() ? "FAILED" : "OK"},
                {"ejections", cell.ejections.load()},
                {"lastErrors", decide::last_errors_text(cell)}};
    if (cell.ejected()) {
        const Duration left = Instant(Duration(cell.ejected_until.load())) - monotonic_now();
        out["backInMs"] = std::max(to_ms(left), 0.0);
    }
    return out;
}

}  // namespace

json endpoints_json(const model::Snapshot& snapshot) {
    json out = json::array();
    for (const auto& destination : snapshot.destinations()) {
        for (std::size_t i = 0; i < destination->endpoints.size(); ++i) {
            const model::Endpoint& endpoint = destination->endpoints[i];
            const auto* workload = endpoint.workload.get();
            out.push_back({{"endpoint", endpoint.address.to_string()},
                           {"status", "HEALTHY"},  // others are not in the table
                           {"outlier", outlier_json(*destination, i)},
                           {"cluster", destination->cluster_name},
                           {"weight", endpoint.weight},
                           {"pod", workload ? workload->ns + "/" + workload->name : ""},
                           {"protocol", workload && workload->redirected ? "HBONE" : "TCP"}});
        }
    }
    return out;
}

json policies_json(const model::Snapshot& snapshot) {
    json out = json::array();
    for (const auto& workload : snapshot.workloads()) {
        out.push_back(policy_row(*workload));
    }
    return out;
}

json certificates_json(const std::vector<CertificateStatus>& certificates, WallTime ca_not_after) {
    json out = json::array();
    for (const auto& one : certificates) {
        out.push_back({{"identity", one.identity},
                       {"type", "Leaf"},
                       {"serial", one.serial},
                       {"notBefore", rfc3339(one.not_before)},
                       {"notAfter", rfc3339(one.not_after)},
                       {"renewAt", rfc3339(one.renew_at)}});
    }
    out.push_back({{"identity", "certificate authority"},
                   {"type", "Root"},
                   {"serial", ""},
                   {"notBefore", ""},
                   {"notAfter", rfc3339(ca_not_after)},
                   {"renewAt", ""}});
    return out;
}

json changes_json(const ApplyPlan& plan) {
    json results = json::array();
    for (const auto& change : plan.changes) {
        results.push_back({{"object", control::to_lower(change.key.kind) + "/" + change.key.name},
                           {"kind", change.key.kind},
                           {"namespace", change.key.ns},
                           {"name", change.key.name},
                           {"action", change.action}});
    }
    return {{"results", std::move(results)},
            {"warnings", findings_json(plan.warnings)},
            {"errors", findings_json(plan.refusals)}};
}

}  // namespace orlop::app
