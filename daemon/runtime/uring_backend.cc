#include "daemon/runtime/uring_ring.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <unistd.h>

namespace orlop::runtime {
namespace {

constexpr unsigned submit_tries_max = 1u << 20;
constexpr unsigned polls_without_ring_max = 4;

}  // namespace

UringBackend::~UringBackend() {
    if (open_) {
        cancel_everything();
        io_uring_queue_exit(&ring_);
    }
    for (const auto& standing : standing_.all()) {
        drop_parked(*standing);
    }
}

// The exit of a ring goes on behind our back; nothing may be left that writes into memory of ours.
// Closes that were queued go out first.
void UringBackend::cancel_everything() {
    io_uring_submit(&ring_);
    io_uring_sync_cancel_reg all{};
    all.fd = -1;
    all.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    all.timeout.tv_sec = 1;
    io_uring_register_sync_cancel(&ring_, &all);  // Linux 6.0; older ones end them soon after
}

// Copies and hands back the slot at once: a callback that fills the submission queue lets the
// kernel post more, and the walk must not hold the queue full.
bool UringBackend::next_completion(io_uring_cqe& cqe) {
    io_uring_cqe* head = nullptr;
    if (io_uring_cq_ready(&ring_) == 0 || io_uring_peek_cqe(&ring_, &head) != 0) {
        return false;
    }
    cqe = *head;
    io_uring_cqe_seen(&ring_, head);
    return true;
}

static Error explain_ring_failure(int number) {
    const char* hint = "check the kernel log";
    if (number == ENOSYS) {
        hint = "the kernel has no io_uring (5.19 or newer is needed) or a seccomp profile hides it";
    } else if (number == EPERM) {
        hint = "io_uring is forbidden: set sysctl kernel.io_uring_disabled=0, or allow "
               "io_uring_setup in the container's seccomp profile";
    } else if (number == ENOMEM) {
        hint = "locked memory is exhausted: raise RLIMIT_MEMLOCK (ulimit -l unlimited)";
    }
    Error error = system_error(number, "cannot create an io_uring");
    error.context += std::string("; ") + hint;
    return error;
}

Result<void> UringBackend::open(UringNotes* notes) {
    struct Step {
        unsigned flags;
        const char* missing;  // what the step before lacked
    };
    constexpr unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    constexpr Step steps[] = {
        {common | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
             IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
         nullptr},
        {common | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
         "io_uring DEFER_TASKRUN (Linux 6.1) is missing; completions interrupt the thread "
         "cooperatively instead"},
        {common, "io_uring COOP_TASKRUN (Linux 5.19) is missing; completions interrupt the thread"},
    };
    int last = 0;
    const bool wanted[] = {
        options_.use_defer_taskrun && options_.use_coop_taskrun, options_.use_coop_taskrun, true};
    for (const Step& step : steps) {
        io_uring_params params{};
        params.flags = step.flags;
        params.cq_entries = options_.completions;
        last = wanted[&step - steps] ? io_uring_queue_init_params(options_.entries, &ring_, &params)
                                     : -EINVAL;
        if (step.missing != nullptr && notes != nullptr) {
            notes->lines.emplace_back(step.missing);
        }
        if (last == 0) {
            taskrun_flag_ = (step.flags & IORING_SETUP_TASKRUN_FLAG) != 0;
            break;
        }
        if (last != -EINVAL) {
            break;
        }
    }
    if (last < 0) {
        return std::unexpected(explain_ring_failure(-last));
    }
    open_ = true;
    io_uring_ring_dontfork(&ring_);
    io_uring_register_ring_fd(&ring_);  // spares a look-up per enter; refused, all works without
    if ((ring_.features & IORING_FEAT_EXT_ARG) == 0) {
        return fail(ErrorKind::unsupported,
                    "io_uring waits with a timeout (Linux 5.11) are missing; use 5.19 or newer");
    }
    // Multishot accept arrived together with COOP_TASKRUN and cannot be probed by itself.
    multishot_accept_ = options_.use_multishot_accept && taskrun_flag_;
    if (!multishot_accept_ && notes != nullptr) {
        notes->lines.emplace_back("io_uring multishot accept (Linux 5.19) is missing; each "
                                  "connection is accepted by a request of its own instead");
    }
    auto registered = register_buffers(notes);
    find_multishot_receive(notes);
    return registered;
}

// Multishot receive cannot be probed; SEND_ZC came in the same release.
void UringBackend::find_multishot_receive(UringNotes* notes) {
    if (!ordinary_.ready()) {
        return;  // has been noted; it needs them
    }
    if (io_uring_probe* probe = io_uring_get_probe_ring(&ring_)) {
        standing_receives_ = options_.use_multishot_receive &&
                             io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) != 0;
        io_uring_free_probe(probe);
    }
    if (!standing_receives_ && notes != nullptr) {
        notes->lines.emplace_back("io_uring multishot receive (Linux 6.0) is missing; each receive "
                                  "is a request of its own instead");
    }
}

