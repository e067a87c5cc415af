#include "daemon/proxy/tunnel_clients.h"

#include "daemon/base/log.h"
#include "daemon/net/connector.h"
#include "daemon/proxy/conversation.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

constexpr Duration sweep_interval = std::chrono::seconds(30);

std::string slot_key(const model::Endpoint& endpoint) {
    return endpoint.workload->uid + "@" + endpoint.address.ip.to_string();
}

}  // namespace

// A request that waits for a tunnel, or for the answer to its CONNECT.
struct TunnelClients::Waiter {
    runtime::Event changed;
    std::optional<Error> failure;
    TunnelStream* stream = nullptr;  // once there is one

    void give_up(Error error) {
        if (!failure) {
            failure = std::move(error);
        }
        if (stream != nullptr) {
            stream->abort(*failure);
        }
        changed.set();
    }
    static void on_deadline(void* self) {
        static_cast<Waiter*>(self)->give_up(
            Error{ErrorKind::timed_out, "connect timeout (HBONE)", Side::upstream, ETIMEDOUT});
    }
    static void on_interrupt(void* self) {
        static_cast<Waiter*>(self)->give_up(
            Error{ErrorKind::cancelled, "the request was given up", Side::internal, 0});
    }
};

struct TunnelClients::Slot {
    std::string uid;
    std::vector<std::shared_ptr<Tunnel>> tunnels;
    bool connecting = false;
    net::Interrupt interrupt;  // of the connecting
    std::vector<Waiter*> waiters;

    std::shared_ptr<Tunnel> ready() {
        std::erase_if(tunnels, [](const auto& tunnel) { return tunnel->dead(); });
        for (const auto& tunnel : tunnels) {
            if (tunnel->can_open()) {
                return tunnel;
            }
        }
        return nullptr;
    }
};

TunnelClients::TunnelClients(ProxyCore& core)
    : core_(core), sweep_(&TunnelClients::on_sweep, this) {}

TunnelClients::~TunnelClients() = default;

runtime::Task<Result<std::shared_ptr<Tunnel>>>
TunnelClients::make_tunnel(const WireRequest& request) {
    const SpiffeId& expected = request.endpoint.workload->identity;
    auto identity = core_.identity(request.source->workload->identity);
    if (!identity) {
        co_return fail(ErrorKind::unauthenticated,
                       "no certificate yet for " + request.source->workload->identity.to_string() +
                           "; see `orlopctl config certs`");
    }
    net::ConnectRequest wish{request.source->network.get(),
                             {request.endpoint.address.ip, hbone_port},
                             std::nullopt,
                             request.timeout,
                             request.interrupt,
                             request.keepalive};
    auto tcp = co_await net::connect(core_.loop(), core_.sockets(), wish);
    if (!tcp) {
        Error error = tcp.error();
        error.context += " (HBONE; a NetworkPolicy may block port 15008)";
        co_return std::unexpected(std::move(error));
    }
    auto tls = co_await net::tls_connect(std::move(*tcp),
                                         *identity,
                                         expected,
                                         request.endpoint.address.ip.to_string() + "|" +
                                             expected.to_string());
    if (!tls) {
        core_.metrics().add(telemetry::CoreCounter::handshakes_failed);
        co_return std::unexpected(tls.error());
    }
    core_.metrics().add(telemetry::CoreCounter::handshakes);
    if (net::was_resumed(**tls)) {
        core_.metrics().add(telemetry::CoreCounter::handshakes_resumed);
    }
    co_return Tunnel::create(std::move(*tls), h2::Role::client, nullptr);
}

// Runs apart from the requests that wait for it: none of them may take the others' attempt away by
// giving up, and none waits behind the attempts of others. `pod` keeps `self` alive.
runtime::Task<void> TunnelClients::connect_slot(TunnelClients* self,
                                                LocalPodPtr pod,
                                                SlotPtr slot,
                                                WireRequest request) {
    slot->interrupt.reset();
    request.interrupt = &slot->interrupt;
    auto tunnel = co_await self->make_tunnel(request);
    slot->connecting = false;
    std::shared_ptr<Tunnel> made = tunnel.value_or(nullptr);
    if (tunnel && self->ended_) {
        (*tunnel)->abort(self->end_error());
        tunnel = std::unexpected(self->end_error());
    }
    if (tunnel) {
        slot->tunnels.push_back(*tunnel);
    }
    for (Waiter* waiter : slot->waiters) {
        if (!tunnel && !waiter->failure) {
            waiter->failure = tunnel.error();
        }
        waiter->changed.set();
    }
    // After the waiters: their CONNECTs leave in one write with the preface and the last flight of
    // the TLS handshake.
    if (made != nullptr) {
        self->core_.scope().spawn(&Tunnel::serve, std::move(made));
    }
}

runtime::Task<Result<std::shared_ptr<Tunnel>>>
TunnelClients::tunnel_for(const WireRequest& request, SlotPtr slot, Waiter& waiter) {
    while (!waiter.failure) {
        if (ended_) {
            co_return std::unexpected(end_error());
        }
        if (auto tunnel = slot->ready()) {
            co_return tunnel;
        }
        slot->waiters.push_back(&waiter);
        if (!slot->connecting) {
            slot->connecting = true;
            core_.scope().spawn(&TunnelClients::connect_slot, this, request.source, slot, request);
        }
        co_await waiter.changed;
        std::erase(slot->waiters, &waiter);
    }
    co_return std::unexpected(*waiter.failure);
}

