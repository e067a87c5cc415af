// Checks about services, pods and limits (see analyze.h for the codes).
#include "daemon/control/analyze_checks.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

namespace orlop::control {
namespace {

void check_choice(const model::HttpRoute& route,
                  const model::WeightedDestination& choice,
                  FindingSink& findings) {
    bool served = choice.destination == nullptr || !choice.destination->endpoints.empty();
    if (served || choice.weight == 0 || route.weight_total == 0) {
        return;  // a null destination is reported by compile as IST0101
    }
    std::string where = choice.destination->subset.empty()
                            ? "service " + choice.wanted
                            : "subset " + choice.destination->subset + " of " + choice.wanted;
    findings.warn("ORL007",
                  route.source,
                  "route",
                  fmt::format("{} % of the requests go to {}, which has no ready endpoint",
                              choice.weight * 100 / route.weight_total,
                              where),
                  "they are answered 503 UH: start pods with its labels, or take its weight away");
}

// Two requests at once cannot both be served: each needs a new connection, and the one slot for
// waiting is taken while it is made (istio-semantics §5, the table of examples).
bool reconnects_for_every_request(const model::ConnectionPoolLimits& pool) {
    return pool.max_connections == 1u && pool.max_requests_per_connection == 1u &&
           pool.http1_max_pending_requests == 1u;
}

void check_pool(const model::ObjectRefPtr& where,
                const std::string& path,
                const model::ConnectionPoolLimits& pool,
                FindingSink& findings) {
    if (reconnects_for_every_request(pool)) {
        findings.warn("ORL008",
                      where,
                      path,
                      "one connection, one request on each and one waiting: every request "
                      "connects anew, and a second one at the same time is refused",
                      "maxRequestsPerConnection: 1 turns keep-alive off; allow more of one of "
                      "the three unless that is what you want to see");
    }
    if (pool.http2_max_requests && pool.max_connections &&
        *pool.http2_max_requests < *pool.max_connections) {
        findings.inform("ORL008",
                        where,
                        path,
                        fmt::format("http2MaxRequests {} holds for HTTP/1.1 as well: more than {} "
                                    "of the {} connections are never used at once",
                                    *pool.http2_max_requests,
                                    *pool.http2_max_requests,
                                    *pool.max_connections),
                        "raise http2MaxRequests or lower maxConnections");
    }
}

bool says_protocol(const model::ServicePort& port) {
    return port.protocol != model::Protocol::undeclared || port.server_first;
}

}  // namespace

void check_weights(const model::Snapshot& snapshot, FindingSink& findings) {
    if (snapshot.workload_count() == 0) {
        return;  // files alone: pods are not part of them
    }
    for (const model::VirtualHostPtr& host : snapshot.virtual_hosts()) {
        for (const model::HttpRoute& route : host->routes) {
            for (const model::WeightedDestination& choice : route.destinations) {
                if (route.source) {
                    check_choice(route, choice, findings);
                }
            }
        }
    }
}

void check_pool_limits(const ObjectStore& store, FindingSink& findings) {
    for (const ObjectPtr& object : store.in_creation_order("DestinationRule")) {
        const auto& spec = std::get<DestinationRuleSpec>(object->spec);
        if (spec.policy && spec.policy->pool) {
            check_pool(spec.policy->source,
                       "spec.trafficPolicy.connectionPool",
                       *spec.policy->pool,
                       findings);
        }
        for (std::size_t i = 0; i < spec.subsets.size(); ++i) {
            const auto& policy = spec.subsets[i].policy;
            if (policy && policy->pool) {
                check_pool(policy->source,
                           fmt::format("spec.subsets[{}].trafficPolicy.connectionPool", i),
                           *policy->pool,
                           findings);
            }
        }
    }
}

void check_ports(const ObjectStore& store, FindingSink& findings) {
    for (const ObjectPtr& object : store.in_creation_order("Service")) {
        const auto& spec = std::get<ServiceSpec>(object->spec);
        for (std::size_t i = 0; i < spec.ports.size(); ++i) {
            const model::ServicePort& port = spec.ports[i];
            if (!says_protocol(port)) {
                findings.inform(
                    "IST0118",
                    object->ref,
                    fmt::format("spec.ports[{}].name", i),
                    fmt::format("port name \"{}\" (port {}) says no protocol: the first bytes "
                                "decide",
                                port.name,
                                port.port),
                    "name it <protocol>[-suffix], as in http-web or tcp-db, or set appProtocol; a "
                    "protocol in which the server speaks first needs tcp");
            }
        }
    }
}

void check_enrolment(const ObjectStore& store,
                     const model::Snapshot& snapshot,
                     FindingSink& findings) {
    std::map<std::string, bool> enrolled;  // namespaces with pods
    for (const model::WorkloadPtr& workload : snapshot.workloads()) {
        bool& any = enrolled[workload->ns];
        any = any || workload->enrol_wanted;
    }
    std::set<std::string> told;
    for (const char* kind :
         {"VirtualService", "DestinationRule", "PeerAuthentication", "RouteRule"}) {
        for (const ObjectPtr& object : store.in_creation_order(kind)) {
            auto pods = enrolled.find(object->key.ns);
            bool silent = pods == enrolled.end() || pods->second;
            if (silent || !told.insert(object->key.ns).second) {
                continue;
            }
            findings.inform("IST0102",
                            object->ref,
                            "metadata.namespace",
                            fmt::format("no pod of namespace {} is in the mesh: requests of its "
                                        "pods follow no rule",
                                        object->key.ns),
                            fmt::format("label the namespace istio.io/dataplane-mode={}",
                                        snapshot.mesh().dataplane_mode));
        }
    }
}

}  // namespace orlop::control
