// Backend: what a ring can do, as one small interface with two implementations: the kernel's
// io_uring and the tests' seeded fake with virtual time.
//
// An Operation lives in its owner (a stream, or an awaiter in a coroutine frame) from start() until
// its completion is delivered; the owner must not die before. cancel() asks for an early end: the
// completion still arrives, with -ECANCELED or with the real result. Results follow io_uring:
// >= 0 on success, -errno on failure. All calls on the loop's thread.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/ip.h"

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

struct iovec;

namespace orlop::runtime {

// Bytes received, lent by the backend until release_buffer(). Movable by copy, owned by convention.
struct LentBuffer {
    std::byte* data = nullptr;
    std::uint32_t size = 0;  // bytes received
    std::uint32_t capacity = 0;
    std::uint32_t id = 0;  // backend's own number
};

enum class OpCode : unsigned char {
    none,
    accept,   // multishot: one completion per connection, result is the fd; ends without `more`
    receive,  // single shot into a buffer the backend picks; see Operation::lent
    receive_into,  // single shot into `buffer`/`length`: for bulk relays with their own buffer
    send,     // all pieces of `message` (or buffer/length, which the backend may change); fewer
              // only when cut by a cancel or by an error, which the next call tells
    connect,  // to `address`
    read,     // files, eventfd, inotify into buffer/length
    poll,     // wait for poll mask in `length`
};

// How large a buffer a receive should get. Bulk ones are few: a receive that finds none left gets
// an ordinary one.
enum class ReceiveSize : unsigned char { ordinary, bulk };

struct Operation {
    using Callback = void (*)(Operation& operation);
    OpCode code = OpCode::none;
    ReceiveSize size = ReceiveSize::ordinary;  // receive
    bool in_flight = false;
    bool more = false;              // multishot only: further completions will come
    bool cancel_requested = false;  // the backend's own note
    int fd = -1;
    int result = 0;
    void* buffer = nullptr;
    std::size_t length = 0;
    msghdr message{};            // send with several pieces: set message.msg_iov
    sockaddr_storage address{};  // connect
    socklen_t address_length = 0;
    std::optional<LentBuffer> lent;  // receive: filled when result > 0
    Callback on_complete = nullptr;  // called from the loop, never from inside start()
    void* owner = nullptr;
    std::size_t sent_before = 0;        // the backend's own notes: a send that stopped half-way
    std::unique_ptr<std::byte[]> rest;  // and its pieces that are left, as one
};

struct BackendStats {
    std::uint64_t enters = 0;       // io_uring_enter calls
    std::uint64_t submissions = 0;  // operations started
    std::uint64_t completions = 0;
    std::uint64_t buffer_misses = 0;  // receives that had to use heap memory
    std::uint64_t sends_at_once = 0;  // system calls that sent without the ring
};

class Backend {
public:
    virtual ~Backend() = default;

    virtual void start(Operation& operation) = 0;
    virtual void cancel(Operation& operation) = 0;
    virtual void release_buffer(const LentBuffer& buffer) = 0;
    // Closes without waiting; no operation may be in flight on the descriptor. One that was
    // received from is closed here and nowhere else: the ring may still listen to it.
    virtual void close(int fd) = 0;

    // Submits what was started and delivers completions; waits until `deadline` (nullopt: for
    // ever) unless `may_wait` says that work is ready already.
    enum class Wait : unsigned char { until_event, no };
    virtual void poll(Wait wait, std::optional<Instant> deadline) = 0;

    virtual Instant now() = 0;
    virtual const BackendStats& stats() const = 0;

    // Socket calls that the kernel answers at once; the fake answers them from its own tables.
    virtual SocketAddress local_address(int fd) = 0;
    virtual SocketAddress peer_address(int fd) = 0;
    virtual void shutdown_write(int fd) = 0;
    enum class CloseStyle : unsigned char { orderly, reset };
    virtual void set_close_style(int fd, CloseStyle style) = 0;  // SO_LINGER {1,0} or off
    virtual void prepare_stream_socket(int fd) = 0;              // TCP_NODELAY and such
};

}  // namespace orlop::runtime
