#include "daemon/runtime/buffer_pool.h"

#include <liburing.h>
#include <sys/mman.h>

namespace orlop::runtime {

BufferPool::~BufferPool() {
    if (ring_ != nullptr) {
        ::munmap(ring_, count_ * sizeof(io_uring_buf));
    }
    if (memory_ != nullptr) {
        ::munmap(memory_, std::size_t{count_} * bytes_);
    }
}

Result<void>
BufferPool::open(io_uring& ring, unsigned short group, unsigned count, unsigned bytes) {
    count_ = count;
    bytes_ = bytes;
    group_ = group;
    auto map = [](std::size_t size) {
        return ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    };
    void* slots = map(count * sizeof(io_uring_buf));
    void* memory = map(std::size_t{count} * bytes);
    ring_ = slots == MAP_FAILED ? nullptr : static_cast<io_uring_buf_ring*>(slots);
    memory_ = memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
    if (ring_ == nullptr || memory_ == nullptr) {
        return fail_errno(errno, "cannot map receive buffers");
    }
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(ring_);
    registration.ring_entries = count;
    registration.bgid = group;
    if (int rc = io_uring_register_buf_ring(&ring, &registration, 0); rc < 0) {
        ::munmap(ring_, count_ * sizeof(io_uring_buf));
        ring_ = nullptr;
        return fail(ErrorKind::unsupported, "no buffer rings");
    }
    io_uring_buf_ring_init(ring_);
    for (unsigned slot = 0; slot < count; ++slot) {
        add(slot, static_cast<int>(slot));
    }
    io_uring_buf_ring_advance(ring_, static_cast<int>(count));
    return {};
}

void BufferPool::add(unsigned slot, int offset) {
    io_uring_buf_ring_add(ring_,
                          memory_ + std::size_t{slot} * bytes_,
                          bytes_,
                          static_cast<unsigned short>(slot),
                          io_uring_buf_ring_mask(count_),
                          offset);
}

void BufferPool::take_back(const LentBuffer& buffer) {
    add(buffer.id & 0xffff, 0);
    io_uring_buf_ring_advance(ring_, 1);
}

}  // namespace orlop::runtime
