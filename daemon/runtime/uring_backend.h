// UringBackend: the kernel's ring, one per thread, never shared.
//
// create() must run on the thread that will use the ring (SINGLE_ISSUER). It asks for the best
// set of features and falls back one by one; every fallback is one entry in `notes()`, naming the
// feature, the kernel that has it, and what is done instead, for the start-up log.
#pragma once

#include "daemon/runtime/backend.h"

#include <memory>
#include <string>
#include <vector>

namespace orlop::runtime {

struct UringOptions {
    unsigned entries = 2048;       // submission queue, power of two
    unsigned completions = 16384;  // completion queue
    unsigned buffers = 128;        // lent receive buffers, power of two
    unsigned buffer_bytes = 16 * 1024;
    unsigned bulk_buffers = 32;  // power of two; their pages are touched by bulk transfers only
    unsigned bulk_buffer_bytes = 128 * 1024;
    // Sends go out by a system call of their own while a wait ends with fewer completions than
    // this.
    unsigned send_at_once_below = 3;
    // Switched off, a feature is done without, as on a kernel that lacks it; notes say so.
    bool use_defer_taskrun = true;
    bool use_coop_taskrun = true;
    bool use_buffer_rings = true;
    bool use_multishot_accept = true;
    bool use_multishot_receive = true;
};

struct UringNotes {
    std::vector<std::string> lines;
};

// Errors name the cause and the remedy: kernel too old, io_uring_disabled sysctl, seccomp, memlock.
Result<std::unique_ptr<Backend>> create_uring_backend(const UringOptions& options,
                                                      UringNotes* notes);

}  // namespace orlop::runtime
