// Gateway: connections from outside the mesh, accepted in the node's own network (istio-semantics
// §14). The caller that the rest of the proxy sees is the gateway's pseudo pod; what was asked for
// comes from the Snapshot's GatewayListener instead of from an original destination.
//
// A listener that a newer Snapshot no longer has ends; its connections go on and get 404. One core.
#pragma once

#include "daemon/net/listener.h"
#include "daemon/proxy/conversation.h"

#include <memory>
#include <string_view>

namespace orlop::proxy {

// Accepts on `socket`, which listens at `listener` of the Snapshot, for the gateway's pod.
std::unique_ptr<net::Listener> listen_at_gateway(ProxyCore& core,
                                                 const LocalPodPtr& pod,
                                                 const SocketAddress& listener,
                                                 UniqueFd socket);

// Null when nothing is configured there for the name in the ClientHello.
const model::GatewayServer* gateway_server(const model::Snapshot& snapshot, const Ingress& ingress);

// What `authority` means there now; null when nothing does.
const model::VirtualHost*
gateway_host(const model::Snapshot& snapshot, const Ingress& ingress, std::string_view authority);

// Which Gateway it was that had no answer, for the log and explain.
enum class Unrouted : unsigned char { host, request };
void note_unrouted(const model::Snapshot& snapshot,
                   const Ingress& ingress,
                   Unrouted why,
                   telemetry::RequestRecord& record);

// The address that the callee shall see as its caller: who called, but a gateway's own instead of
// a stranger's, who might otherwise pass for somebody of the callee's own network.
IpAddress shown_caller(const Conversation& conversation);

runtime::Task<void> serve_gateway(Conversation conversation);

}  // namespace orlop::proxy
