// BufferPool: receive buffers of one size that the kernel picks from (a provided buffer ring).
#pragma once

#include "daemon/base/error.h"
#include "daemon/runtime/backend.h"

#include <cstddef>
#include <cstdint>

struct io_uring;
struct io_uring_buf_ring;

namespace orlop::runtime {

class BufferPool {
public:
    BufferPool() = default;
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    ~BufferPool();

    // `group` tells the pools of a ring apart. unsupported: the kernel has no buffer rings.
    Result<void> open(io_uring& ring, unsigned short group, unsigned count, unsigned bytes);
    bool ready() const { return ring_ != nullptr; }
    unsigned short group() const { return group_; }
    LentBuffer lend(unsigned slot, unsigned received) const {
        return {memory_ + std::size_t{slot} * bytes_,
                received,
                bytes_,
                static_cast<std::uint32_t>(group_) << 16 | slot};
    }
    static unsigned group_of(std::uint32_t id) { return id >> 16; }
    void take_back(const LentBuffer& buffer);

private:
    void add(unsigned slot, int offset);

    io_uring_buf_ring* ring_ = nullptr;
    std::byte* memory_ = nullptr;
    unsigned count_ = 0;
    unsigned bytes_ = 0;
    unsigned short group_ = 0;
};

}  // namespace orlop::runtime
