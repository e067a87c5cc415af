#include "daemon/control/compile/limits.h"

#include "daemon/control/compile/rules.h"
#include "daemon/control/compile/services.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::control {

std::vector<model::RateLimitPtr>
LimitBook::of(const std::string& host, const std::string& service_ns, FindingSink& findings) const {
    std::vector<model::RateLimitPtr> out;
    for (const ObjectPtr& object : objects_) {
        const auto& spec = std::get<RateLimitSpec>(object->spec);
        const std::string& ns = object->key.ns;
        bool concerned =
            spec.hosts.empty() || std::ranges::any_of(spec.hosts, [&](const std::string& written) {
                return pattern_covers(full_host(written, ns, mesh_), host);
            });
        if (!concerned) {
            continue;
        }
        if (out.size() == limits::rate_limits_per_host_max) {
            findings.warn("ORL017",
                          object->ref,
                          "spec.hosts",
                          fmt::format("host {} has {} rate limits already; this one has no effect",
                                      host,
                                      limits::rate_limits_per_host_max),
                          "join some of them");
            break;
        }
        auto limit = std::make_shared<model::RateLimit>(spec.limit);
        if (ns != mesh_.root_namespace && ns != service_ns) {
            limit->source_namespace = ns;
        }
        out.push_back(std::move(limit));
    }
    return out;
}

}  // namespace orlop::control
