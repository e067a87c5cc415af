// Assembler: services, rules and routes of one client scope become Destinations, VirtualHosts and
// the look-up tables of a Scope (daemon/model/snapshot_tables.h).
#pragma once

#include "daemon/control/compile.h"
#include "daemon/control/compile/credentials.h"
#include "daemon/control/compile/limits.h"
#include "daemon/control/compile/routes.h"
#include "daemon/control/compile/rules.h"
#include "daemon/control/compile/services.h"
#include "daemon/control/compile/sidecars.h"
#include "daemon/control/compile/stream_routes.h"
#include "daemon/control/compile/table_build.h"
#include "daemon/model/snapshot_tables.h"

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace orlop::control {

struct AssembleInput {
    const model::MeshConfig& mesh;
    const Services& services;
    RuleBook& rules;
    RouteBook& routes;
    const StreamBook& streams;
    const LimitBook& limits;
    CompileMemory& memory;
    FindingSink& findings;
    Credentials& credentials;
};

class Assembler {
public:
    // `client_ns` empty: the shared scope. `caller` tells apart callers of one namespace whose
    // destinations are not shared: "gateway", else empty.
    Assembler(const AssembleInput& in,
              std::string client_ns,
              TableBuild& build,
              std::string caller = "");

    // What the workloads of a Sidecar's scope see.
    Assembler(const AssembleInput& in, const SidecarScope& sidecar, TableBuild& build);

    void add_service(const ServiceRecord& record);
    void
    add_foreign_host(const std::string& host);  // named by a VirtualService, no service of ours
    // A name served by a gateway at `port`: `first`, then the routes.
    model::VirtualHostPtr add_gateway_host(const std::string& host,
                                           std::uint16_t port,
                                           const HostRoutes& routes,
                                           std::optional<model::HttpRoute> first);
    // The destinations of a tls or tcp route.
    model::HttpRoute
    add_byte_route(const L4RouteSpec& spec, const std::string& ns, std::uint16_t port);

private:
    // Something in a list of the tables, and where there.
    template <class Pointer> struct Placed {
        Pointer value;
        std::uint32_t at = model::nowhere;
    };
    using PlacedDestination = Placed<model::DestinationPtr>;
    using PlacedHost = Placed<model::VirtualHostPtr>;

    PlacedDestination destination(const ServiceRecord& record,
                                  std::size_t port_index,
                                  const std::string& subset_name);
    const SubsetSpec*
    find_subset(const ServiceRecord& record, const MergedRule* rule, const std::string& name);
    model::DestinationPtr resolve(const DestinationName& name,
                                  const std::string& ns,
                                  std::uint16_t arrival_port,
                                  const model::ObjectRefPtr& where,
                                  std::string& wanted);
    model::HttpRoute lower(const HostRoutes::Route& route, std::uint16_t port);
    PlacedHost virtual_host(const std::string& host,
                            std::uint16_t port,
                            const HostRoutes* routes,
                            const model::DestinationPtr& fallback);
    std::uint32_t add_target(model::PortTarget target);
    void add_addresses(const ServiceRecord& record, std::uint32_t target);
    bool shown(const ServiceRecord& record, std::uint16_t port) const;

    // assemble_streams.cc
    model::StreamRoute stream_route(const HostStreams::Route& route, std::uint16_t port);
    void add_streams(const std::string& host, model::VirtualHost& out);
    void add_port(const ServiceRecord& record, std::uint32_t target);
    void add_ranges(const ServiceRecord& record, std::uint32_t target);
    void name_service(const ServiceRecord& record, const model::HostsByPort& by_port);
    void add_wildcard(std::string suffix, const model::HostsByPort& by_port);

    const AssembleInput& in_;
    std::string client_ns_;
    std::string caller_;
    TableBuild& build_;
    ScopeBuild& scope_;
    const EgressView* view_ = nullptr;  // of a Sidecar; null: everything exported
    std::unordered_map<std::string, PlacedDestination> destinations_;  // by cluster name
};

// Whether a subset with these labels has the endpoint.
bool has_labels(const model::Endpoint& endpoint, const model::Labels& wanted);

// The first destination of the object whose subset nobody defines, else null. Unknown services
// are not counted: they answer 503 and are reported.
const DestinationName* unknown_subset(const Object& virtual_service,
                                      const model::MeshConfig& mesh,
                                      const Services& services,
                                      RuleBook& rules);

}  // namespace orlop::control