static void note_missing_buffer_rings(UringNotes* notes) {
    if (notes != nullptr) {
        notes->lines.emplace_back("io_uring buffer rings (Linux 5.19) are missing; each receive "
                                  "uses heap memory of its own instead");
    }
}

Result<void> UringBackend::register_buffers(UringNotes* notes) {
    if (!options_.use_buffer_rings) {
        note_missing_buffer_rings(notes);
        return {};
    }
    auto opened = ordinary_.open(ring_, 0, options_.buffers, options_.buffer_bytes);
    if (opened) {
        opened = bulk_.open(ring_, 1, options_.bulk_buffers, options_.bulk_buffer_bytes);
    }
    if (!opened && opened.error().kind == ErrorKind::unsupported) {
        note_missing_buffer_rings(notes);
        return {};
    }
    return opened;
}

io_uring_sqe* UringBackend::next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    int result = 0;
    for (unsigned tries = 0; sqe == nullptr && tries < submit_tries_max; ++tries) {
        ++stats_.enters;  // queue full: hand over what is there
        result = io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
    }
    if (sqe == nullptr) {
        std::fprintf(stderr,
                     "orlop: io_uring takes no submissions (errno %d); memory exhausted?\n",
                     -result);
        std::abort();
    }
    ++stats_.submissions;
    return sqe;
}

void UringBackend::take_heap_buffer(Operation& operation) {
    operation.buffer = ::operator new(options_.buffer_bytes);
    operation.length = options_.buffer_bytes;
    ++stats_.buffer_misses;
}

