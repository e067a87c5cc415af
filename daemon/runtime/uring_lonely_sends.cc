// The part of UringBackend that sends without the ring while there is little else to do: one
// request at a time would pay an entry into the kernel for the send and another one to wait, since
// the wait returns with the send's own completion. Under load one entry carries many sends. See
// decision 0063.
#include "daemon/runtime/uring_ring.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace orlop::runtime {
namespace {

// Larger ones are worth an entry each, and may have to wait for room.
constexpr std::size_t send_at_once_bytes_max = 16 * 1024;

std::size_t bytes_of(const Operation& operation) {
    std::size_t total = operation.message.msg_iovlen == 0 ? operation.length : 0;
    for (std::size_t i = 0; i < operation.message.msg_iovlen; ++i) {
        total += operation.message.msg_iov[i].iov_len;
    }
    return total;
}

// Leaves what is still to be sent; the owner's list of pieces stays as it is.
void keep_rest(Operation& operation, std::size_t sent, std::size_t total) {
    operation.sent_before = sent;
    if (operation.message.msg_iovlen == 0) {
        operation.buffer = static_cast<std::byte*>(operation.buffer) + sent;
        operation.length -= sent;
        return;
    }
    operation.rest = std::make_unique<std::byte[]>(total - sent);
    std::byte* end = operation.rest.get();
    for (std::size_t i = 0; i < operation.message.msg_iovlen; ++i) {
        const iovec& piece = operation.message.msg_iov[i];
        const std::size_t skipped = std::min(sent, piece.iov_len);
        sent -= skipped;
        end = std::copy_n(
            static_cast<const std::byte*>(piece.iov_base) + skipped, piece.iov_len - skipped, end);
    }
    operation.message = {};
    operation.buffer = operation.rest.get();
    operation.length = static_cast<std::size_t>(end - operation.rest.get());
}

}  // namespace

// True: the operation has ended, with its result. False: the ring is to send what is left of it.
bool UringBackend::send_at_once(Operation& operation) {
    operation.sent_before = 0;
    if (busyness_ >= options_.send_at_once_below) {
        return false;
    }
    const std::size_t total = bytes_of(operation);
    if (total > send_at_once_bytes_max) {
        return false;
    }
    constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    const ssize_t sent = operation.message.msg_iovlen != 0
                             ? ::sendmsg(operation.fd, &operation.message, flags)
                             : ::send(operation.fd, operation.buffer, operation.length, flags);
    ++stats_.sends_at_once;
    if (sent < 0) {
        operation.result = -errno;
        return errno != EAGAIN && errno != EINTR;
    }
    if (static_cast<std::size_t>(sent) < total) {
        keep_rest(operation, static_cast<std::size_t>(sent), total);
        return false;
    }
    operation.result = static_cast<int>(sent);
    return true;
}

}  // namespace orlop::runtime
