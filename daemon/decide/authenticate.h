// Authentication: who may speak to a workload, and over which wire a caller reaches one
// (istio-semantics §8, §9, §11; DESIGN §4).
//
// Pure. `judge_inbound` is asked where a connection arrives, before a byte reaches the app;
// `wire_for` where one leaves. Both answer with a reason that logs and explain print as it is.
#pragma once

#include "daemon/base/identity.h"
#include "daemon/model/snapshot.h"

#include <cstdint>
#include <string_view>

namespace orlop::decide {

enum class InboundTransport : unsigned char {
    plaintext,        // the pod's own port, captured
    mutual_tls,       // an HBONE stream of a peer whose certificate was checked
    kernel_attested,  // same node: the kernel says which pod opened the socket
};
enum class SourceKind : unsigned char { other, this_node };  // Snapshot::is_node_address

struct InboundConnection {
    InboundTransport transport = InboundTransport::plaintext;
    SourceKind source = SourceKind::other;
    std::uint16_t port = 0;          // container port
    const SpiffeId* peer = nullptr;  // required but for plaintext
};

enum class InboundReason : unsigned char {
    // allowed
    mutual_tls,
    kernel_attested,
    plaintext_permitted,  // PERMISSIVE or DISABLE
    kubelet_probe,        // from the node to a probe port, whatever the mode
    // refused
    strict_refuses_plaintext,
    no_peer_identity,
};
std::string_view inbound_reason_name(InboundReason reason);

struct InboundDecision {
    bool allowed = false;
    InboundReason reason = InboundReason::strict_refuses_plaintext;
};
InboundDecision judge_inbound(const model::Workload& callee, const InboundConnection& connection);

// `delivery`: from a pod's arriving end to the app in its own namespace; never an answer of
// wire_for.
enum class Wire : unsigned char { plaintext, hbone, same_node, delivery, refused };
std::string_view wire_name(Wire wire);

enum class WireReason : unsigned char {
    outside_mesh,  // no workload known at the address
    not_enrolled,
    mtls_disabled,       // PeerAuthentication DISABLE on the port
    port_excluded,       // excludeInboundPorts of the callee
    not_yet_redirected,  // enrolled, capture not confirmed, plaintext permitted
    captured,            // HBONE
    captured_same_node,
    network_policy,   // same node, but a NetworkPolicy selects an end: HBONE
    shortcut_off,     // same node, but MeshConfig turns the shortcut off: HBONE
    requests_judged,  // same node, but a policy of the callee asks about requests: HBONE
    // refused
    strict_not_redirected,  // STRICT callee whose capture is not confirmed
    mutual_tls_demanded,    // DestinationRule ISTIO_MUTUAL towards a callee without mesh TLS
    not_authorized,         // same node: an AuthorizationPolicy of the callee
};
std::string_view wire_reason_name(WireReason reason);

struct WireChoice {
    Wire wire = Wire::refused;
    WireReason reason = WireReason::outside_mesh;
    // not_authorized: which policy, as in AuthorizationVerdict; lives as long as the callee.
    std::string_view details{};
};
// `source` may be null (a caller that is no known pod): then never same_node. `policy` may be null.
WireChoice wire_for(const model::Workload* source,
                    const model::Endpoint& endpoint,
                    const model::TrafficPolicy* policy,
                    const model::MeshConfig& mesh);

}  // namespace orlop::decide
