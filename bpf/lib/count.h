// Counting verdicts by reason.
#pragma once

#include "bpf/maps.h"

static __always_inline void count_reason(enum orlop_reason reason) {
    __u32 key = reason;
    __u64* value = bpf_map_lookup_elem(&stats, &key);
    if (value) {
        *value += 1;  // per CPU; programs of one CPU do not preempt each other here
    }
}
