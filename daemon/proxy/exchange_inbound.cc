// A request where policies are asked: at the callee's end (no routes, then the app itself), and at
// a gateway.
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/inbound_http.h"

namespace orlop::proxy {

std::optional<LocalAnswer> Exchange::enter(const Conversation& conversation) {
    if (auto refusal = read_path()) {
        return refusal;
    }
    route_ = &arriving_->route();
    destination_ = &arriving_->destination();
    service_ = destination_->service.get();
    state_ = arriving_->state();
    auto verdict = arriving_->judge(*caller_, request_view(conversation.original.port), record_);
    if (!verdict.allowed) {
        return LocalAnswer{403, decide::access_denied_body, "", verdict.details};
    }
    return std::nullopt;
}

// Policies that select the gateway. Who calls from outside has an identity of the mesh only where
// the TLS is ISTIO_MUTUAL.
std::optional<LocalAnswer> Exchange::judge_at_edge(const Conversation& conversation) {
    if (edge_ != nullptr && edge_->client) {
        record_.source_principal = record_.keep(edge_->client->to_string());
    }
    if (edge_ == nullptr || caller_->authorization == nullptr) {
        return std::nullopt;
    }
    Caller outside{edge_->client, conversation.peer.ip};
    auto request = request_view(edge_->listener.port);
    SocketAddress met{conversation.original.ip, edge_->listener.port};
    auto verdict = decide::authorize(*caller_, outside.view(met), &request);
    note_verdict(verdict, outside, request, record_);
    if (verdict.allowed) {
        return std::nullopt;
    }
    core_.metrics().add(telemetry::CoreCounter::requests_denied);
    return LocalAnswer{403, decide::access_denied_body, "", verdict.details};
}

}  // namespace orlop::proxy