void UringBackend::prepare_receive(io_uring_sqe* sqe, Operation& operation) {
    const bool bulk = operation.size == ReceiveSize::bulk && bulk_.ready();
    if (ordinary_.ready() && operation.buffer == nullptr) {
        io_uring_prep_recv(sqe, operation.fd, nullptr, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = bulk ? bulk_.group() : ordinary_.group();
        if (!bulk) {
            // A connection that was just drained, or just asked, has nothing to read yet.
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
        }
        return;
    }
    if (operation.buffer == nullptr) {
        take_heap_buffer(operation);
    }
    io_uring_prep_recv(sqe, operation.fd, operation.buffer, operation.length, 0);
}

void UringBackend::start_single_receive(Operation& operation) {
    io_uring_sqe* sqe = next_sqe();
    prepare_receive(sqe, operation);
    io_uring_sqe_set_data(sqe, &operation);
}

void UringBackend::queue_accept(io_uring_sqe* sqe, Operation& operation) {
    constexpr int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    if (multishot_accept_) {
        io_uring_prep_multishot_accept(sqe, operation.fd, nullptr, nullptr, flags);
    } else {
        io_uring_prep_accept(sqe, operation.fd, nullptr, nullptr, flags);
    }
}

void UringBackend::start(Operation& operation) {
    assert(!operation.in_flight);
    operation.more = false;
    operation.cancel_requested = false;
    if (operation.code == OpCode::receive) {
        operation.buffer = nullptr;
        operation.lent.reset();
        operation.in_flight = true;
        if (!standing_receives_ || !start_standing(operation)) {
            start_single_receive(operation);
        }
        return;
    }
    if (operation.code == OpCode::send && send_at_once(operation)) {
        operation.in_flight = true;
        due_.push_back(&operation);
        return;
    }
    io_uring_sqe* sqe = next_sqe();
    switch (operation.code) {
    case OpCode::accept:
        queue_accept(sqe, operation);
        break;
    case OpCode::receive:
        break;  // above
    case OpCode::receive_into:
        io_uring_prep_recv(sqe, operation.fd, operation.buffer, operation.length, 0);
        break;
    case OpCode::send:
        if (operation.message.msg_iovlen != 0) {
            io_uring_prep_sendmsg(
                sqe, operation.fd, &operation.message, MSG_NOSIGNAL | MSG_WAITALL);
        } else {
            io_uring_prep_send(
                sqe, operation.fd, operation.buffer, operation.length, MSG_NOSIGNAL | MSG_WAITALL);
        }
        break;
    case OpCode::connect:
        io_uring_prep_connect(sqe,
                              operation.fd,
                              reinterpret_cast<sockaddr*>(&operation.address),
                              operation.address_length);
        break;
    case OpCode::read:
        io_uring_prep_read(sqe,
                           operation.fd,
                           operation.buffer,
                           static_cast<unsigned>(operation.length),
                           static_cast<__u64>(-1));
        break;
    case OpCode::poll:
        io_uring_prep_poll_add(sqe, operation.fd, static_cast<unsigned>(operation.length));
        break;
    case OpCode::none:
        io_uring_prep_nop(sqe);
        break;
    }
    operation.in_flight = true;
    io_uring_sqe_set_data(sqe, &operation);
}

void UringBackend::cancel(Operation& operation) {
    if (!operation.in_flight) {
        return;
    }
    operation.cancel_requested = true;
    if (operation.code == OpCode::receive && cancel_standing(operation)) {
        return;
    }
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_cancel(sqe, &operation, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, nullptr);
}

void UringBackend::release_buffer(const LentBuffer& buffer) {
    if (buffer.id == heap_buffer_id) {
        ::operator delete(buffer.data);
        return;
    }
    (BufferPool::group_of(buffer.id) == bulk_.group() ? bulk_ : ordinary_).take_back(buffer);
}

void UringBackend::close(int fd) {
    close_standing(fd);
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, nullptr);
}

void UringBackend::finish_receive(Operation& operation, std::uint32_t flags) {
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        BufferPool& pool = operation.size == ReceiveSize::bulk && bulk_.ready() ? bulk_ : ordinary_;
        LentBuffer lent = pool.lend(flags >> IORING_CQE_BUFFER_SHIFT,
                                    static_cast<unsigned>(std::max(operation.result, 0)));
        if (operation.result <= 0) {
            release_buffer(lent);
            return;
        }
        operation.lent = lent;
        return;
    }
    if (operation.buffer == nullptr) {
        return;
    }
    LentBuffer lent{
        static_cast<std::byte*>(operation.buffer), 0, options_.buffer_bytes, heap_buffer_id};
    operation.buffer = nullptr;
    if (operation.result <= 0) {
        ::operator delete(lent.data);
        return;
    }
    lent.size = static_cast<std::uint32_t>(operation.result);
    operation.lent = lent;
}

// All lent buffers are out: a bulk receive takes an ordinary one, an ordinary one heap memory,
// rather than wait for a slow neighbour.
bool UringBackend::retry_without_pool(Operation& operation) {
    if (operation.code != OpCode::receive || operation.result != -ENOBUFS ||
        operation.buffer != nullptr) {
        return false;
    }
    if (operation.cancel_requested) {  // the cancel has passed and would miss the second receive
        operation.result = -ECANCELED;
        return false;
    }
    if (operation.size == ReceiveSize::bulk) {
        operation.size = ReceiveSize::ordinary;
    } else {
        take_heap_buffer(operation);
    }
    operation.in_flight = true;
    start_single_receive(operation);
    return true;
}

