#include "daemon/app/api.h"

#include "daemon/app/api_cores.h"
#include "daemon/app/api_views.h"
#include "daemon/app/daemon.h"
#include "daemon/app/log_target.h"
#include "daemon/app/version.h"
#include "daemon/base/log.h"
#include "daemon/control/analyze.h"
#include "daemon/telemetry/request_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unistd.h>

namespace orlop::app {

using nlohmann::json;

namespace {

admin::Response answer(const json& body, int status = 200) {
    return {status,
            body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
            "application/json"};
}

admin::Response refuse(int status, const std::string& message) {
    return answer({{"error", message}}, status);
}

std::uint64_t resident_bytes() {
    std::FILE* file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr) {
        return 0;
    }
    char text[128] = {};
    std::size_t size = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    std::string_view view(text, size);
    std::size_t space = view.find(' ');
    std::uint64_t pages = 0;
    if (space != std::string_view::npos) {
        std::from_chars(text + space + 1, text + size, pages);
    }
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

json counted(const control::Findings& findings) {
    std::map<std::string, std::size_t> count = {{"error", 0}, {"warning", 0}, {"info", 0}};
    for (const auto& finding : findings) {
        ++count[control::severity_name(finding.severity)];
    }
    return json(count);
}

// Hands each finished exchange's line to the ring.
void tap_lines(proxy::ProxyCore& core, const std::shared_ptr<admin::LineRing>& ring) {
    core.set_line_tap([ring](const telemetry::RequestRecord& record, std::string_view line) {
        admin::LineRing::Line kept;
        kept.at = std::chrono::system_clock::now();
        kept.source = record.downstream_remote ? record.downstream_remote->ip : IpAddress();
        kept.destination = record.upstream_host ? record.upstream_host->ip : IpAddress();
        kept.text = std::string(line);
        ring->add(std::move(kept));
    });
    core.outliers().set_line_tap(
        [ring](const IpAddress& caller, const SocketAddress& endpoint, std::string_view line) {
            ring->add({std::chrono::system_clock::now(), caller, endpoint.ip, std::string(line)});
        });
}

}  // namespace

Api::Api(Daemon& daemon) : daemon_(daemon), started_(std::chrono::system_clock::now()) {
    keep_recent_lines();
}

void Api::keep_recent_lines() {
    for (std::size_t i = 0; i < daemon_.cores().size(); ++i) {
        auto ring = std::make_shared<admin::LineRing>();
        recent_lines_.push_back(ring);
        daemon_.cores().tell(i, [ring](proxy::ProxyCore& core) { tap_lines(core, ring); });
    }
}

runtime::Task<admin::Response> Api::handle(const admin::Request& request) {
    if (request.entrance != admin::Entrance::unix_socket) {
        co_return public_answer(request);
    }
    if (request.method == "POST") {
        if (request.path == "/apply" || request.path == "/delete") {
            co_return co_await change(request);
        }
        if (request.path == "/refresh") {
            co_await bring_into_force();
            co_return answer({{"generation", daemon_.control().snapshot()->generation()}});
        }
        if (request.path == "/log") {
            co_return set_level(request);
        }
        co_return public_answer(request);
    }
    if (request.method != "GET") {
        co_return refuse(405, "only GET and POST are served");
    }
    if (request.path == "/status") {
        co_return co_await status();
    }
    if (request.path == "/explain") {
        std::string id = request.parameter("id");
        co_return co_await explain(id);
    }
    if (request.path == "/logs") {
        co_return co_await logs(request);
    }
    co_return look_up(request);
}

admin::Response Api::public_answer(const admin::Request& request) {
    if (request.path == "/healthz/ready") {
        return daemon_.ready() ? admin::Response{200, "ready\n"}
                               : admin::Response{503, "not ready\n"};
    }
    if (request.path == "/metrics" || request.path == "/stats/prometheus") {
        return {200, metrics(), "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (request.path == "/quitquitquit") {
        return {200, "OK\n"};
    }
    return {404, "not found\n"};
}

std::string Api::metrics() {
    std::vector<telemetry::Sample> samples;
    for (const auto& counter : daemon_.datapath().counters()) {
        samples.push_back({"orlop_capture_total",
                           "Verdicts of the capture programs, by reason.",
                           telemetry::SampleType::counter,
                           {{"reason", std::string(counter.name)}},
                           static_cast<double>(counter.count)});
    }
    samples.push_back({"orlop_snapshot_generation",
                       "Generation of the configuration in force.",
                       telemetry::SampleType::gauge,
                       {},
                       static_cast<double>(daemon_.control().snapshot()->generation())});
    return telemetry::prometheus_text(daemon_.metrics(), {version}, samples);
}

// --- what there is ---

admin::Response Api::look_up(const admin::Request& request) {
    ControlPlane& control = daemon_.control();
    if (request.path == "/objects") {
        std::string kind = request.parameter("kind");
        ObjectQuery query{kind.empty() ? "" : canonical_kind(kind),
                          request.parameter("namespace"),
                          request.parameter("name")};
        if (!kind.empty() && query.kind.empty()) {
            return refuse(404,
                          "unknown kind '" + kind +
                              "'; try virtualservices, "
                              "destinationrules, peerauthentications, services, pods");
        }
        return answer({{"objects", objects_json(control.store(), control.findings(), query)}});
    }
    if (request.path == "/analyze") {
        auto findings = control::analyze(control.store(), {daemon_.options().node_name});
        return answer({{"findings", findings_json(findings)}});
    }
    if (request.path == "/log") {
        return {200, list_log_levels()};
    }
    if (request.path.starts_with("/config/")) {
        return config(request.path.substr(8));
    }
    return public_answer(request);
}

admin::Response Api::config(const std::string& table) {
    const model::Snapshot& snapshot = *daemon_.control().snapshot();
    json rows;
    if (table == "workloads") {
        rows = workloads_json(snapshot);
    } else if (table == "routes") {
        rows = routes_json(snapshot);
    } else if (table == "destinations") {
        rows = destinations_json(snapshot);
    } else if (table == "endpoints") {
        rows = endpoints_json(snapshot);
    } else if (table == "policies") {
        rows = policies_json(snapshot);
    } else if (table == "certs") {
        rows = certificates_json(daemon_.certificates().status(),
                                 daemon_.certificates().ca_not_after());
    } else {
        return refuse(404,
                      "unknown table '" + table +
                          "'; there are workloads, routes, "
                          "destinations, endpoints, policies, certs");
    }
    return answer({{"generation", snapshot.generation()}, {table, std::move(rows)}});
}

std::string Api::why_pending(const model::Workload& workload) const {
    if (workload.netns.empty()) {
        return "its network namespace is not known yet";
    }
    std::string reason = daemon_.enrolment().failure_of(workload.uid);
    return reason.empty() ? "capture is about to start" : reason + "; it is tried again";
}

json Api::pods_json() {
    auto redirected = daemon_.enrolment().redirected();
    std::set<std::string> captured(redirected.begin(), redirected.end());
    json pending = json::array();
    json leaving = json::array();
    std::size_t enrolled = 0;
    std::size_t local = 0;
    for (const auto& workload : daemon_.control().snapshot()->local_workloads()) {
        ++local;
        std::string name = workload->ns + "/" + workload->name;
        bool now = captured.contains(workload->uid);
        enrolled += now ? 1 : 0;
        if (workload->enrol_wanted && !now) {
            pending.push_back({{"pod", name}, {"reason", why_pending(*workload)}});
        }
        if (daemon_.enrolment().is_leaving(workload->uid)) {
            leaving.push_back(name);
        }
    }
    return {{"local", local},
            {"enrolled", enrolled},
            {"pending", std::move(pending)},
            {"leaving", std::move(leaving)}};
}

namespace {

json gateways_json(const GatewayListeners& listeners) {
    json out = json::array();
    for (const GatewayPortStatus& port : listeners.status()) {
        out.push_back({{"address", port.address.to_string()}, {"failure", port.failure}});
    }
    return out;
}

}  // namespace

runtime::Task<admin::Response> Api::status() {
    auto uids = std::make_shared<const std::vector<std::string>>(daemon_.enrolment().redirected());
    std::function<std::size_t(proxy::ProxyCore&)> count = [uids](proxy::ProxyCore& core) {
        std::size_t sum = 0;
        for (const auto& uid : *uids) {
            sum += core.live_connections(uid);
        }
        return sum;
    };
    auto live = co_await ask_cores<std::size_t>(&daemon_.loop(), &daemon_.cores(), count);
    std::size_t connections = 0;
    for (std::size_t one : live) {
        connections += one;
    }
    ControlPlane& control = daemon_.control();
    control::Findings findings = control.store().findings();
    findings.insert(findings.end(), control.findings().begin(), control.findings().end());
    json body = {{"node", daemon_.options().node_name},
                 {"version", version},
                 {"instance", daemon_.options().instance},
                 {"ready", daemon_.ready()},
                 {"startedAt", rfc3339(started_)},
                 {"generation", control.snapshot()->generation()},
                 {"cores", daemon_.cores().size()},
                 {"configDir", daemon_.options().config_dir},
                 {"trustDomain", control.snapshot()->mesh().trust_domain},
                 {"memoryBytes", resident_bytes()},
                 {"connections", connections},
                 {"objects", control.store().object_count()},
                 {"findings", counted(findings)},
                 {"certificates", daemon_.certificates().status().size()},
                 {"caNotAfter", rfc3339(daemon_.certificates().ca_not_after())},
                 {"logLinesDropped", log_lines_dropped()},
                 {"gateways", gateways_json(daemon_.gateways())},
                 {"pods", pods_json()}};
    co_return answer(body);
}

// --- changes ---

runtime::Task<void> Api::bring_into_force() {
    daemon_.refresh();
    std::function<char(proxy::ProxyCore&)> nothing = [](proxy::ProxyCore&) { return '\0'; };
    // Messages arrive in order: whoever answers has the snapshot.
    (void)co_await ask_cores<char>(&daemon_.loop(), &daemon_.cores(), nothing);
}

namespace {

// What the compiler says now about the objects of a plan.
void add_warnings(const control::Findings& findings, ApplyPlan& plan) {
    std::set<control::ObjectKey> keys;
    for (const auto& change : plan.changes) {
        keys.insert(change.key);
    }
    for (const auto& finding : findings) {
        if (finding.severity != control::Severity::info && keys.contains(finding.object)) {
            plan.warnings.push_back(finding);
        }
    }
}

ApplyPlan plan_of(const admin::Request& request,
                  const control::ObjectStore& store,
                  const std::string& directory) {
    ApplyRequest wish{request.body, request.parameter("file"), request.parameter("namespace")};
    wish.ns = wish.ns.empty() ? "default" : wish.ns;
    if (request.path == "/apply") {
        return plan_apply(store, directory, wish, now_ns());
    }
    if (!request.body.empty()) {
        return plan_delete(store, directory, wish);
    }
    control::ObjectKey key{
        canonical_kind(request.parameter("kind")), wish.ns, request.parameter("name")};
    control::ObjectKey cluster_wide{key.kind, "", key.name};
    bool wide = store.find(key) == nullptr && store.find(cluster_wide) != nullptr;
    return plan_delete(store, directory, wide ? cluster_wide : key);
}

}  // namespace

runtime::Task<admin::Response> Api::change(const admin::Request& request) {
    daemon_.refresh();  // the plan must see files as they are
    ControlPlane& control = daemon_.control();
    ApplyPlan plan = plan_of(request, control.store(), daemon_.options().config_dir);
    if (!plan.refusals.empty()) {
        co_return answer(changes_json(plan), 422);
    }
    if (request.parameter("dry-run") == "true") {
        co_return answer(changes_json(plan));
    }
    if (auto written = carry_out(plan); !written) {
        daemon_.wake();
        co_return refuse(500, written.error().context);
    }
    co_await bring_into_force();
    if (request.path == "/apply") {
        add_warnings(control.findings(), plan);
    }
    json body = changes_json(plan);
    body["generation"] = control.snapshot()->generation();
    co_return answer(body);
}

admin::Response Api::set_level(const admin::Request& request) {
    auto level = parse_log_level(request.parameter("level"));
    if (!level) {
        return refuse(400, level.error().context);
    }
    std::string component = request.parameter("component");
    if (auto set = set_log_level(component.empty() ? "all" : component, *level); !set) {
        return refuse(404, set.error().context);
    }
    return {200, list_log_levels()};
}

// --- what happened ---

runtime::Task<admin::Response> Api::explain(const std::string& id) {
    auto wanted = std::make_shared<const std::string>(id);
    using Found = std::optional<std::string>;
    std::function<Found(proxy::ProxyCore&)> find = [wanted](proxy::ProxyCore& core) {
        return core.explain().find_text(*wanted);
    };
    auto texts = co_await ask_cores<Found>(&daemon_.loop(), &daemon_.cores(), find);
    std::string all;
    for (const auto& text : texts) {
        all += text ? (all.empty() ? "" : "\n") + *text : "";
    }
    if (all.empty()) {
        co_return refuse(404,
                         "no request with id '" + id +
                             "' is remembered here; ids are in x-request-id and in the "
                             "access log, and the node that sent the request knows it");
    }
    co_return admin::Response{200, std::move(all)};
}

runtime::Task<admin::Response> Api::logs(const admin::Request& request) {
    std::string since_text = request.parameter("since");
    std::int64_t since_ns = 0;
    std::from_chars(since_text.data(), since_text.data() + since_text.size(), since_ns);
    WallTime since{
        std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(since_ns))};
    auto snapshot = daemon_.control().snapshot();
    auto named = log_addresses(daemon_.control().store(), *snapshot, request.parameter("pod"));
    if (!named) {
        int status = named.error().kind == ErrorKind::not_found ? 404 : 400;
        co_return refuse(status, named.error().context);
    }
    auto addresses = std::make_shared<std::vector<IpAddress>>(*std::move(named));
    using Lines = std::vector<admin::LineRing::Line>;
    std::function<Lines(proxy::ProxyCore&)> find = [this, addresses, since](proxy::ProxyCore& c) {
        return recent_lines_[c.index()]->find(*addresses, since);
    };
    auto found = co_await ask_cores<Lines>(&daemon_.loop(), &daemon_.cores(), find);
    Lines all;
    for (auto& lines : found) {
        std::ranges::move(lines, std::back_inserter(all));
    }
    std::ranges::sort(all, {}, &admin::LineRing::Line::at);
    json rows = json::array();
    for (const auto& line : all) {
        rows.push_back(
            {{"atNs",
              std::chrono::duration_cast<std::chrono::nanoseconds>(line.at.time_since_epoch())
                  .count()},
             {"text", line.text}});
    }
    bool off = snapshot->mesh().access_log == model::AccessLogEncoding::off;
    co_return answer({{"lines", std::move(rows)}, {"accessLog", off ? "off" : "on"}});
}

}  // namespace orlop::app
