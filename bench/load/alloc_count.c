// A library for LD_PRELOAD that counts heap allocations of one process (malloc, calloc, realloc,
// the aligned forms; operator new ends in malloc), and calls and bytes of memcpy and memmove.
// Copies that the compiler wrote out in place (sizes that it knew) and those inside the libc are
// not seen. The counters are the file that ORLOP_ALLOC_FILE names, in the order of `struct
// counters`, so that bench-load reads them at both ends of its window; several processes may share
// one.
#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* old, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

struct counters {
    _Atomic uint64_t allocations;
    _Atomic uint64_t copies;
    _Atomic uint64_t copied_bytes;
};

static struct counters before_start;
static struct counters* counters = &before_start;

__attribute__((constructor)) static void open_counter(void) {
    const char* path = getenv("ORLOP_ALLOC_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    if (ftruncate(fd, sizeof *counters) == 0) {
        void* page = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) {
            counters = page;
        }
    }
    close(fd);
}

static void count(void) {
    atomic_fetch_add_explicit(&counters->allocations, 1, memory_order_relaxed);
}

static void count_copy(size_t size) {
    atomic_fetch_add_explicit(&counters->copies, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->copied_bytes, size, memory_order_relaxed);
}

void* malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void* calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void* realloc(void* old, size_t size) {
    count();
    return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
    count();
    *out = __libc_memalign(alignment, size);
    return *out == NULL ? ENOMEM : 0;
}

// In place, because a copy may be asked for before any other function can be looked up.
static void copy_forwards(void* to, const void* from, size_t size) {
#if defined(__x86_64__)
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#else
    volatile unsigned char* out = to;
    for (const unsigned char* in = from; size > 0; --size) {
        *out++ = *in++;
    }
#endif
}

void* memcpy(void* to, const void* from, size_t size) {
    count_copy(size);
    copy_forwards(to, from, size);
    return to;
}

void* memmove(void* to, const void* from, size_t size) {
    count_copy(size);
    if ((uintptr_t)to - (uintptr_t)from >= size) {  // also when `to` is below: the difference wraps
        copy_forwards(to, from, size);
        return to;
    }
    volatile unsigned char* out = to;
    for (const unsigned char* in = from; size > 0; --size) {
        out[size - 1] = in[size - 1];
    }
    return to;
}

// What libraries built with _FORTIFY_SOURCE call.
void* __memcpy_chk(void* to, const void* from, size_t size, size_t room) {
    if (size > room) {
        abort();
    }
    return memcpy(to, from, size);
}

void* __memmove_chk(void* to, const void* from, size_t size, size_t room) {
    if (size > room) {
        abort();
    }
    return memmove(to, from, size);
}
