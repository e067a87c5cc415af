#include "bench/load/sever.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <vector>

namespace orlop::bench {
namespace {

constexpr std::uint32_t established = 1U << 1;  // TCP_ESTABLISHED of net/tcp_states.h

struct Question {
    nlmsghdr head{};
    inet_diag_req_v2 body{};
};

// In network order; address 0: any.
struct Peer {
    std::uint32_t address = 0;
    std::uint16_t port = 0;
};

std::string failure(const char* what, int error) {
    return std::string(what) + ": " + std::strerror(error);
}

bool ask(int fd, std::uint16_t type, int flags, const inet_diag_req_v2& body) {
    Question question;
    question.head.nlmsg_len = sizeof question;
    question.head.nlmsg_type = type;
    question.head.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    question.body = body;
    return send(fd, &question, sizeof question, 0) == static_cast<ssize_t>(sizeof question);
}

// Walks one datagram of answers; 0: more to come, 1: the end, negative: -errno.
int walk(const char* text,
         std::size_t size,
         std::vector<inet_diag_sockid>& found,
         const Peer& peer) {
    while (size >= sizeof(nlmsghdr)) {
        nlmsghdr head;
        std::memcpy(&head, text, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > size) {
            return -EBADMSG;
        }
        if (head.nlmsg_type == NLMSG_DONE) {
            return 1;
        }
        if (head.nlmsg_type == NLMSG_ERROR) {
            int error = 0;
            std::memcpy(&error, text + NLMSG_HDRLEN, sizeof error);
            return error == 0 ? 1 : error;
        }
        inet_diag_msg message;
        std::memcpy(&message, text + NLMSG_HDRLEN, sizeof message);
        if (message.id.idiag_dport == peer.port &&
            (peer.address == 0 || message.id.idiag_dst[0] == peer.address)) {
            found.push_back(message.id);
        }
        auto step = NLMSG_ALIGN(head.nlmsg_len);
        text += step;
        size -= step < size ? step : size;
    }
    return 0;
}

}  // namespace

Severer::Severer() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {}

Severer::~Severer() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

std::expected<int, std::string> Severer::sever(const std::string& address, std::uint16_t port) {
    Peer peer{.port = htons(port)};
    if (!address.empty() && inet_pton(AF_INET, address.c_str(), &peer.address) != 1) {
        return std::unexpected("'" + address + "' is no IPv4 address");
    }
    inet_diag_req_v2 body{};
    body.sdiag_family = AF_INET;
    body.sdiag_protocol = IPPROTO_TCP;
    body.idiag_states = established;
    if (!ask(fd_, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body)) {
        return std::unexpected(failure("sock_diag", errno));
    }
    std::vector<inet_diag_sockid> found;
    std::array<char, 32 * 1024> buffer;
    for (int state = 0; state == 0;) {
        auto got = recv(fd_, buffer.data(), buffer.size(), 0);
        state = got < 0 ? -errno : walk(buffer.data(), static_cast<std::size_t>(got), found, peer);
        if (state < 0) {
            return std::unexpected(failure("sock_diag", -state));
        }
    }
    for (const auto& id : found) {
        body.id = id;
        if (!ask(fd_, SOCK_DESTROY, NLM_F_ACK, body)) {
            return std::unexpected(failure("sock_diag", errno));
        }
        auto got = recv(fd_, buffer.data(), buffer.size(), 0);
        std::vector<inet_diag_sockid> none;
        int state =
            got < 0 ? -errno : walk(buffer.data(), static_cast<std::size_t>(got), none, peer);
        if (state < 0 && state != -ENOENT) {
            return std::unexpected(failure("SOCK_DESTROY", -state));
        }
    }
    return static_cast<int>(found.size());
}

}  // namespace orlop::bench
