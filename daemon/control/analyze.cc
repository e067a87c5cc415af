#include "daemon/control/analyze.h"

#include "daemon/control/analyze_checks.h"
#include "daemon/control/compile.h"
#include "daemon/control/compile/routes.h"
#include "daemon/control/compile/rules.h"
#include "daemon/control/compile/services.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace orlop::control {
namespace {

std::int64_t to_ms(Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

void check_times(const HttpRouteSpec& route, const std::string& path, FindingSink& findings) {
    if (!route.timeout || !route.retries || !route.retries->per_try_timeout) {
        return;
    }
    Duration timeout = *route.timeout;
    Duration per_try = *route.retries->per_try_timeout;
    if (per_try >= timeout) {
        findings.warn("ORL005",
                      route.retries->source,
                      path + ".retries.perTryTimeout",
                      fmt::format("{} ms is not below the timeout of {} ms and is ignored",
                                  to_ms(per_try),
                                  to_ms(timeout)),
                      "lower perTryTimeout or raise timeout");
        return;
    }
    std::int64_t tries = 1 + static_cast<std::int64_t>(route.retries->attempts);
    std::int64_t fit = (timeout.count() + per_try.count() - 1) / per_try.count();
    if (tries > fit) {
        findings.warn("ORL006",
                      route.retries->source,
                      path + ".retries",
                      fmt::format("{} tries of {} ms do not fit into the timeout of {} ms",
                                  tries,
                                  to_ms(per_try),
                                  to_ms(timeout)),
                      fmt::format("at most {} tries can start when each one times out", fit));
    }
}

void check_reach(const VirtualServiceSpec& spec, FindingSink& findings) {
    std::set<std::string> seen;
    const HttpRouteSpec* everything = nullptr;
    for (std::size_t i = 0; i < spec.http.size(); ++i) {
        const HttpRouteSpec& route = spec.http[i];
        std::string path = fmt::format("spec.http[{}]", i);
        std::string key = match_key(route);
        if (everything != nullptr) {
            findings.warn("IST0130",
                          route.source,
                          path,
                          fmt::format("never reached: the route of line {} matches everything",
                                      everything->source->line),
                          "move it before that route");
        } else if (!seen.insert(key).second) {
            findings.warn("IST0131",
                          route.source,
                          path,
                          "never reached: an earlier route has the same match",
                          "remove it");
        }
        bool gateways = std::ranges::any_of(
            route.matches, [](const MatchSpec& match) { return !match.gateways.empty(); });
        if (key.empty() && !gateways) {
            everything = everything == nullptr ? &route : everything;
        }
    }
}

// Hosts of a gateway's server: `*.a.example` and `b.a.example` have requests in common.
bool have_common_names(const std::string& a, const std::string& b) {
    return pattern_covers(a, b) || pattern_covers(b, a);
}

bool serves(const GatewaySpec& gateway,
            const Object& gateway_object,
            const std::string& host,
            const std::string& ns) {
    return std::ranges::any_of(gateway.servers, [&](const GatewayServerSpec& server) {
        return std::ranges::any_of(server.hosts, [&](const GatewayServerSpec::Host& served) {
            bool visible = served.ns == "*" || served.ns == ns ||
                           (served.ns == "." && ns == gateway_object.key.ns);
            return visible && have_common_names(served.name, host);
        });
    });
}

// A missing Gateway is reported by compile.
void check_gateways(const ObjectStore& store,
                    const Object& object,
                    const VirtualServiceSpec& spec,
                    const model::MeshConfig& mesh,
                    FindingSink& findings) {
    for (const std::string& gateway : spec.gateways) {
        std::size_t slash = gateway.find('/');
        std::string ns = slash == std::string::npos ? object.key.ns : gateway.substr(0, slash);
        std::string name = slash == std::string::npos ? gateway : gateway.substr(slash + 1);
        auto* found = store.find({"Gateway", ns == "." ? object.key.ns : ns, name});
        if (found == nullptr || !found->object) {
            continue;
        }
        for (const std::string& written : spec.hosts) {
            std::string host = full_host(written, object.key.ns, mesh);
            if (!serves(std::get<GatewaySpec>(found->object->spec),
                        *found->object,
                        host,
                        object.key.ns)) {
                findings.warn("IST0132",
                              object.ref,
                              "spec.hosts",
                              fmt::format("host {} is in no server of gateway {}", host, gateway),
                              "requests for it are answered 404 there; add the host to the "
                              "Gateway, or the Gateway's host here");
            }
        }
    }
}

void check_virtual_services(const ObjectStore& store,
                            const model::MeshConfig& mesh,
                            FindingSink& findings) {
    for (const ObjectPtr& object : store.in_creation_order("VirtualService")) {
        const auto& spec = std::get<VirtualServiceSpec>(object->spec);
        for (std::size_t i = 0; i < spec.http.size(); ++i) {
            check_times(spec.http[i], fmt::format("spec.http[{}]", i), findings);
        }
        check_reach(spec, findings);
        check_gateways(store, *object, spec, mesh, findings);
    }
}

bool has_labels(const model::Labels& labels, const model::Labels& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& entry) {
        auto found = labels.find(entry.first);
        return found != labels.end() && found->second == entry.second;
    });
}

