#include "daemon/app/thread_priority.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstdint>
#include <sched.h>
#include <unistd.h>

namespace orlop::app {
namespace {

// A weight of 110 against 1024: it yields, but a saturated CPU does not keep configuration out.
constexpr std::int32_t control_nice = 10;
// The kernel's longest. Linux 6.12 and later: who wakes with a shorter slice than the one that runs
// preempts it; else, the one that runs would go on to the end of its own.
constexpr std::uint64_t control_slice_ns = 100'000'000;

struct Attributes {  // struct sched_attr; the libc has neither it nor the calls
    std::uint32_t size = sizeof(Attributes);
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0;  // of SCHED_OTHER and SCHED_BATCH: the slice
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
};

}  // namespace

void become_control_thread() {
    Attributes wish;
    bool known = ::syscall(SYS_sched_getattr, 0, &wish, sizeof wish, 0) == 0;
    if (!known || wish.policy != SCHED_OTHER) {
        return;
    }
    wish.policy = SCHED_BATCH;  // when it wakes, it waits for the others
    wish.nice = std::max(wish.nice, control_nice);
    wish.runtime = control_slice_ns;
    (void)::syscall(SYS_sched_setattr, 0, &wish, 0);
}

}  // namespace orlop::app
