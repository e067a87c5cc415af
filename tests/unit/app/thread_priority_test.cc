#include "daemon/app/thread_priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cstdint>
#include <cstring>
#include <sched.h>
#include <thread>
#include <unistd.h>

namespace orlop::app {
namespace {

int own_nice() {
    return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()));
}

// What sched_getattr says of the calling thread; 0 where the kernel knows no slices.
std::uint64_t own_slice_ns() {
    std::uint32_t words[14] = {};
    std::uint64_t runtime = 0;
    if (syscall(SYS_sched_getattr, 0, words, sizeof words, 0) == 0) {
        memcpy(&runtime, words + 6, sizeof runtime);
    }
    return runtime;
}

// In a thread of its own: what is given up does not come back without a privilege.
template <class Body> void in_thread(Body body) {
    std::thread(body).join();
}

TEST(ThreadPriority, a_control_thread_gives_way_but_is_not_left_with_nothing) {
    in_thread([] {
        become_control_thread();
        EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);  // SCHED_IDLE would starve
        EXPECT_EQ(own_nice(), 10);
    });
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(own_nice(), 0);
}

TEST(ThreadPriority, what_a_control_thread_starts_gives_way_as_well) {
    in_thread([] {
        become_control_thread();
        in_thread([] {
            EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
            EXPECT_EQ(own_nice(), 10);
        });
    });
}

TEST(ThreadPriority, a_control_thread_has_a_longer_slice_than_who_shall_preempt_it) {
    std::uint64_t usual = own_slice_ns();
    in_thread([usual] {
        become_control_thread();
        EXPECT_EQ(own_slice_ns(), usual == 0 ? 0u : 100'000'000u);
    });
    EXPECT_EQ(own_slice_ns(), usual);
}

TEST(ThreadPriority, a_policy_that_somebody_has_chosen_stays) {
    in_thread([] {
        sched_param none{};
        ASSERT_EQ(sched_setscheduler(0, SCHED_IDLE, &none), 0);
        become_control_thread();
        EXPECT_EQ(sched_getscheduler(0), SCHED_IDLE);
        EXPECT_EQ(own_nice(), 0);
    });
}

}  // namespace
}  // namespace orlop::app
