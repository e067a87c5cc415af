// Counters that a running client shares with whoever started it, in a file both have mapped.
//
// The starter makes the file (size of Progress, zeroes), waits for what it wants to see, and sets
// `stop`. Every field is written by the client alone, except `stop`. Lock-free atomics: nothing in
// it belongs to one process.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <fcntl.h>
#include <unistd.h>

namespace orlop::apps {

struct Progress {
    std::atomic<std::uint64_t> stop;
    std::atomic<std::uint64_t> attempts;
    std::atomic<std::uint64_t> success;  // answered below 400
    std::atomic<std::uint64_t> errors;   // answered with 400 or more
    std::atomic<std::uint64_t> timeouts;
    std::atomic<std::uint64_t> refused;          // refused, reset, closed, unresolved
    std::atomic<std::uint64_t> peer_changes;     // times the server named another client address
    std::atomic<std::uint64_t> last_success_ns;  // CLOCK_MONOTONIC
    std::atomic<std::uint64_t> failures_noted;
    char first_failures[8][160];  // text, ended by zero

    std::uint64_t answered() const { return success + errors; }
    std::uint64_t failed() const { return errors + timeouts + refused; }
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// nullptr when the file cannot be mapped. Stays mapped until the process ends.
inline Progress* map_progress(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(Progress)) != 0) {
        return nullptr;
    }
    void* memory = ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    return memory == MAP_FAILED ? nullptr : static_cast<Progress*>(memory);
}

}  // namespace orlop::apps
