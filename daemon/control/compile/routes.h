// RouteBook: the http routes that VirtualServices give a host for callers of a namespace, several
// objects joined by the mesh's conflict rule (DESIGN §5), delegates spliced in (istio-semantics §1,
// §2). Host names, subsets and ports inside the routes are still as written.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/objects/object.h"
#include "daemon/model/snapshot.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace orlop::control {

struct HostRoutes {
    struct Route {
        HttpRouteSpec spec;
        std::string ns;  // of the object that names the destinations: short names mean its services
    };
    std::vector<Route> routes;
    model::ObjectRefPtr source;  // the newest object that has a part in it
};
using HostRoutesPtr = std::shared_ptr<const HostRoutes>;

// For whom routes are wanted: {"mesh"}, or the gateways ("ns/name") of one listener.
using Audience = std::set<std::string>;

class RouteBook {
public:
    // `objects`: VirtualServices in order of creation.
    RouteBook(const std::vector<ObjectPtr>& objects,
              const model::MeshConfig& mesh,
              FindingSink& findings,
              Audience audience = {"mesh"});

    // Null when no VirtualService seen from `client_ns` names the host exactly or by wildcard.
    HostRoutesPtr find(const std::string& client_ns, const std::string& host);
    // Every host (`*.suffix` included) that some VirtualService names for the audience.
    std::vector<std::string> hosts() const;
    // Namespaces that see other VirtualServices than the rest, with the hosts concerned.
    const std::map<std::string, std::set<std::string>>& special() const { return special_; }

private:
    struct Part {
        ObjectPtr object;
        std::vector<HttpRouteSpec> routes;  // only what concerns the audience; delegates resolved
    };
    HostRoutesPtr join(const std::vector<const Part*>& parts, const std::string& client_ns);
    bool concerns_us(const std::vector<std::string>& gateways, const std::string& ns) const;
    std::vector<HttpRouteSpec> our_routes(const Object& object, FindingSink& findings) const;
    HostRoutesPtr append(const std::vector<const Part*>& parts) const;
    void splice_delegate(const HttpRouteSpec& root,
                         FindingSink& findings,
                         std::vector<HttpRouteSpec>& out) const;
    void report_conflicts(const std::string& host,
                          const std::vector<const Part*>& parts,
                          FindingSink& findings) const;

    const model::MeshConfig& mesh_;
    Audience audience_;
    std::map<ObjectKey, ObjectPtr> delegates_;
    std::vector<std::unique_ptr<Part>> parts_;
    std::map<std::string, std::vector<const Part*>> by_host_;
    std::vector<std::string> wildcards_;  // longest first
    std::map<std::string, std::set<std::string>> special_;
    std::map<std::string, HostRoutesPtr> cache_;
};

// Routes of `newer` laid over `base`: the same match takes over what the newer one writes; other
// matches go before the first less specific one.
void overlay_routes(std::vector<HostRoutes::Route>& base,
                    std::vector<HttpRouteSpec> newer,
                    const std::string& ns);

// The meaning of a route's matches as text: equal text, equal match.
std::string match_key(const HttpRouteSpec& route);

}  // namespace orlop::control
