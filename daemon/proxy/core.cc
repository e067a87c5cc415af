#include "daemon/proxy/core.h"

#include "daemon/base/log.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/destination_state.h"
#include "daemon/proxy/exchange_pool.h"
#include "daemon/proxy/gateway.h"
#include "daemon/proxy/mirror.h"
#include "daemon/proxy/node_limits.h"
#include "daemon/proxy/tunnel_clients.h"

#include <algorithm>
#include <array>

namespace orlop::proxy {

LocalPod::LocalPod() = default;
LocalPod::~LocalPod() = default;

ProxyCore::ProxyCore(runtime::Loop& loop,
                     net::SocketSource& sockets,
                     telemetry::CoreMetrics& metrics,
                     std::size_t index)
    : loop_(loop), sockets_(sockets), metrics_(metrics), index_(index),
      random_(telemetry::FastRandom::seeded_by_kernel()), dice_(random_.next()),
      mirrors_(std::make_unique<LiveMirrors>()),
      limits_(std::make_shared<NodeLimits>(random_.next())),
      exchanges_(std::make_unique<ExchangePool>(*this)), outliers_(loop), drain_(loop),
      scope_(loop), exit_scope_(loop) {}

ProxyCore::~ProxyCore() = default;

// --- configuration ---

void ProxyCore::publish(model::SnapshotPtr snapshot) {
    pinned_ = std::make_shared<const Pinned>(Pinned{snapshot});
    if (auto seed = snapshot->mesh().fault_seed; seed != dice_seed_) {
        dice_seed_ = seed;
        dice_ = telemetry::FastRandom(seed.value_or(0) + index_);
    }
    for (auto& [uid, pod] : pods_) {
        if (auto workload = snapshot->share_workload(uid)) {
            pod->workload = std::move(workload);
            pod->judged.judge_again(*snapshot, *pod->workload);
        }
        if (pod->tunnels) {
            pod->tunnels->prune(*snapshot);
        }
        pod->outside.clear();
        std::erase_if(pod->destinations, [&](auto& entry) {
            const model::Destination* found = snapshot->find_destination(entry.first);
            if (found == nullptr) {
                entry.second->end_all();
                return true;
            }
            entry.second->follow(*found, pod->workload);
            return false;
        });
    }
}

void ProxyCore::set_identity(const SpiffeId& id, net::TlsIdentityPtr identity) {
    identities_[id.to_string()] = std::move(identity);
}

void ProxyCore::remove_identity(const SpiffeId& id) {
    identities_.erase(id.to_string());
}

net::TlsIdentityPtr ProxyCore::identity(const SpiffeId& id) const {
    auto found = identities_.find(id.to_string());
    return found == identities_.end() ? nullptr : found->second;
}

void ProxyCore::set_tls(const std::string& key, net::TlsIdentityPtr context) {
    tls_[key] = std::move(context);
}

void ProxyCore::remove_tls(const std::string& key) {
    tls_.erase(key);
}

net::TlsIdentityPtr ProxyCore::tls(const std::string& key) const {
    auto found = tls_.find(key);
    return found == tls_.end() ? nullptr : found->second;
}

// --- pods ---

void ProxyCore::add_pod(const std::string& uid, net::NetworkPtr network) {
    auto& pod = pods_[uid];
    if (!pod) {
        pod = std::make_shared<LocalPod>();
        pod->uid = uid;
        pod->tunnels = std::make_unique<TunnelClients>(*this);
    }
    pod->network = std::move(network);
    if (pinned_) {
        pod->workload = pinned_->snapshot->share_workload(uid);
    }
}

LocalPodPtr ProxyCore::find_pod(std::string_view uid) const {
    auto found = pods_.find(std::string(uid));
    return found == pods_.end() ? nullptr : found->second;
}

namespace {

using Serve = runtime::Task<void> (*)(Conversation);

// Takes over an accepted connection, or drops it when the core or the pod is over its share.
void accept_into(ProxyCore& core, const LocalPodPtr& pod, int fd, Serve serve) {
    auto stream = std::make_unique<net::TcpStream>(core.loop(), fd);
    Conversation conversation{&core, pod, nullptr, stream->local_address(), stream->peer_address()};
    if (serve == &serve_inbound && conversation.original.port == hbone_port) {
        serve = &serve_hbone;
    }
    // Not steered: somebody inside the pod connected to the listener's own port.
    const auto* own = pod->workload.get();
    bool self_made =
        conversation.original.ip.is_loopback() ||
        (serve == &serve_outbound && own != nullptr &&
         std::ranges::find(own->addresses, conversation.original.ip) != own->addresses.end());
    bool over = core.scope().live() >= limits::connections_per_core_max ||
                pod->live.size() >= limits::connections_per_workload_max;
    if (self_made || over || !pod->workload || pod->closed || core.draining()) {
        if (over) {
            core.metrics().add(telemetry::CoreCounter::refused_limit);
        }
        core.dispose(std::move(stream), net::Closing::reset);
        return;
    }
    core.metrics().add(telemetry::CoreCounter::downstream_connections);
    conversation.stream = std::move(stream);
    core.scope().spawn(serve, std::move(conversation));
}

std::unique_ptr<net::Listener>
listen(ProxyCore& core, const LocalPodPtr& pod, UniqueFd fd, Serve serve) {
    if (!fd.valid()) {
        return nullptr;
    }
    core.loop().backend().prepare_stream_socket(fd.get());  // accepted sockets inherit
    core.loop().backend().set_close_style(fd.get(), runtime::Backend::CloseStyle::reset);
    std::weak_ptr<LocalPod> weak = pod;
    auto listener = std::make_unique<net::Listener>(
        core.loop(), std::move(fd), [&core, weak, serve](int accepted) {
            if (auto owner = weak.lock()) {
                accept_into(core, owner, accepted, serve);
            } else {
                core.loop().backend().close(accepted);
            }
        });
    listener->start();
    return listener;
}

}  // namespace

void ProxyCore::open_pod(const std::string& uid, PodListeners listeners) {
    LocalPodPtr pod = find_pod(uid);
    if (!pod) {
        return;
    }
    pod->outbound = listen(*this, pod, std::move(listeners.outbound), &serve_outbound);
    pod->inbound = listen(*this, pod, std::move(listeners.inbound), &serve_inbound);
}

void ProxyCore::open_gateway(const std::string& uid,
                             const SocketAddress& listener,
                             UniqueFd socket) {
    LocalPodPtr pod = find_pod(uid);
    if (pod && !draining()) {
        pod->gateway[listener] = listen_at_gateway(*this, pod, listener, std::move(socket));
    }
}

void ProxyCore::close_gateway(const std::string& uid, const SocketAddress& listener) {
    LocalPodPtr pod = find_pod(uid);
    auto found = pod ? pod->gateway.extract(listener) : decltype(pod->gateway)::node_type();
    if (!found.empty()) {
        scope_.spawn(&ProxyCore::stop_listener, std::move(found.mapped()));
    }
}

runtime::Task<void> ProxyCore::stop_listener(std::unique_ptr<net::Listener> listener) {
    co_await listener->stop();
}

runtime::Task<void> ProxyCore::stop_listeners(ProxyCore* core, LocalPodPtr pod) {
    // Taken out first: a drain, a forced end and the pod's own end may overlap.
    std::array listeners = {std::move(pod->outbound), std::move(pod->inbound)};
    for (auto& listener : listeners) {
        if (listener) {
            co_await listener->stop();
            listener.reset();
        }
    }
    auto gateway = std::move(pod->gateway);
    for (auto& [address, listener] : gateway) {
        co_await listener->stop();
    }
}

std::vector<LocalPodPtr> ProxyCore::all_pods() const {
    std::vector<LocalPodPtr> pods;
    pods.reserve(pods_.size());
    for (const auto& [uid, pod] : pods_) {
        pods.push_back(pod);
    }
    return pods;
}

void ProxyCore::close_pod(const std::string& uid) {
    LocalPodPtr pod = find_pod(uid);
    if (!pod) {
        return;
    }
    pods_.erase(uid);
    pod->closed = true;
    scope_.spawn(&ProxyCore::stop_listeners, this, pod);
    pod->live.abort_all(Error{ErrorKind::closed, "the pod has left the mesh", Side::internal, 0});
    for (auto& [key, state] : pod->destinations) {
        state->end_all();
    }
    pod->tunnels->end_all();
}

std::size_t ProxyCore::live_connections(const std::string& uid) const {
    LocalPodPtr pod = find_pod(uid);
    return pod ? pod->live.size() : 0;
}

// --- streams nobody uses any more ---

void ProxyCore::dispose(std::unique_ptr<net::Stream> stream, net::Closing closing) {
    scope_.spawn(&ProxyCore::close_stream, std::move(stream), closing);
}

runtime::Task<void> ProxyCore::close_stream(std::unique_ptr<net::Stream> stream,
                                            net::Closing closing) {
    // One turn later: this may be called from inside a callback of that very stream.
    co_await runtime::Yield(stream->loop());
    co_await stream->close(closing);
}

// --- the end ---

runtime::Task<void> ProxyCore::run_drain(ProxyCore* core, std::function<void()> done) {
    for (const LocalPodPtr& pod : core->all_pods()) {
        co_await stop_listeners(core, pod);
    }
    for (const LocalPodPtr& pod : core->all_pods()) {
        for (auto& [key, state] : pod->destinations) {
            state->end_all();
        }
        pod->live.interrupt_idle();
        for (const auto& accepted : pod->accepted) {
            if (auto tunnel = accepted.lock()) {
                tunnel->begin_goaway();
            }
        }
    }
    core->scope_.spawn(&ProxyCore::end_accepted, core);
    co_await core->drain_.drained();
    for (auto& [uid, pod] : core->pods_) {
        pod->tunnels->end_all();
        pod->live.abort_all(Error{ErrorKind::cancelled, "orlopd stops", Side::internal, 0});
    }
    done();
}

// The first GOAWAY lets what is on its way arrive; the second says where it ends.
runtime::Task<void> ProxyCore::end_accepted(ProxyCore* core) {
    net::Interrupt never;
    co_await net::wait_for(
        core->loop(), std::chrono::milliseconds(limits::goaway_notice_ms), never);
    for (const LocalPodPtr& pod : core->all_pods()) {
        for (const auto& accepted : pod->accepted) {
            if (auto tunnel = accepted.lock()) {
                tunnel->begin_goaway();
            }
        }
    }
}

void ProxyCore::drain(std::function<void()> done) {
    drain_.begin();
    scope_.spawn(&ProxyCore::run_drain, this, std::move(done));
}

void ProxyCore::shut_down(std::function<void()> done) {
    drain_.begin();
    exit_scope_.spawn(&ProxyCore::run_shut_down, this, std::move(done));
}

runtime::Task<void> ProxyCore::run_shut_down(ProxyCore* core, std::function<void()> done) {
    for (const LocalPodPtr& pod : core->all_pods()) {
        co_await stop_listeners(core, pod);
    }
    core->force();
    core->outliers_.stop();
    for (const LocalPodPtr& pod : core->all_pods()) {
        for (auto& [key, state] : pod->destinations) {
            state->end_all();
        }
    }
    co_await core->scope_.join();
    core->pods_.clear();
    done();
}

void ProxyCore::share_limits(std::shared_ptr<NodeLimits> limits) {
    limits_ = std::move(limits);
}

void ProxyCore::force() {
    mirrors_->cut_all();
    for (auto& [uid, pod] : pods_) {
        pod->live.abort_all(Error{ErrorKind::cancelled, "orlopd stops", Side::internal, 0});
        pod->tunnels->end_all();
    }
}

}  // namespace orlop::proxy
