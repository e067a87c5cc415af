// nghttp2 allocates a dozen small objects per request. The library tells no sizes when it frees, so
// each block begins with its own.
#include "daemon/base/block_pool.h"
#include "daemon/codec/h2/state.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace orlop::h2 {
namespace {

struct alignas(std::max_align_t) Prefix {
    std::size_t bytes;  // the prefix included
};

void* allocate(std::size_t bytes, void* /*nothing*/) {
    if (bytes > std::numeric_limits<std::size_t>::max() - sizeof(Prefix)) {
        return nullptr;
    }
    std::size_t whole = sizeof(Prefix) + bytes;
    try {
        return new (allocate_block(whole)) Prefix{whole} + 1;
    } catch (const std::bad_alloc&) {
        return nullptr;  // the library's frames know no exceptions
    }
}

void release(void* at, void* /*nothing*/) {
    if (at != nullptr) {
        Prefix* prefix = static_cast<Prefix*>(at) - 1;
        free_block(prefix, prefix->bytes);
    }
}

void* allocate_zeroed(std::size_t count, std::size_t bytes, void* nothing) {
    if (bytes != 0 && count > std::numeric_limits<std::size_t>::max() / bytes) {
        return nullptr;
    }
    void* at = allocate(count * bytes, nothing);
    return at == nullptr ? nullptr : std::memset(at, 0, count * bytes);
}

void* reallocate(void* at, std::size_t bytes, void* nothing) {
    void* larger = allocate(bytes, nothing);
    if (at != nullptr && larger != nullptr) {
        std::size_t old = (static_cast<Prefix*>(at) - 1)->bytes - sizeof(Prefix);
        std::memcpy(larger, at, std::min(old, bytes));
        release(at, nothing);
    }
    return larger;
}

nghttp2_mem blocks{nullptr, allocate, release, allocate_zeroed, reallocate};

}  // namespace

nghttp2_mem* library_memory() {
    return &blocks;
}

}  // namespace orlop::h2