using Pods = std::vector<model::WorkloadPtr>;

bool any_pod(const Pods& pods, const std::string& ns, const model::Labels& labels) {
    return std::ranges::any_of(pods, [&](const model::WorkloadPtr& workload) {
        return workload->ns == ns && has_labels(workload->labels, labels);
    });
}

void check_limits(const Object& object, const DestinationRuleSpec& spec, FindingSink& findings) {
    if (!spec.policy || !spec.policy->outlier) {
        return;
    }
    const model::OutlierDetection& outlier = *spec.policy->outlier;
    if (outlier.consecutive_5xx == 0 && outlier.consecutive_gateway == 0 &&
        !outlier.split_local_origin) {
        findings.warn("ORL008",
                      object.ref,
                      "spec.trafficPolicy.outlierDetection",
                      "no detector is on: nothing is ever ejected",
                      "set consecutive5xxErrors or consecutiveGatewayErrors");
    } else if (outlier.consecutive_gateway >= outlier.consecutive_5xx &&
               outlier.consecutive_5xx > 0 && outlier.consecutive_gateway > 0) {
        findings.warn("ORL008",
                      object.ref,
                      "spec.trafficPolicy.outlierDetection",
                      "consecutiveGatewayErrors has no effect: consecutive5xxErrors is not larger");
    }
}

void check_destination_rules(const ObjectStore& store,
                             const model::Snapshot& snapshot,
                             FindingSink& findings) {
    const Pods pods = snapshot.workloads();
    std::map<std::string, std::string> namespaces;  // host -> namespace of its service
    for (const model::ServicePtr& service : snapshot.services()) {
        namespaces[service->host] = service->ns;
    }
    for (const ObjectPtr& object : store.in_creation_order("DestinationRule")) {
        const auto& spec = std::get<DestinationRuleSpec>(object->spec);
        check_limits(*object, spec, findings);
        std::string host = full_host(spec.host, object->key.ns, snapshot.mesh());
        auto service = namespaces.find(host);
        if (service == namespaces.end()) {
            if (!host.starts_with('*')) {
                findings.warn("IST0101",
                              object->ref,
                              "spec.host",
                              fmt::format("host {} not found", host),
                              "create the Service, or correct the name");
            }
            continue;
        }
        for (const SubsetSpec& subset : spec.subsets) {
            if (!any_pod(pods, service->second, subset.labels)) {
                auto where = std::make_shared<model::ObjectRef>(*object->ref);
                where->line = subset.line;
                findings.warn("IST0119",
                              where,
                              "spec.subsets",
                              fmt::format("no pod has the labels of subset {}", subset.name),
                              "requests to it are answered 503 until there is one");
            }
        }
    }
}

void check_selectors(const ObjectStore& store,
                     const model::Snapshot& snapshot,
                     FindingSink& findings) {
    const Pods pods = snapshot.workloads();
    if (pods.empty()) {
        return;  // files alone: pods are not part of them
    }
    for (const ObjectPtr& object : store.in_creation_order("PeerAuthentication")) {
        const auto& spec = std::get<PeerAuthenticationSpec>(object->spec);
        if (spec.has_selector && !any_pod(pods, object->key.ns, spec.selector)) {
            findings.warn("IST0119",
                          object->ref,
                          "spec.selector",
                          "selects no pod",
                          "compare the labels with those of the pods");
        }
    }
}

}  // namespace

Findings analyze(const ObjectStore& store, const AnalyzeOptions& options) {
    CompileResult compiled = compile(store, {.node = options.node, .generation = 1});
    FindingSink sink;
    check_virtual_services(store, compiled.snapshot->mesh(), sink);
    check_destination_rules(store, *compiled.snapshot, sink);
    check_selectors(store, *compiled.snapshot, sink);
    check_chains(store, compiled.snapshot->mesh(), sink);
    check_weights(*compiled.snapshot, sink);
    check_pool_limits(store, sink);
    check_ports(store, sink);
    check_enrolment(store, *compiled.snapshot, sink);
    Findings out = store.findings();
    for (Findings more : {std::move(compiled.findings), sink.take()}) {
        out.insert(
            out.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    }
    std::set<std::string> seen;
    std::erase_if(out,
                  [&](const Finding& finding) { return !seen.insert(finding.to_string()).second; });
    std::ranges::sort(out, [](const Finding& a, const Finding& b) {
        return std::forward_as_tuple(b.severity, a.file, a.line, a.code, a.path, a.message) <
               std::forward_as_tuple(a.severity, b.file, b.line, b.code, b.path, b.message);
    });
    return out;
}

}  // namespace orlop::control
