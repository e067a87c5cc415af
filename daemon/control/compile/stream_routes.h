// StreamBook: the tls[] and tcp[] routes that VirtualServices give a host for callers in the mesh
// (istio-semantics §16). Objects for one host are joined: the newest first under `overlay`, else
// only the oldest.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/objects/object.h"
#include "daemon/model/snapshot.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace orlop::control {

struct HostStreams {
    struct Route {
        const L4RouteSpec* spec = nullptr;
        std::string ns;  // of the object: short names mean its services
    };
    std::vector<Route> tls;
    std::vector<Route> tcp;
    bool empty() const { return tls.empty() && tcp.empty(); }
};

class StreamBook {
public:
    // `objects`: VirtualServices in order of creation, alive as long as this.
    StreamBook(const std::vector<ObjectPtr>& objects, const model::MeshConfig& mesh);

    // By the exact host, else by the longest wildcard that covers it.
    HostStreams find(const std::string& client_ns, const std::string& host) const;
    std::vector<std::string> hosts() const;
    const std::map<std::string, std::set<std::string>>& special() const { return special_; }

private:
    HostStreams join(const std::vector<const Object*>& objects, const std::string& client_ns) const;

    const model::MeshConfig& mesh_;
    std::map<std::string, std::vector<const Object*>> by_host_;
    std::map<std::string, std::set<std::string>> special_;
};

// What a route asks of a connection.
model::StreamMatch stream_match(const L4RouteSpec& spec);

}  // namespace orlop::control
