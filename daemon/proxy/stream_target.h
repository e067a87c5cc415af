// Where a connection goes whose requests are not read (istio-semantics §14, §16): by its address,
// by the port of a service without addresses, or by the name in its ClientHello; then by the tls
// and tcp routes of that host. What nothing is known of passes to where the caller wanted to go, or
// is refused, as outboundTrafficPolicy says.
#pragma once

#include "daemon/model/snapshot.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/outside.h"
#include "daemon/runtime/task.h"

#include <string>
#include <string_view>

namespace orlop::proxy {

struct StreamTarget {
    enum class Verdict : unsigned char {
        serve,       // an endpoint of `destination`; without one, the original address
        no_cluster,  // the route leads to a service or subset that does not exist
        blackhole,   // REGISTRY_ONLY
    };
    Verdict verdict = Verdict::serve;
    const model::Service* service = nullptr;
    const model::Destination* destination = nullptr;
    model::ObjectRefPtr route_source;  // of the tls or tcp route taken
    std::string server_name;           // SNI, when it was looked at
    std::string_view cluster() const {
        return verdict == Verdict::blackhole ? blackhole_cluster
               : destination != nullptr      ? std::string_view(destination->cluster_name)
                                             : passthrough_cluster;
    }
    // A service without endpoints of its own (ServiceEntry NONE), or none at all.
    bool to_original() const { return destination == nullptr || is_outside(*destination); }
};

// May wait for a ClientHello, where a name decides. `snapshot` outlives the result.
runtime::Task<StreamTarget> choose_stream(Conversation& conversation,
                                          const model::Snapshot& snapshot);

}  // namespace orlop::proxy
