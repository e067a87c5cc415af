// GatewayListeners: the ports that Gateway objects ask for, open in the node's own network, one
// listening socket per core (SO_REUSEPORT: the kernel spreads connections over the cores).
//
// reconcile() opens what a Snapshot newly wants and closes what it no longer does; what stays is
// not touched. A port that cannot be bound is tried again at the next call and reported. Control
// thread.
#pragma once

#include "daemon/app/core_set.h"
#include "daemon/base/ip.h"
#include "daemon/base/unique_fd.h"
#include "daemon/model/snapshot.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace orlop::app {

struct GatewayPortStatus {
    SocketAddress address;
    std::string failure;  // empty: listens
};

class GatewayListeners {
public:
    explicit GatewayListeners(CoreSet& cores) : cores_(cores) {}

    void reconcile(const model::Snapshot& snapshot);
    std::vector<GatewayPortStatus> status() const;

private:
    void introduce(const model::Snapshot& snapshot);
    Result<void> open(const SocketAddress& address);

    CoreSet& cores_;
    std::string uid_;  // of the gateway's pseudo pod, once the cores know it
    std::set<SocketAddress> open_;
    std::map<SocketAddress, std::string> failed_;
};

}  // namespace orlop::app
