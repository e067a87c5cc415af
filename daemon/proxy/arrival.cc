#include "daemon/proxy/arrival.h"

#include <algorithm>

namespace orlop::proxy {

Reading reading_of(const model::Snapshot& snapshot,
                   const model::Workload& callee,
                   const SocketAddress& app) {
    bool judged = decide::authorization_needs_requests(callee, app.port);
    if (!judged && !snapshot.mesh().inbound_http_telemetry) {
        return Reading::bytes;
    }
    auto target = snapshot.resolve_outbound(callee.ns, app);
    if (target.port == nullptr) {
        return Reading::look;
    }
    if (model::is_http(target.port->protocol)) {
        return Reading::requests;
    }
    bool undeclared = target.port->protocol == model::Protocol::undeclared;
    return undeclared && !target.port->server_first ? Reading::look : Reading::bytes;
}

bool is_probe(const model::Snapshot& snapshot,
              const model::Workload& callee,
              const IpAddress& caller,
              std::uint16_t port) {
    return snapshot.is_node_address(caller) &&
           std::ranges::find(callee.probe_ports, port) != callee.probe_ports.end();
}

JudgedStream::JudgedStream(JudgedStreams& list,
                           net::Stream& stream,
                           Caller caller,
                           const SocketAddress& app,
                           Looked looked)
    : list_(list), stream_(stream), caller_(std::move(caller)), app_(app), looked_(looked),
      next_(list.head_) {
    if (next_ != nullptr) {
        next_->previous_ = this;
    }
    list.head_ = this;
}

JudgedStream::~JudgedStream() {
    (previous_ != nullptr ? previous_->next_ : list_.head_) = next_;
    if (next_ != nullptr) {
        next_->previous_ = previous_;
    }
}

void JudgedStreams::judge_again(const model::Snapshot& snapshot, const model::Workload& callee) {
    if (callee.authorization == nullptr) {
        return;
    }
    for (JudgedStream* one = head_; one != nullptr; one = one->next_) {
        bool exempt = !one->caller_.identity &&
                      is_probe(snapshot, callee, one->caller_.address, one->app_.port);
        if (one->cut_ || exempt) {
            continue;
        }
        // Requests that nobody read so far would go on unread: the caller comes again, and is read.
        bool unread = one->looked_ == Looked::no &&
                      decide::authorization_needs_requests(callee, one->app_.port) &&
                      reading_of(snapshot, callee, one->app_) != Reading::bytes;
        if (!unread && decide::authorize(callee, one->caller_.view(one->app_), nullptr).allowed) {
            continue;
        }
        one->cut_ = true;
        one->stream_.abort(Error{ErrorKind::denied,
                                 "an AuthorizationPolicy no longer allows the connection",
                                 Side::internal,
                                 0});
    }
}

}  // namespace orlop::proxy
