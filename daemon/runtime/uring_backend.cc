#include "daemon/runtime/uring_backend.h"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cassert>
#include <cstdlib>

namespace orlop::runtime {
namespace {

constexpr std::uint32_t heap_buffer_id = 0xffff'ffff;
constexpr int buffer_group = 0;

class UringBackend final : public Backend {
public:
    explicit UringBackend(const UringOptions& options) : options_(options) {}
    ~UringBackend() override;

    Result<void> open(UringNotes* notes);

    void start(Operation& operation) override;
    void cancel(Operation& operation) override;
    void release_buffer(const LentBuffer& buffer) override;
    void close(int fd) override;
    void poll(Wait wait, std::optional<Instant> deadline) override;
    Instant now() override { return monotonic_now(); }
    const BackendStats& stats() const override { return stats_; }

    SocketAddress local_address(int fd) override;
    SocketAddress peer_address(int fd) override;
    void shutdown_write(int fd) override { ::shutdown(fd, SHUT_WR); }
    void set_close_style(int fd, CloseStyle style) override;
    void prepare_stream_socket(int fd) override;

private:
    io_uring_sqe* next_sqe();
    void prepare_receive(io_uring_sqe* sqe, Operation& operation);
    void complete(const io_uring_cqe& cqe);
    void finish_receive(Operation& operation, std::uint32_t flags);
    bool retry_without_pool(Operation& operation);
    Result<void> register_buffers(UringNotes* notes);
    void add_buffer(unsigned id);

