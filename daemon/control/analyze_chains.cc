// Timeout chains (tutorials 003 and 004): a delay behind a call that gives up earlier, and times
// that do not mean what their author may think.
#include "daemon/control/analyze_checks.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/translate_legacy.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

namespace orlop::control {
namespace {

std::string seconds(Duration duration) {
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
    return ms % 1000 == 0 ? fmt::format("{} s", ms / 1000) : fmt::format("{} ms", ms);
}

// One http[] element with the host it is for.
struct Placed {
    std::string host;
    std::string ns;
    std::string path;
    const HttpRouteSpec* route;
};

std::vector<Placed> all_routes(const std::vector<ObjectPtr>& objects,
                               const model::MeshConfig& mesh) {
    std::vector<Placed> out;
    for (const ObjectPtr& object : objects) {
        const auto& spec = std::get<VirtualServiceSpec>(object->spec);
        for (const std::string& host : spec.hosts) {
            for (std::size_t i = 0; i < spec.http.size(); ++i) {
                out.push_back({full_host(host, object->key.ns, mesh),
                               object->key.ns,
                               fmt::format("spec.http[{}]", i),
                               &spec.http[i]});
            }
        }
    }
    return out;
}

// How long a caller of this route waits at most; zero: as long as it takes.
Duration longest_wait(const HttpRouteSpec& route) {
    Duration tries{};
    if (route.retries && route.retries->per_try_timeout) {
        tries = *route.retries->per_try_timeout * (1 + static_cast<int>(route.retries->attempts));
    }
    if (!route.timeout) {
        return tries;
    }
    return tries == Duration::zero() ? *route.timeout : std::min(tries, *route.timeout);
}

std::string wait_in_words(const HttpRouteSpec& route) {
    if (route.retries && route.retries->per_try_timeout &&
        longest_wait(route) != route.timeout.value_or(Duration::zero())) {
        return fmt::format("{} tries of {}",
                           1 + route.retries->attempts,
                           seconds(*route.retries->per_try_timeout));
    }
    return fmt::format("the timeout of {}", seconds(longest_wait(route)));
}

// Within one route: what neither timeout nor retries reach.
void check_fault_order(const Placed& placed, FindingSink& findings) {
    const HttpRouteSpec& route = *placed.route;
    const model::Fault& fault = *route.fault;
    bool delayed = fault.delay_percent > 0 && fault.delay > Duration::zero();
    bool cut =
        delayed && longest_wait(route) > Duration::zero() && fault.delay >= longest_wait(route);
    if (cut) {
        findings.warn("ORL020",
                      fault.source,
                      placed.path + ".fault.delay",
                      fmt::format("the delay of {} is not bounded by {} of the same route",
                                  seconds(fault.delay),
                                  wait_in_words(route)),
                      "a delay is waited before the first try starts: only the caller's own "
                      "timeout ends it, and no retry follows");
    }
    bool aborted = fault.abort_percent > 0;
    if (aborted && route.retries && route.retries->attempts > 0) {
        findings.inform("ORL020",
                        fault.source,
                        placed.path + ".fault.abort",
                        "aborted requests are not retried by the retries of the same route",
                        "an abort is answered before the router: the service is never called");
    }
}

// The app label of the callers that a route names, else empty.
std::string caller_of(const HttpRouteSpec& route) {
    for (const MatchSpec& match : route.matches) {
        auto app = match.match.source_labels.find("app");
        if (app != match.match.source_labels.end()) {
            return app->second;
        }
    }
    return {};
}

bool serves(const Placed& placed, const std::string& app) {
    return placed.host.starts_with(app + ".");
}

// A delay on one host, behind another host whose callers give up before.
void check_delay_behind(const Placed& slow,
                        const std::vector<Placed>& routes,
                        FindingSink& findings) {
    constexpr std::size_t named_max = 3;
    const model::Fault& fault = *slow.route->fault;
    std::string caller = caller_of(*slow.route);
    std::size_t named = 0;
    for (const Placed& front : routes) {
        Duration wait = longest_wait(*front.route);
        bool other = front.host != slow.host && front.ns == slow.ns;
        bool sure = !caller.empty() && serves(front, caller);
        if (!other || wait == Duration::zero() || wait > fault.delay ||
            (!caller.empty() && !sure)) {
            continue;
        }
        std::string message = fmt::format("the delay of {} on {} outlasts {} of {} ({})",
                                          seconds(fault.delay),
                                          slow.host,
                                          wait_in_words(*front.route),
                                          front.host,
                                          front.route->source->to_string());
        std::string hint =
            fmt::format("{} calls that wait for {} fail: a timeout must be longer than all that "
                        "the service waits for, tries included",
                        sure ? "its" : "if it calls that host, its",
                        slow.host);
        if (sure) {
            findings.warn("ORL021", fault.source, slow.path + ".fault.delay", message, hint);
        } else {
            findings.inform("ORL021", fault.source, slow.path + ".fault.delay", message, hint);
        }
        if (++named == named_max) {
            return;
        }
    }
}

}  // namespace

void check_chains(const ObjectStore& store, const model::MeshConfig& mesh, FindingSink& findings) {
    Translation legacy = translate_legacy(store);
    std::vector<ObjectPtr> objects = std::move(legacy.virtual_services);
    auto current = store.in_creation_order("VirtualService");
    objects.insert(objects.end(), current.begin(), current.end());
    std::vector<Placed> routes = all_routes(objects, mesh);
    for (const Placed& placed : routes) {
        if (!placed.route->fault) {
            continue;
        }
        check_fault_order(placed, findings);
        const model::Fault& fault = *placed.route->fault;
        if (fault.delay_percent > 0 && fault.delay > Duration::zero()) {
            check_delay_behind(placed, routes, findings);
        }
    }
}

}  // namespace orlop::control
