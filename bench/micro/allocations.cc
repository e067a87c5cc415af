#include "bench/micro/allocations.h"

#include <cstddef>

// glibc's own names for its functions, so that ours may stand before them.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
}

namespace orlop::bench {
namespace {

std::uint64_t made = 0;  // the programs have one thread

}  // namespace

std::uint64_t allocations() {
    return made;
}

}  // namespace orlop::bench

extern "C" void* malloc(std::size_t size) {
    ++orlop::bench::made;
    return __libc_malloc(size);
}

extern "C" void* calloc(std::size_t count, std::size_t size) {
    ++orlop::bench::made;
    return __libc_calloc(count, size);
}

extern "C" void* realloc(void* old, std::size_t size) {
    ++orlop::bench::made;
    return __libc_realloc(old, size);
}