    UringOptions options_;
    io_uring ring_{};
    bool open_ = false;
    bool taskrun_flag_ = false;
    io_uring_buf_ring* buffer_ring_ = nullptr;
    std::size_t buffer_ring_bytes_ = 0;
    std::byte* buffer_memory_ = nullptr;
    BackendStats stats_;
};

UringBackend::~UringBackend() {
    if (open_) {
        io_uring_queue_exit(&ring_);
    }
    if (buffer_ring_ != nullptr) {
        ::munmap(buffer_ring_, buffer_ring_bytes_);
    }
    if (buffer_memory_ != nullptr) {
        ::munmap(buffer_memory_, std::size_t{options_.buffers} * options_.buffer_bytes);
    }
}

Error explain_ring_failure(int number) {
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
    for (const Step& step : steps) {
        io_uring_params params{};
        params.flags = step.flags;
        params.cq_entries = options_.completions;
        last = io_uring_queue_init_params(options_.entries, &ring_, &params);
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
    return register_buffers(notes);
}

Result<void> UringBackend::register_buffers(UringNotes* notes) {
    buffer_ring_bytes_ = options_.buffers * sizeof(io_uring_buf);
    std::size_t memory_bytes = std::size_t{options_.buffers} * options_.buffer_bytes;
    void* ring = ::mmap(nullptr, buffer_ring_bytes_, PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    void* memory =
        ::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (ring == MAP_FAILED || memory == MAP_FAILED) {
        return fail_errno(errno, "cannot map receive buffers");
    }
    buffer_ring_ = static_cast<io_uring_buf_ring*>(ring);
    buffer_memory_ = static_cast<std::byte*>(memory);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(buffer_ring_);
    registration.ring_entries = options_.buffers;
    registration.bgid = buffer_group;
    if (int rc = io_uring_register_buf_ring(&ring_, &registration, 0); rc < 0) {
        ::munmap(buffer_ring_, buffer_ring_bytes_);
        buffer_ring_ = nullptr;
        if (notes != nullptr) {
            notes->lines.emplace_back("io_uring buffer rings (Linux 5.19) are missing; each "
                                      "receive uses heap memory of its own instead");
        }
        return {};
    }
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned id = 0; id < options_.buffers; ++id) {
        io_uring_buf_ring_add(buffer_ring_, buffer_memory_ + std::size_t{id} * options_.buffer_bytes,
                              options_.buffer_bytes, static_cast<unsigned short>(id),
                              io_uring_buf_ring_mask(options_.buffers), static_cast<int>(id));
    }
    io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(options_.buffers));
    return {};
}

io_uring_sqe* UringBackend::next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {  // queue full: hand over what is there
        ++stats_.enters;
        io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
    }
    ++stats_.submissions;
    return sqe;
}

void UringBackend::prepare_receive(io_uring_sqe* sqe, Operation& operation) {
    operation.lent.reset();
    if (buffer_ring_ != nullptr && operation.buffer == nullptr) {
        io_uring_prep_recv(sqe, operation.fd, nullptr, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = buffer_group;
        // A connection that was just drained, or just asked, has nothing to read yet.
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
        return;
    }
    if (operation.buffer == nullptr) {
        operation.buffer = std::malloc(options_.buffer_bytes);
        operation.length = options_.buffer_bytes;
        ++stats_.buffer_misses;
    }
    io_uring_prep_recv(sqe, operation.fd, operation.buffer, operation.length, 0);
}

void UringBackend::start(Operation& operation) {
    assert(!operation.in_flight);
    io_uring_sqe* sqe = next_sqe();
    switch (operation.code) {
    case OpCode::accept:
        io_uring_prep_multishot_accept(sqe, operation.fd, nullptr, nullptr,
                                       SOCK_CLOEXEC | SOCK_NONBLOCK);
        break;
    case OpCode::receive:
        operation.buffer = nullptr;
        prepare_receive(sqe, operation);
        break;
    case OpCode::receive_into:
        io_uring_prep_recv(sqe, operation.fd, operation.buffer, operation.length, 0);
        break;
    case OpCode::send:
        if (operation.message.msg_iovlen != 0) {
            io_uring_prep_sendmsg(sqe, operation.fd, &operation.message,
                                  MSG_NOSIGNAL | MSG_WAITALL);
        } else {
            io_uring_prep_send(sqe, operation.fd, operation.buffer, operation.length,
                               MSG_NOSIGNAL | MSG_WAITALL);
        }
        break;
    case OpCode::connect:
        io_uring_prep_connect(sqe, operation.fd, reinterpret_cast<sockaddr*>(&operation.address),
                              operation.address_length);
        break;
    case OpCode::read:
        io_uring_prep_read(sqe, operation.fd, operation.buffer,
                           static_cast<unsigned>(operation.length), static_cast<__u64>(-1));
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
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_cancel(sqe, &operation, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, nullptr);
}

void UringBackend::release_buffer(const LentBuffer& buffer) {
    if (buffer.id == heap_buffer_id) {
        std::free(buffer.data);
        return;
    }
    io_uring_buf_ring_add(buffer_ring_, buffer_memory_ + std::size_t{buffer.id} * options_.buffer_bytes,
                          options_.buffer_bytes, static_cast<unsigned short>(buffer.id),
                          io_uring_buf_ring_mask(options_.buffers), 0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
}

void UringBackend::close(int fd) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, nullptr);
}

void UringBackend::finish_receive(Operation& operation, std::uint32_t flags) {
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
        LentBuffer lent{buffer_memory_ + std::size_t{id} * options_.buffer_bytes, 0,
                        options_.buffer_bytes, id};
        if (operation.result <= 0) {
            release_buffer(lent);
            return;
        }
        lent.size = static_cast<std::uint32_t>(operation.result);
        operation.lent = lent;
        return;
    }
    if (operation.buffer == nullptr) {
        return;
    }
    LentBuffer lent{static_cast<std::byte*>(operation.buffer), 0, options_.buffer_bytes,
                    heap_buffer_id};
    operation.buffer = nullptr;
    if (operation.result <= 0) {
        std::free(lent.data);
        return;
    }
    lent.size = static_cast<std::uint32_t>(operation.result);
    operation.lent = lent;
}

// All lent buffers are out: this receive takes heap memory rather than wait for a slow neighbour.
bool UringBackend::retry_without_pool(Operation& operation) {
    if (operation.code != OpCode::receive || operation.result != -ENOBUFS) {
        return false;
    }
    operation.buffer = std::malloc(options_.buffer_bytes);
    operation.length = options_.buffer_bytes;
    ++stats_.buffer_misses;
    io_uring_sqe* sqe = next_sqe();
    prepare_receive(sqe, operation);
    operation.in_flight = true;
    io_uring_sqe_set_data(sqe, &operation);
    return true;
}

void UringBackend::complete(const io_uring_cqe& cqe) {
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(&cqe));
    if (operation == nullptr) {
        return;  // a cancel request or a close; nobody waits for it
    }
    ++stats_.completions;
    operation->result = cqe.res;
    operation->more = (cqe.flags & IORING_CQE_F_MORE) != 0;
    operation->in_flight = operation->more;
    if (retry_without_pool(*operation)) {
        return;
    }
    if (operation->code == OpCode::receive) {
        finish_receive(*operation, cqe.flags);
    }
    operation->on_complete(*operation);
}

void UringBackend::poll(Wait wait, std::optional<Instant> deadline) {
    io_uring_cqe* first = nullptr;
    if (wait == Wait::no) {
        unsigned sq_flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
        bool work = !taskrun_flag_ || io_uring_sq_ready(&ring_) != 0 ||
                    (sq_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
        if (work) {
            ++stats_.enters;
            io_uring_submit_and_get_events(&ring_);
        }
    } else if (io_uring_cq_ready(&ring_) == 0 || io_uring_sq_ready(&ring_) != 0) {
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
    unsigned head;
    unsigned seen = 0;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring_, head, cqe) {
        ++seen;
        complete(*cqe);
    }
    io_uring_cq_advance(&ring_, seen);
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

}  // namespace

Result<std::unique_ptr<Backend>> create_uring_backend(const UringOptions& options,
                                                      UringNotes* notes) {
    auto backend = std::make_unique<UringBackend>(options);
    if (auto opened = backend->open(notes); !opened) {
        return std::unexpected(opened.error());
    }
    return backend;
}

}  // namespace orlop::runtime
