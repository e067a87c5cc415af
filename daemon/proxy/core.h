// ProxyCore: everything one core holds. Built on the core's thread, used only there; other threads
// reach it through Core::post().
//
//     ProxyCore core(loop, sockets, metrics.core(0), 0);
//     core.publish(snapshot);
//     core.set_identity(id, tls);
//     core.add_pod(uid, network);              // every local pod, on every core
//     core.open_pod(uid, std::move(listeners)) // on the pod's home core
#pragma once

#include "daemon/base/unique_fd.h"
#include "daemon/model/snapshot.h"
#include "daemon/net/connector.h"
#include "daemon/net/listener.h"
#include "daemon/net/tls_identity.h"
#include "daemon/proxy/arrival.h"
#include "daemon/proxy/live_streams.h"
#include "daemon/proxy/outlier_watch.h"
#include "daemon/runtime/core.h"
#include "daemon/runtime/drain.h"
#include "daemon/runtime/scope.h"
#include "daemon/telemetry/explain.h"
#include "daemon/telemetry/metrics.h"
#include "daemon/telemetry/request_id.h"
#include "daemon/telemetry/span.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace orlop::proxy {

class DestinationState;
class Tunnel;
class TunnelClients;
class ExchangePool;
class LiveMirrors;
struct NodeLimits;

// The snapshot in force on this core. Requests hold one of these; its count is touched by this
// core only, so that cores do not share a cache line for it.
struct Pinned {
    model::SnapshotPtr snapshot;
};
using PinnedPtr = std::shared_ptr<const Pinned>;

// A pod of this node as one core knows it. Listeners exist on its home core only.
struct LocalPod {
    LocalPod();
    ~LocalPod();
    std::string uid;
    model::WorkloadPtr workload;  // of the current snapshot; null until the snapshot knows it
    net::NetworkPtr network;
    std::unique_ptr<net::Listener> outbound;
    std::unique_ptr<net::Listener> inbound;
    std::map<SocketAddress, std::unique_ptr<net::Listener>> gateway;  // on every core
    LiveStreams live;      // captured connections, for forced ends and for counting
    JudgedStreams judged;  // connections to this pod that policy let in as bytes
    std::unordered_map<std::uint64_t, std::shared_ptr<DestinationState>> destinations;
    // One per address outside the registry that HTTP requests went to (outside.h).
    std::unordered_map<std::uint64_t, model::DestinationPtr> outside;
    std::unique_ptr<TunnelClients> tunnels;
    std::vector<std::weak_ptr<Tunnel>> accepted;  // HBONE connections of peers, for GOAWAY
    bool closed = false;  // left the mesh: what was accepted a moment ago ends as well
};
using LocalPodPtr = std::shared_ptr<LocalPod>;

struct PodListeners {
    UniqueFd outbound;
    UniqueFd inbound;  // HBONE too, as connections to port 15008
};

class ProxyCore final : public runtime::Core::Guest {
public:
    ProxyCore(runtime::Loop& loop,
              net::SocketSource& sockets,
              telemetry::CoreMetrics& metrics,
              std::size_t index);
    ~ProxyCore() override;

    // --- orders from the control thread, as messages ---
    void publish(model::SnapshotPtr snapshot);
    void set_identity(const SpiffeId& id, net::TlsIdentityPtr identity);
    void remove_identity(const SpiffeId& id);
    // Contexts of TLS with peers outside the mesh, by TlsTerms::key.
    void set_tls(const std::string& key, net::TlsIdentityPtr context);
    void remove_tls(const std::string& key);
    void add_pod(const std::string& uid, net::NetworkPtr network);
    void open_pod(const std::string& uid, PodListeners listeners);
    // The gateway's pod `uid` listens at one more address, or at one less.
    void open_gateway(const std::string& uid, const SocketAddress& listener, UniqueFd socket);
    void close_gateway(const std::string& uid, const SocketAddress& listener);
    void close_pod(const std::string& uid);  // pod gone or left: everything of it ends now
    std::size_t live_connections(const std::string& uid) const;
    // Stop accepting, let exchanges end, then `done` runs on this loop. force() cuts what is left.
    void drain(std::function<void()> done);
    void force();
    // Counters shared by all cores of a node; a core that is told nothing counts by itself.
    void share_spans(std::shared_ptr<telemetry::SpanQueue> spans) { spans_ = std::move(spans); }
    void share_limits(std::shared_ptr<NodeLimits> limits);
    // Ends everything now; `done` runs when nothing of this core is left but the loop.
    void shut_down(std::function<void()> done);

