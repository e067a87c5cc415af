// TunnelClients: the HBONE connections of one source pod, by destination workload.
//
// open() returns a stream of a warm tunnel, or has one made; callers that come while a tunnel is
// being made wait for it and share its failure. WireRequest::timeout bounds each caller's whole
// wait, the answer to its CONNECT included. A tunnel is keyed by the destination's uid and address,
// so that an address that was given to another pod never meets an old connection. Idle ones end
// after limits::upstream_idle_ms; prune() ends those whose workload is gone. One core.
#pragma once

#include "daemon/proxy/tunnel.h"
#include "daemon/proxy/wire.h"

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

namespace orlop::proxy {

class TunnelClients {
public:
    explicit TunnelClients(ProxyCore& core);
    ~TunnelClients();

    runtime::Task<Result<std::unique_ptr<net::Stream>>> open(const WireRequest& request);
    void prune(const model::Snapshot& snapshot);
    void end_all();
    std::size_t size() const;

private:
    struct Slot;
    struct Waiter;
    using SlotPtr = std::shared_ptr<Slot>;
    runtime::Task<Result<std::unique_ptr<net::Stream>>>
    open_stream(const WireRequest& request, SlotPtr slot, Waiter& waiter);
    runtime::Task<Result<std::shared_ptr<Tunnel>>>
    tunnel_for(const WireRequest& request, SlotPtr slot, Waiter& waiter);
    static runtime::Task<void>
    connect_slot(TunnelClients* self, LocalPodPtr pod, SlotPtr slot, WireRequest request);
    static Error end_error();
    runtime::Task<Result<std::shared_ptr<Tunnel>>> make_tunnel(const WireRequest& request);
    static void on_sweep(void* self);
    void arm_sweep();

    ProxyCore& core_;
    std::unordered_map<std::string, SlotPtr> slots_;
    runtime::Timer sweep_;
    bool ended_ = false;
};

}  // namespace orlop::proxy