runtime::Task<Result<std::unique_ptr<net::Stream>>>
TunnelClients::open(const WireRequest& request) {
    SlotPtr& entry = slots_[slot_key(request.endpoint)];
    if (!entry) {
        entry = std::make_shared<Slot>();
        entry->uid = request.endpoint.workload->uid;
        arm_sweep();
    }
    Waiter waiter{runtime::Event(core_.loop()), {}, nullptr};
    runtime::Timer deadline(&Waiter::on_deadline, &waiter);
    if (request.timeout > Duration::zero()) {
        core_.loop().timers().set(deadline, core_.loop().now() + request.timeout);
    }
    if (request.interrupt != nullptr) {
        request.interrupt->hook(&Waiter::on_interrupt, &waiter);
    }
    auto stream = co_await open_stream(request, entry, waiter);
    if (request.interrupt != nullptr) {
        request.interrupt->unhook();
    }
    co_return stream;
}

runtime::Task<Result<std::unique_ptr<net::Stream>>>
TunnelClients::open_stream(const WireRequest& request, SlotPtr slot, Waiter& waiter) {
    auto tunnel = co_await tunnel_for(request, slot, waiter);
    if (!tunnel) {
        co_return std::unexpected(tunnel.error());
    }
    std::string caller = request.caller.is_v4() ? request.caller.to_string()
                                                : "[" + request.caller.to_string() + "]";
    std::string forwarded = "for=\"" + caller + "\"";
    const model::Workload& source = *request.source->workload;
    std::string baggage =
        "k8s.namespace.name=" + source.ns + ",k8s.deployment.name=" + source.workload_name +
        ",service.name=" + source.canonical_name + ",service.version=" + source.canonical_revision;
    const Field fields[] = {{"forwarded", forwarded}, {"baggage", baggage}};
    auto stream = (*tunnel)->open(request.endpoint.address.to_string(), fields);
    if (!stream) {
        co_return std::unexpected(stream.error());
    }
    waiter.stream = stream->get();
    struct Forget {  // what gives up after this must not meet a stream that is gone
        Waiter& waiter;
        ~Forget() { waiter.stream = nullptr; }
    } forget{waiter};
    auto status = co_await (*stream)->answer();
    if (status && *status == 200) {
        co_return std::unique_ptr<net::Stream>(std::move(*stream));
    }
    co_await (*stream)->close(net::Closing::reset);
    if (!status) {
        co_return std::unexpected(status.error());
    }
    ErrorKind kind = *status == 401 || *status == 403 ? ErrorKind::denied : ErrorKind::refused;
    co_return fail(
        kind, "the peer's node answered CONNECT with " + std::to_string(*status), Side::upstream);
}

void TunnelClients::arm_sweep() {
    if (!sweep_.armed()) {
        core_.loop().timers().set(sweep_, core_.loop().now() + sweep_interval);
    }
}

void TunnelClients::on_sweep(void* context) {
    auto& self = *static_cast<TunnelClients*>(context);
    Instant oldest = self.core_.loop().now() - std::chrono::milliseconds(limits::upstream_idle_ms);
    std::erase_if(self.slots_, [&](auto& entry) {
        Slot& slot = *entry.second;
        std::erase_if(slot.tunnels, [&](const auto& tunnel) {
            if (!tunnel->dead() && tunnel->open_streams() == 0 && tunnel->idle_since() < oldest) {
                tunnel->begin_goaway();
            }
            return tunnel->dead();
        });
        return slot.tunnels.empty() && !slot.connecting;
    });
    if (!self.slots_.empty()) {
        self.arm_sweep();
    }
}

void TunnelClients::prune(const model::Snapshot& snapshot) {
    for (auto& [key, slot] : slots_) {
        const model::Workload* workload = snapshot.find_workload_uid(slot->uid);
        if (workload != nullptr && !workload->terminating && workload->redirected) {
            continue;
        }
        for (const auto& tunnel : slot->tunnels) {
            if (workload == nullptr) {
                tunnel->abort(
                    Error{ErrorKind::closed, "the destination pod is gone", Side::upstream, 0});
            } else {
                tunnel->begin_goaway();
            }
        }
    }
}

void TunnelClients::end_all() {
    ended_ = true;
    for (auto& [key, slot] : slots_) {
        slot->interrupt.fire();
        for (const auto& tunnel : slot->tunnels) {
            tunnel->abort(end_error());
        }
    }
    sweep_.cancel();
}

Error TunnelClients::end_error() {
    return Error{
        ErrorKind::cancelled, "the source pod has left or its node stops", Side::internal, 0};
}

std::size_t TunnelClients::size() const {
    std::size_t total = 0;
    for (const auto& [key, slot] : slots_) {
        total += slot->tunnels.size();
    }
    return total;
}

}  // namespace orlop::proxy
