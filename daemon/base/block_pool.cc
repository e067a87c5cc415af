#include "daemon/base/block_pool.h"

#include <cassert>
#include <new>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ORLOP_BLOCKS_FROM_HEAP 1
#endif
#endif

namespace orlop {
namespace {

constexpr std::size_t class_bytes = 128;
constexpr std::size_t classes = 64;                           // blocks up to 8 KiB are pooled
constexpr std::size_t kept_bytes_per_class_max = 512 * 1024;  // after a burst

struct FreeBlock {
    FreeBlock* next;
};

struct Pool {
    FreeBlock* head[classes] = {};
    std::size_t count[classes] = {};
    ~Pool() {
        for (auto& list : head) {
            while (list != nullptr) {
                ::operator delete(std::exchange(list, list->next));
            }
        }
    }
};

thread_local Pool pool;

}  // namespace

void* allocate_block(std::size_t bytes) {
    assert(bytes != 0);
#ifdef ORLOP_BLOCKS_FROM_HEAP
    return ::operator new(bytes);
#else
    std::size_t index = (bytes + class_bytes - 1) / class_bytes;
    if (index >= classes) {
        return ::operator new(bytes);
    }
    if (FreeBlock* block = pool.head[index]) {
        pool.head[index] = block->next;
        --pool.count[index];
        return block;
    }
    return ::operator new(index * class_bytes);
#endif
}

void free_block(void* block, std::size_t bytes) noexcept {
#ifdef ORLOP_BLOCKS_FROM_HEAP
    ::operator delete(block);
#else
    std::size_t index = (bytes + class_bytes - 1) / class_bytes;
    if (index >= classes || pool.count[index] * index * class_bytes >= kept_bytes_per_class_max) {
        ::operator delete(block);
        return;
    }
    pool.head[index] = new (block) FreeBlock{pool.head[index]};
    ++pool.count[index];
#endif
}

}  // namespace orlop