// Without multishot: the next accept goes out before the owner hears of this one, so that to the
// owner the operation never ended.
bool UringBackend::accept_again(Operation& operation) {
    if (operation.code != OpCode::accept || multishot_accept_ || operation.result < 0 ||
        operation.cancel_requested) {
        return false;
    }
    io_uring_sqe* sqe = next_sqe();
    queue_accept(sqe, operation);
    io_uring_sqe_set_data(sqe, &operation);
    return true;
}

void UringBackend::complete(const io_uring_cqe& cqe) {
    const std::uint64_t tagged = io_uring_cqe_get_data64(&cqe);
    if ((tagged & standing_tag) != 0) {
        complete_standing(*reinterpret_cast<StandingReceive*>(tagged & ~standing_tag), cqe);
        return;
    }
    auto* operation = reinterpret_cast<Operation*>(tagged);
    if (operation == nullptr) {
        return;  // a cancel request or a close; nobody waits for it
    }
    ++stats_.completions;
    operation->result = cqe.res;
    if (operation->code == OpCode::send && operation->sent_before != 0) {
        operation->result = std::max(cqe.res, 0) + static_cast<int>(operation->sent_before);
        operation->rest.reset();
    }
    operation->more = (cqe.flags & IORING_CQE_F_MORE) != 0;
    operation->in_flight = operation->more;
    if (accept_again(*operation)) {
        operation->more = operation->in_flight = true;
    }
    if (retry_without_pool(*operation)) {
        return;
    }
    if (operation->code == OpCode::receive) {
        finish_receive(*operation, cqe.flags);
        if (standing_receives_) {
            note_single_receive(*operation);
        }
    }
    operation->on_complete(*operation);
}

void UringBackend::poll(Wait wait, std::optional<Instant> deadline) {
    io_uring_cqe* first = nullptr;
    if (!due_.empty() && polls_without_ring_ < polls_without_ring_max) {
        // What ended without the ring mostly starts what is worth an entry.
        ++polls_without_ring_;
    } else if (wait == Wait::no || !due_.empty()) {
        polls_without_ring_ = 0;
        unsigned sq_flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
        bool work = !taskrun_flag_ || io_uring_sq_ready(&ring_) != 0 ||
                    (sq_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
        if (work) {
            ++stats_.enters;
            io_uring_submit_and_get_events(&ring_);
        }
    } else if (io_uring_cq_ready(&ring_) == 0 || io_uring_sq_ready(&ring_) != 0) {
        polls_without_ring_ = 0;
        __kernel_timespec timeout{};
        __kernel_timespec* timeout_pointer = nullptr;
        if (deadline) {
            auto left = std::max(*deadline - now(), Duration::zero());
            timeout.tv_sec = left / std::chrono::seconds(1);
            timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
            timeout_pointer = &timeout;
        }
        ++stats_.enters;
        io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout_pointer, nullptr);
    }
    if (!due_.empty()) {
        tell_due();
    }
    // Only what is there now: completions that callbacks cause wait for the next poll.
    io_uring_cqe cqe;
    unsigned left = io_uring_cq_ready(&ring_);
    busyness_ = left != 0 ? left : busyness_;
    for (; left > 0 && next_completion(cqe); --left) {
        complete(cqe);
    }
}

SocketAddress UringBackend::local_address(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
        return {};
    }
    return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
}

SocketAddress UringBackend::peer_address(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
        return {};
    }
    return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
}

void UringBackend::set_close_style(int fd, CloseStyle style) {
    linger value{};
    value.l_onoff = style == CloseStyle::reset ? 1 : 0;
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

void UringBackend::prepare_stream_socket(int fd) {
    int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

Result<std::unique_ptr<Backend>> create_uring_backend(const UringOptions& options,
                                                      UringNotes* notes) {
    auto backend = std::make_unique<UringBackend>(options);
    if (auto opened = backend->open(notes); !opened) {
        return std::unexpected(opened.error());
    }
    return backend;
}

}  // namespace orlop::runtime
