#include "daemon/decide/authenticate.h"

#include "daemon/decide/authorize.h"

#include <algorithm>

namespace orlop::decide {

namespace {

bool lists(const std::vector<std::uint16_t>& ports, std::uint16_t port) {
    return std::ranges::find(ports, port) != ports.end();
}

// Plaintext or refused towards a callee that capture does not cover; hbone when it does.
WireChoice wire_by_capture(const model::Workload& callee, std::uint16_t port) {
    // A pod in the node's own network namespace is never captured.
    if (callee.host_network || (!callee.enrol_wanted && !callee.redirected)) {
        return {Wire::plaintext, WireReason::not_enrolled};
    }
    const model::MtlsMode mode = callee.mtls_of(port);
    if (mode == model::MtlsMode::disable) {
        return {Wire::plaintext, WireReason::mtls_disabled};
    }
    if (lists(callee.exclusions.inbound_ports, port)) {
        return {Wire::plaintext, WireReason::port_excluded};
    }
    if (!callee.redirected) {
        // Until its node has confirmed capture nobody there speaks HBONE. A permissive callee may
        // be reached in clear meanwhile; a STRICT one must not be, however short the while.
        return mode == model::MtlsMode::strict
                   ? WireChoice{Wire::refused, WireReason::strict_not_redirected}
                   : WireChoice{Wire::plaintext, WireReason::not_yet_redirected};
    }
    return {Wire::hbone, WireReason::captured};
}

WireChoice captured_wire(const model::Workload* source,
                         const model::Workload& callee,
                         const model::MeshConfig& mesh) {
    if (source == nullptr || !source->local || !callee.local) {
        return {Wire::hbone, WireReason::captured};
    }
    if (!mesh.same_node_shortcut) {
        return {Wire::hbone, WireReason::shortcut_off};
    }
    // The shortcut passes below the CNI; a NetworkPolicy of either end must keep its say.
    if (source->network_policy_selected || callee.network_policy_selected) {
        return {Wire::hbone, WireReason::network_policy};
    }
    return {Wire::same_node, WireReason::captured_same_node};
}

// On the same node one proxy speaks for both ends, so it says here what the callee's end would.
// Where that end reads requests, they take the way on which it does.
WireChoice authorized_wire(const model::Workload* source,
                           const model::Endpoint& endpoint,
                           const WireChoice& choice) {
    const model::Workload& callee = *endpoint.workload;
    if (choice.wire != Wire::same_node || callee.authorization == nullptr) {
        return choice;
    }
    if (authorization_needs_requests(callee, endpoint.address.port)) {
        return {Wire::hbone, WireReason::requests_judged};
    }
    auto verdict = authorize_connection(*source, callee, endpoint.address);
    return verdict.allowed ? choice
                           : WireChoice{Wire::refused, WireReason::not_authorized, verdict.details};
}

}  // namespace

std::string_view inbound_reason_name(InboundReason reason) {
    switch (reason) {
    case InboundReason::mutual_tls:
        return "mutual_tls";
    case InboundReason::kernel_attested:
        return "kernel_attested";
    case InboundReason::plaintext_permitted:
        return "plaintext_permitted";
    case InboundReason::kubelet_probe:
        return "kubelet_probe";
    case InboundReason::strict_refuses_plaintext:
        return "strict_refuses_plaintext";
    case InboundReason::no_peer_identity:
        return "no_peer_identity";
    }
    return "";
}

InboundDecision judge_inbound(const model::Workload& callee, const InboundConnection& connection) {
    if (connection.transport != InboundTransport::plaintext) {
        if (connection.peer == nullptr || connection.peer->trust_domain.empty()) {
            return {false, InboundReason::no_peer_identity};
        }
        return {true,
                connection.transport == InboundTransport::mutual_tls
                    ? InboundReason::mutual_tls
                    : InboundReason::kernel_attested};
    }
    switch (callee.mtls_of(connection.port)) {
    case model::MtlsMode::permissive:
    case model::MtlsMode::disable:
        return {true, InboundReason::plaintext_permitted};
    case model::MtlsMode::strict:
    case model::MtlsMode::unset:  // unresolved: an unknown mode is no permission
        break;
    }
    if (connection.source == SourceKind::this_node && lists(callee.probe_ports, connection.port)) {
        return {true, InboundReason::kubelet_probe};
    }
    return {false, InboundReason::strict_refuses_plaintext};
}

std::string_view wire_name(Wire wire) {
    switch (wire) {
    case Wire::plaintext:
        return "plaintext";
    case Wire::hbone:
        return "hbone";
    case Wire::same_node:
        return "same_node";
    case Wire::delivery:
        return "delivery";
    case Wire::refused:
        return "refused";
    }
    return "";
}

std::string_view wire_reason_name(WireReason reason) {
    switch (reason) {
    case WireReason::outside_mesh:
        return "no workload of the mesh has this address";
    case WireReason::not_enrolled:
        return "the callee is not enrolled";
    case WireReason::mtls_disabled:
        return "PeerAuthentication DISABLE on the callee's port";
    case WireReason::port_excluded:
        return "the callee excludes the port from capture";
    case WireReason::not_yet_redirected:
        return "the callee's capture is not confirmed yet";
    case WireReason::captured:
        return "the callee is captured";
    case WireReason::captured_same_node:
        return "the callee is captured on this node";
    case WireReason::network_policy:
        return "a NetworkPolicy selects one of the ends";
    case WireReason::shortcut_off:
        return "sameNodeShortcut is off";
    case WireReason::requests_judged:
        return "an AuthorizationPolicy of the callee asks about requests";
    case WireReason::strict_not_redirected:
        return "the callee is STRICT and its capture is not confirmed; check its node's orlopd";
    case WireReason::mutual_tls_demanded:
        return "the DestinationRule demands ISTIO_MUTUAL and the callee has no mesh TLS";
    case WireReason::not_authorized:
        return "an AuthorizationPolicy of the callee refuses";
    }
    return "";
}

WireChoice wire_for(const model::Workload* source,
                    const model::Endpoint& endpoint,
                    const model::TrafficPolicy* policy,
                    const model::MeshConfig& mesh) {
    using Mode = model::ClientTls::Mode;
    const Mode mode = policy != nullptr && policy->tls ? policy->tls->mode : Mode::disable;
    // SIMPLE and MUTUAL concern the bytes inside whatever wire there is (§8): open_wire's business.
    WireChoice choice{Wire::plaintext, WireReason::outside_mesh};
    if (endpoint.workload != nullptr) {
        choice = wire_by_capture(*endpoint.workload, endpoint.address.port);
    }
    if (choice.wire == Wire::hbone) {
        return authorized_wire(source, endpoint, captured_wire(source, *endpoint.workload, mesh));
    }
    if (choice.wire == Wire::plaintext && mode == Mode::istio_mutual) {
        // PeerAuthentication DISABLE stops nothing that is captured: its node still speaks HBONE.
        if (choice.reason == WireReason::mtls_disabled && endpoint.workload->redirected) {
            return {Wire::hbone, WireReason::captured};
        }
        return {Wire::refused, WireReason::mutual_tls_demanded};
    }
    return choice;
}

}  // namespace orlop::decide
