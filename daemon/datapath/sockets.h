// Sockets that live in a pod's network namespace, made by any thread of orlopd.
//
// A namespace matters only when a socket is created; afterwards the socket works on any core's
// ring. PodNetwork names a pod's namespace and the kernel map in which orlopd's own sockets are
// registered: a registered socket is exempt from capture. The register is keyed by the socket
// itself, so it cannot be forged by a pod (as a mark can) nor inherited by a reused process id,
// and an entry dies with its socket. Nothing here needs libbpf.
//
// Lifetime: a PodNetwork is immutable and shared (shared_ptr) by the control thread and the cores;
// the last holder closes the namespace fd. On deletion of a pod drop it and all sockets made from
// it, or the namespace stays. Threading: all functions may be called from any thread that may
// setns(2) (CAP_SYS_ADMIN); the calling thread is back in its own namespace on return. If the way
// back fails the process aborts, because every later socket would be made in a stranger's network.
//
//     auto socket = open_upstream_socket(*pod.network, {.destination = address.ip});
//     ... IORING_OP_CONNECT on socket->get() ...
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/ip.h"
#include "daemon/base/unique_fd.h"

#include <memory>
#include <optional>
#include <span>

namespace orlop::datapath {

class PodNetwork {
public:
    PodNetwork(UniqueFd netns, UniqueFd exemptions)
        : netns_(std::move(netns)), exemptions_(std::move(exemptions)) {}

    int netns_fd() const { return netns_.get(); }
    int exemptions_fd() const { return exemptions_.get(); }  // -1: nothing is captured here

private:
    UniqueFd netns_;
    UniqueFd exemptions_;
};

struct UpstreamSocket {
    IpAddress destination;  // decides the family; the socket is not connected
    // Set for a delivery to the app that shall see this caller's address (same family as
    // `destination`, else refused). The port seen is another one. Needs PodSpec::source to be
    // SourceAddress::caller. Unset: ordinary socket, the peer sees the pod's address.
    std::optional<IpAddress> deliver_from = std::nullopt;
};

// A TCP socket in the pod's namespace: O_NONBLOCK, CLOEXEC, TCP_NODELAY, exempt from capture.
Result<UniqueFd> open_upstream_socket(const PodNetwork& network, const UpstreamSocket& wanted);

// The same, several at once for a pool: one trip into the namespace. Fills `sockets` from the
// front; returns how many were made. Fails only if none could be.
Result<std::size_t> open_upstream_sockets(const PodNetwork& network,
                                          const UpstreamSocket& wanted,
                                          std::span<UniqueFd> sockets);

// Puts the calling thread into `netns_fd` until destroyed. For code that must make its own
// sockets there. Keep it short, never across a suspension point.
class NetnsVisit {
public:
    static Result<NetnsVisit> enter(int netns_fd);
    NetnsVisit(NetnsVisit&& other) noexcept : home_fd_(std::exchange(other.home_fd_, -1)) {}
    NetnsVisit& operator=(NetnsVisit&&) = delete;
    ~NetnsVisit();  // aborts the process when the way home is closed

private:
    explicit NetnsVisit(int home_fd) : home_fd_(home_fd) {}
    int home_fd_;
};

}  // namespace orlop::datapath
