// Requests to hosts that nobody described (istio-semantics §1.3): passed on to where the caller's
// own look-up led, or refused, as outboundTrafficPolicy says.
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/gateway.h"
#include "daemon/proxy/outside.h"

namespace orlop::proxy {

model::WorkloadPtr Exchange::workload_at_original(const Conversation& conversation) const {
    const auto* workload = pinned_->snapshot->find_workload(conversation.original.ip);
    return workload == nullptr ? nullptr : pinned_->snapshot->share_workload(workload->uid);
}

// A host that nobody described: to where the caller's own look-up led, or nowhere.
std::optional<LocalAnswer> Exchange::reach_outside(Conversation& conversation) {
    bool refused = pinned_->snapshot->outbound_policy(caller_->scope()) ==
                   model::OutboundPolicy::registry_only;
    if (refused) {
        record_.route_name = "block_all";
        record_.cluster = blackhole_cluster;
        return LocalAnswer{502, "", "", "direct_response"};
    }
    static const model::HttpRoute allow_any = [] {
        model::HttpRoute route;
        route.retries.attempts = 0;
        return route;
    }();
    route_ = &allow_any;
    record_.route_name = "allow_any";
    outside_ = outside_destination(
        *conversation.pod, nullptr, conversation.original, workload_at_original(conversation));
    destination_ = outside_.get();
    return choose_destination(conversation);
}

// A host without a route for the request. At a gateway that is often an object that was forgotten:
// the log and explain name the Gateway.
LocalAnswer Exchange::answer_unrouted() {
    if (edge_ != nullptr) {
        auto why = host_ == nullptr ? Unrouted::host : Unrouted::request;
        note_unrouted(*pinned_->snapshot, *edge_, why, record_);
    }
    return LocalAnswer{404, "", "NR", "route_not_found"};
}

}  // namespace orlop::proxy
