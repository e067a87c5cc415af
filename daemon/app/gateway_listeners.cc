#include "daemon/app/gateway_listeners.h"

#include "daemon/base/log.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>

namespace orlop::app {
namespace {

constexpr int backlog = 4096;

Result<UniqueFd> listening_socket(const SocketAddress& address) {
    sockaddr_storage storage;
    unsigned length = address.to_sockaddr(storage);
    UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) {
        return fail_errno(errno, "no socket for " + address.to_string());
    }
    int one = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (storage.ss_family == AF_INET6) {
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
        ::listen(fd.get(), backlog) != 0) {
        int error = errno;
        return std::unexpected(Error{ErrorKind::system,
                                     "cannot listen on " + address.to_string() + ": " +
                                         std::strerror(error) +
                                         "; free the port, or choose addresses with MeshConfig "
                                         "spec.gateway.addresses",
                                     Side::internal,
                                     error});
    }
    return fd;
}

// The kernel may have no IPv6 at all: then nobody can call there either.
bool is_no_family(const Error& error) {
    return error.sys_errno == EAFNOSUPPORT || error.sys_errno == EADDRNOTAVAIL;
}

}  // namespace

// The pseudo pod in whose name the gateway calls; its network is the node's own.
void GatewayListeners::introduce(const model::Snapshot& snapshot) {
    const auto& workload = snapshot.gateway_workload();
    if (!workload || uid_ == workload->uid) {
        return;
    }
    UniqueFd netns(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    auto network = std::make_shared<const PodNetworkHandle>(
        std::make_shared<const datapath::PodNetwork>(std::move(netns), UniqueFd()));
    uid_ = workload->uid;
    cores_.tell_all([uid = uid_, network](proxy::ProxyCore& core) { core.add_pod(uid, network); });
}

Result<void> GatewayListeners::open(const SocketAddress& address) {
    std::vector<std::shared_ptr<UniqueFd>> sockets;  // all before one accepts
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        auto socket = listening_socket(address);
        if (!socket) {
            return std::unexpected(socket.error());
        }
        sockets.push_back(std::make_shared<UniqueFd>(std::move(*socket)));
    }
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        cores_.tell(i, [uid = uid_, address, socket = sockets[i]](proxy::ProxyCore& core) {
            core.open_gateway(uid, address, std::move(*socket));
        });
    }
    return {};
}

void GatewayListeners::reconcile(const model::Snapshot& snapshot) {
    introduce(snapshot);
    std::map<SocketAddress, model::ObjectRefPtr> wanted;
    for (const auto& gateway : snapshot.gateways()) {
        wanted.emplace(gateway->address, gateway->source);
    }
    std::erase_if(open_, [&](const SocketAddress& address) {
        if (wanted.contains(address)) {
            return false;
        }
        cores_.tell_all(
            [uid = uid_, address](proxy::ProxyCore& core) { core.close_gateway(uid, address); });
        log_line(LogLevel::info, "app", "gateway: no longer on {}", address.to_string());
        return true;
    });
    std::erase_if(failed_, [&](const auto& entry) { return !wanted.contains(entry.first); });
    for (const auto& [address, source] : wanted) {
        if (open_.contains(address)) {
            continue;
        }
        auto opened = open(address);
        if (opened) {
            open_.insert(address);
            failed_.erase(address);
            log_line(LogLevel::info, "app", "gateway: listens on {}", address.to_string());
            continue;
        }
        if (is_no_family(opened.error()) && address.ip.to_string() == "::") {
            continue;
        }
        std::string& known = failed_[address];
        std::string failure = source->to_string() + ": " + opened.error().context;
        if (known != failure) {
            log_line(LogLevel::error, "app", "gateway: {}", failure);
        }
        known = std::move(failure);
    }
}

std::vector<GatewayPortStatus> GatewayListeners::status() const {
    std::vector<GatewayPortStatus> out;
    for (const SocketAddress& address : open_) {
        out.push_back({address, ""});
    }
    for (const auto& [address, failure] : failed_) {
        out.push_back({address, failure});
    }
    return out;
}

}  // namespace orlop::app
