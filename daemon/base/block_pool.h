// Blocks of memory that come and go with requests: coroutine frames, streams, their buffers.
//
// Free lists by size class, one set per thread, so that a request allocates nothing once warm. A
// block may be given back on another thread: it then serves that one. Under a sanitizer every block
// comes from the heap, so that misuse is seen.
#pragma once

#include <cstddef>
#include <memory>

namespace orlop {

void* allocate_block(std::size_t bytes);
void free_block(void* block, std::size_t bytes) noexcept;  // `bytes` as when it was allocated

// Base of classes whose objects live in such blocks.
struct InBlocks {
    static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
    static void operator delete(void* block, std::size_t bytes) noexcept {
        free_block(block, bytes);
    }
};

struct BlockDeleter {
    std::size_t bytes = 0;
    void operator()(std::byte* block) const noexcept { free_block(block, bytes); }
};
using Block = std::unique_ptr<std::byte[], BlockDeleter>;

inline Block make_block(std::size_t bytes) {
    return Block(static_cast<std::byte*>(allocate_block(bytes)), BlockDeleter{bytes});
}

}  // namespace orlop
