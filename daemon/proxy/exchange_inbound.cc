// A request at the callee's end: no routes, only policy, then the app itself.
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

}  // namespace orlop::proxy
