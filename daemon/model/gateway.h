// Gateways as this node serves them: Gateway objects and the VirtualServices bound to them
// (istio-semantics §1.4, §1.6, §14), compiled. Immutable, part of one Snapshot.
//
// A listener is one address and port; Gateway objects that share it are merged. Plain HTTP has one
// server for all of them; with TLS the name in the ClientHello (SNI) chooses the server.
//
//     const GatewayListener* listener = snapshot.find_gateway(accepted_at);
//     const GatewayServer* server = listener->find_server(hello.server_name);
//     const VirtualHost* host = server->hosts.find(request.authority);
#pragma once

#include "daemon/base/ip.h"
#include "daemon/base/tls_terms.h"
#include "daemon/model/route.h"
#include "daemon/model/string_map.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orlop::model {

// MeshConfig.gateway: which Gateway objects this mesh's nodes serve, and in whose name.
struct GatewayRole {
    Labels labels = {{"app", "istio-ingressgateway"}, {"istio", "ingressgateway"}};
    std::string ns = "istio-system";
    std::string name = "istio-ingressgateway";
    std::string service_account = "istio-ingressgateway-service-account";
    std::vector<IpAddress> addresses;  // listened on; empty: every address of the node
    std::vector<std::string> nodes;    // that serve; empty: every node
};

// Virtual hosts by name: exact, then the longest wildcard, then `*`.
class HostTable {
public:
    // `host`: lower-case, `*.suffix` or `*`. False when it is there already.
    bool add(std::string_view host, VirtualHostPtr virtual_host);
    // `authority` as sent: any case, port ignored.
    const VirtualHost* find(std::string_view authority) const;
    bool empty() const { return exact_.empty() && wildcards_.empty(); }
    template <class Visit> void each(Visit visit) {  // of VirtualHostPtr&
        for (auto& [name, host] : exact_) {
            visit(host);
        }
        for (auto& [suffix, host] : wildcards_) {
            visit(host);
        }
    }

private:
    StringMap<VirtualHostPtr> exact_;
    // Suffixes without the star, longest first: ".example.com", "" for `*`.
    std::vector<std::pair<std::string, VirtualHostPtr>> wildcards_;
};

// One tls[] or tcp[] route of a VirtualService: a destination per connection.
struct GatewayByteRoute {
    std::vector<std::string> server_names;  // SNI; empty: every connection
    HttpRoute choice;  // only destinations, weight_total, name and source are used
};

enum class GatewayService : unsigned char { http, bytes };

struct GatewayServer {
    std::string name;  // "shop/web-gateway https"
    GatewayService service = GatewayService::http;
    std::vector<std::string> server_names;  // SNI, with TLS: lower-case, `*.suffix` or `*`
    TlsTermsPtr tls;                        // ended here; null: plaintext, or passed through
    std::string broken;                     // not empty: why every connection is refused
    HostTable hosts;                        // http
    std::vector<GatewayByteRoute> routes;   // bytes; the first that matches
    ObjectRefPtr source;

    const GatewayByteRoute* find_route(std::string_view server_name) const;
};

struct GatewayListener {
    SocketAddress address;
    bool tls = false;  // connections begin with a ClientHello
    std::vector<GatewayServer> servers;
    ObjectRefPtr source;

    // Exact name first, then the longest wildcard; without TLS the only server.
    const GatewayServer* find_server(std::string_view server_name) const;
};
using GatewayListenerPtr = std::shared_ptr<const GatewayListener>;

// `*.suffix` covers names below the suffix, `*` every name; `name` is lower-case.
bool name_covers(std::string_view pattern, std::string_view name);

}  // namespace orlop::model
