// Coroutine frames per thread: free lists by size class, so that a request allocates nothing once
// warm. Under a sanitizer every frame comes from the heap, so that misuse is seen.
#include "daemon/runtime/task.h"

#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ORLOP_FRAMES_FROM_HEAP 1
#endif
#endif

namespace orlop::runtime {
namespace {

constexpr std::size_t class_bytes = 128;
constexpr std::size_t classes = 64;  // frames up to 8 KiB are pooled
constexpr std::size_t kept_per_class_max = 4096;

struct FreeFrame {
    FreeFrame* next;
};

struct Pool {
    FreeFrame* head[classes] = {};
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

void* allocate_frame(std::size_t bytes) {
#ifdef ORLOP_FRAMES_FROM_HEAP
    return ::operator new(bytes);
#else
    std::size_t index = (bytes + class_bytes - 1) / class_bytes;
    if (index >= classes) {
        return ::operator new(bytes);
    }
    if (FreeFrame* frame = pool.head[index]) {
        pool.head[index] = frame->next;
        --pool.count[index];
        return frame;
    }
    return ::operator new(index * class_bytes);
#endif
}

void free_frame(void* frame, std::size_t bytes) noexcept {
#ifdef ORLOP_FRAMES_FROM_HEAP
    ::operator delete(frame);
#else
    std::size_t index = (bytes + class_bytes - 1) / class_bytes;
    if (index >= classes || pool.count[index] >= kept_per_class_max) {
        ::operator delete(frame);
        return;
    }
    pool.head[index] = new (frame) FreeFrame{pool.head[index]};
    ++pool.count[index];
#endif
}

}  // namespace orlop::runtime