    // Sees every access-log line of this core, for `orlopctl logs POD`.
    using LineTap = std::function<void(const telemetry::RequestRecord&, std::string_view)>;
    void set_line_tap(LineTap tap) { line_tap_ = std::move(tap); }
    const LineTap& line_tap() const { return line_tap_; }
    OutlierWatch& outliers() { return outliers_; }

    // --- for the request path ---
    runtime::Loop& loop() { return loop_; }
    runtime::Scope& scope() { return scope_; }
    net::SocketSource& sockets() { return sockets_; }
    telemetry::CoreMetrics& metrics() { return metrics_; }
    telemetry::FastRandom& random() { return random_; }
    // For what a configuration asks to happen by chance; MeshConfig.faultSeed fixes its numbers.
    telemetry::FastRandom& dice() { return dice_seed_ ? dice_ : random_; }
    LiveMirrors& mirrors() { return *mirrors_; }
    NodeLimits& limits() { return *limits_; }
    telemetry::SpanQueue* spans() { return spans_.get(); }  // null: nothing is traced
    telemetry::ExplainRing& explain() { return explain_; }
    ExchangePool& exchanges() { return *exchanges_; }
    const PinnedPtr& pinned() const { return pinned_; }
    bool draining() const { return drain_.draining(); }
    runtime::DrainWatcher watch_drain() { return drain_.watch(); }
    net::TlsIdentityPtr identity(const SpiffeId& id) const;
    net::TlsIdentityPtr tls(const std::string& key) const;  // null: unknown
    LocalPodPtr find_pod(std::string_view uid) const;
    std::size_t index() const { return index_; }
    // Closes a stream that nobody uses any more, in the background.
    void dispose(std::unique_ptr<net::Stream> stream, net::Closing closing);

private:
    static runtime::Task<void> close_stream(std::unique_ptr<net::Stream> stream,
                                            net::Closing closing);
    static runtime::Task<void> stop_listeners(ProxyCore* core, LocalPodPtr pod);
    static runtime::Task<void> stop_listener(std::unique_ptr<net::Listener> listener);
    std::vector<LocalPodPtr> all_pods() const;  // pods may come and go while one awaits
    static runtime::Task<void> end_accepted(ProxyCore* core);
    static runtime::Task<void> run_drain(ProxyCore* core, std::function<void()> done);
    static runtime::Task<void> run_shut_down(ProxyCore* core, std::function<void()> done);

    runtime::Loop& loop_;
    net::SocketSource& sockets_;
    telemetry::CoreMetrics& metrics_;
    std::size_t index_;
    telemetry::FastRandom random_;
    telemetry::FastRandom dice_;
    std::optional<std::uint64_t> dice_seed_;
    std::unique_ptr<LiveMirrors> mirrors_;
    std::shared_ptr<NodeLimits> limits_;
    std::shared_ptr<telemetry::SpanQueue> spans_;
    telemetry::ExplainRing explain_;
    PinnedPtr pinned_;
    std::unordered_map<std::string, net::TlsIdentityPtr> identities_;
    std::unordered_map<std::string, net::TlsIdentityPtr> tls_;
    std::unordered_map<std::string, LocalPodPtr> pods_;
    std::unique_ptr<ExchangePool> exchanges_;
    OutlierWatch outliers_;
    LineTap line_tap_;
    runtime::DrainTrigger drain_;
    runtime::Scope scope_;
    runtime::Scope exit_scope_;
};

}  // namespace orlop::proxy
