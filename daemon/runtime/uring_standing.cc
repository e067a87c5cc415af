// The part of UringBackend that keeps multishot receives; see standing_receives.h.
#include "daemon/runtime/uring_ring.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace orlop::runtime {
namespace {

// Short conversations end before they would gain, and a bulk transfer wants larger buffers.
constexpr int small_receives_min = 4;
// After bytes came that nobody awaited: many talk at once on such a connection, and a receive that
// starts when the reader is ready takes what came meanwhile in one piece.
constexpr int small_receives_after_parking = 256;

}  // namespace

// False: the operation is to be a request of its own.
bool UringBackend::start_standing(Operation& operation) {
    StandingReceive& standing = standing_.at(operation.fd);
    assert(standing.waiting == nullptr);
    if (!standing.parked.empty()) {
        auto oldest = standing.parked.begin();
        operation.result = oldest->result;
        operation.lent = oldest->lent;
        standing.parked.erase(oldest);
        due_.push_back(&operation);
        return true;
    }
    const bool small =
        operation.size == ReceiveSize::ordinary && standing.small_in_row >= small_receives_min;
    if (!small) {
        stop_standing(standing);  // its last completion starts the operation on its own
    } else if (!standing.armed) {
        arm_standing(standing);
    }
    if (standing.armed) {
        standing.waiting = &operation;
    }
    return standing.armed;
}

void UringBackend::arm_standing(StandingReceive& standing) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, standing.fd, nullptr, 0, 0);
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = ordinary_.group();
    io_uring_sqe_set_data64(sqe, tag_standing(standing));
    standing.armed = true;
}

void UringBackend::stop_standing(StandingReceive& standing) {
    if (!standing.armed || standing.stopping) {
        return;
    }
    standing.stopping = true;
    standing.small_in_row = 0;
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_cancel64(sqe, tag_standing(standing), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, nullptr);
}

void UringBackend::complete_standing(StandingReceive& standing, const io_uring_cqe& cqe) {
    std::optional<LentBuffer> lent;
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
        lent = ordinary_.lend(cqe.flags >> IORING_CQE_BUFFER_SHIFT,
                              static_cast<unsigned>(std::max(cqe.res, 0)));
        if (cqe.res <= 0 || standing.closed) {
            release_buffer(*lent);
            lent.reset();
        }
    }
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
        standing.armed = standing.stopping = false;
    }
    if (standing.closed) {
        if (!standing.armed) {
            standing_.recycle(standing);
        }
        return;
    }
    if (cqe.res == -ECANCELED || cqe.res == -ENOBUFS) {
        standing.small_in_row = std::min(standing.small_in_row, 0);
        if (standing.waiting != nullptr) {
            start_single_receive(*std::exchange(standing.waiting, nullptr));
        }
        return;
    }
    if (lent && lent->size == lent->capacity) {
        stop_standing(standing);  // bulk: buffers of that size come from single receives
    }
    if (standing.waiting == nullptr) {
        park(standing, cqe.res, lent);
        return;
    }
    Operation& operation = *std::exchange(standing.waiting, nullptr);
    ++stats_.completions;
    operation.result = cqe.res;
    operation.lent = lent;
    operation.in_flight = false;
    operation.on_complete(operation);
}

// One buffer of the pool per connection may wait for its reader. What comes until the request has
// ended is copied: the pool is for all connections.
void UringBackend::park(StandingReceive& standing, int result, std::optional<LentBuffer> lent) {
    stop_standing(standing);
    standing.small_in_row = small_receives_min - small_receives_after_parking;
    if (!standing.parked.empty() && lent) {
        auto* copy = static_cast<std::byte*>(::operator new(lent->size));
        std::memcpy(copy, lent->data, lent->size);
        release_buffer(*lent);
        lent = LentBuffer{copy, lent->size, lent->size, heap_buffer_id};
    }
    standing.parked.push_back({result, lent});
}

void UringBackend::note_single_receive(const Operation& operation) {
    StandingReceive& standing = standing_.at(operation.fd);
    const bool room = operation.lent && operation.lent->size < operation.lent->capacity;
    standing.small_in_row = room ? standing.small_in_row + 1 : std::min(standing.small_in_row, 0);
}

bool UringBackend::cancel_standing(Operation& operation) {
    StandingReceive* standing = standing_.find(operation.fd);
    if (standing == nullptr || standing->waiting != &operation) {
        return false;
    }
    standing->waiting = nullptr;
    operation.result = -ECANCELED;
    due_.push_back(&operation);
    return true;
}

void UringBackend::drop_parked(StandingReceive& standing) {
    for (const auto& parked : standing.parked) {
        if (parked.lent) {
            release_buffer(*parked.lent);
        }
    }
    standing.parked.clear();
}

// The request holds the socket open: its end is queued ahead of the close.
void UringBackend::close_standing(int fd) {
    StandingReceive* standing = standing_.find(fd);
    if (standing == nullptr) {
        return;
    }
    drop_parked(*standing);
    stop_standing(*standing);
    standing_.forget(*standing);
    if (!standing->armed) {
        standing_.recycle(*standing);
    }
}

void UringBackend::tell_due() {
    telling_.swap(due_);  // callbacks may start operations that are due at once
    for (Operation* operation : telling_) {
        ++stats_.completions;
        operation->in_flight = false;
        operation->on_complete(*operation);
    }
    telling_.clear();
}

}  // namespace orlop::runtime
