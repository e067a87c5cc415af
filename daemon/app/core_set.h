// CoreSet: the data cores and the ways to talk to them. Control thread.
#pragma once

#include "daemon/datapath/sockets.h"
#include "daemon/net/connector.h"
#include "daemon/proxy/core.h"
#include "daemon/proxy/node_limits.h"
#include "daemon/runtime/core.h"
#include "daemon/telemetry/metrics.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace orlop::app {

// A pod's namespace as the proxy sees it.
class PodNetworkHandle final : public net::Network {
public:
    explicit PodNetworkHandle(std::shared_ptr<const datapath::PodNetwork> network)
        : network_(std::move(network)) {}
    const datapath::PodNetwork& network() const { return *network_; }

private:
    std::shared_ptr<const datapath::PodNetwork> network_;
};

class PodSockets final : public net::SocketSource {
public:
    Result<int> open_socket(const net::Network& network, const net::SocketWish& wish) override;
};

class CoreSet {
public:
    static Result<std::unique_ptr<CoreSet>>
    start(std::size_t cores, telemetry::Metrics& metrics, runtime::UringNotes* notes);
    ~CoreSet();

    const std::shared_ptr<telemetry::SpanQueue>& spans() const { return spans_; }
    std::size_t size() const { return cores_.size(); }
    std::size_t home_of(std::string_view uid) const;
    // Runs `order` on one core, or on all.
    void tell(std::size_t core, std::function<void(proxy::ProxyCore&)> order);
    void tell_all(const std::function<void(proxy::ProxyCore&)>& order);
    // Two-step stop: requests end within `deadline`, the rest is cut. Blocks the caller.
    void drain_and_stop(std::chrono::seconds deadline);

private:
    CoreSet() = default;
    struct Member;
    PodSockets sockets_;
    std::shared_ptr<proxy::NodeLimits> limits_;
    std::shared_ptr<telemetry::SpanQueue> spans_ = std::make_shared<telemetry::SpanQueue>();
    std::vector<std::unique_ptr<Member>> cores_;
    bool stopped_ = false;
};

}  // namespace orlop::app
