// The class behind create_uring_backend(); nobody else includes this.
#pragma once

#include "daemon/runtime/buffer_pool.h"
#include "daemon/runtime/standing_receives.h"
#include "daemon/runtime/uring_backend.h"

#include <liburing.h>

#include <optional>
#include <vector>

namespace orlop::runtime {

inline constexpr std::uint32_t heap_buffer_id = 0xffff'ffff;

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
    bool next_completion(io_uring_cqe& cqe);
    void complete(const io_uring_cqe& cqe);
    void finish_receive(Operation& operation, std::uint32_t flags);
    void take_heap_buffer(Operation& operation);
    bool retry_without_pool(Operation& operation);
    void start_single_receive(Operation& operation);
    void find_multishot_receive(UringNotes* notes);
    Result<void> register_buffers(UringNotes* notes);
    void queue_accept(io_uring_sqe* sqe, Operation& operation);
    bool accept_again(Operation& operation);
    void cancel_everything();

    // uring_lonely_sends.cc
    bool send_at_once(Operation& operation);

    // uring_standing.cc
    static std::uint64_t tag_standing(const StandingReceive& standing) {
        return reinterpret_cast<std::uintptr_t>(&standing) | standing_tag;
    }
    bool start_standing(Operation& operation);
    void arm_standing(StandingReceive& standing);
    void stop_standing(StandingReceive& standing);
    void complete_standing(StandingReceive& standing, const io_uring_cqe& cqe);
    void park(StandingReceive& standing, int result, std::optional<LentBuffer> lent);
    void note_single_receive(const Operation& operation);
    bool cancel_standing(Operation& operation);
    void close_standing(int fd);
    void drop_parked(StandingReceive& standing);
    void tell_due();

    // Tells the user data of a standing receive from that of an Operation.
    static constexpr std::uint64_t standing_tag = 1;

    UringOptions options_;
    io_uring ring_{};
    bool open_ = false;
    bool taskrun_flag_ = false;
    bool multishot_accept_ = true;
    bool standing_receives_ = false;
    StandingReceives standing_;
    unsigned busyness_ = 0;            // completions that the last poll with any found
    unsigned polls_without_ring_ = 0;  // in a row
    std::vector<Operation*> due_;      // ended without the ring; told by the next poll
    std::vector<Operation*> telling_;  // room for the ones that are being told
    BufferPool ordinary_;
    BufferPool bulk_;
    BackendStats stats_;
};

}  // namespace orlop::runtime
