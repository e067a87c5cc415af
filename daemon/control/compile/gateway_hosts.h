// Which VirtualServices speak for which names at a gateway, and what they say (istio-semantics
// §1.6, §14): a VirtualService binds to a server when it names the Gateway, its hosts meet the
// server's, and exportTo lets the gateway's namespace see it.
#pragma once

#include "daemon/control/compile/gateways.h"

#include <map>
#include <string>
#include <vector>

namespace orlop::control {

struct BoundServer {
    ObjectPtr gateway;
    const GatewayServerSpec* spec = nullptr;
    std::string key() const { return gateway->key.ns + "/" + gateway->key.name; }
};

class GatewayHosts {
public:
    GatewayHosts(const GatewayInput& in, Assembler& assembler, std::uint16_t port);

    // Joined HTTP routes of all `servers` of one listener, by name.
    void add_http(const std::vector<BoundServer>& servers, model::HostTable& hosts);
    // The tls or tcp routes for one server.
    void add_bytes(const BoundServer& server, std::vector<model::GatewayByteRoute>& routes);

private:
    struct Domain {
        std::vector<ObjectPtr> objects;  // in order of creation
        model::ObjectRefPtr redirect;    // the server that sends its callers to https
    };
    using Domains = std::map<std::string, Domain>;

    void bind(const BoundServer& server, const ObjectPtr& virtual_service, Domains& domains) const;
    std::vector<std::string> meeting_names(const BoundServer& server, const Object& object) const;
    model::VirtualHostPtr
    join(const std::string& name, const Domain& domain, const Audience& audience);

    const GatewayInput& in_;
    Assembler& assembler_;
    std::uint16_t port_;
};

}  // namespace orlop::control
