// Questions about one pod's entry: its addresses, its exclusions, whether its daemon serves.
#pragma once

#include "bpf/lib/address.h"
#include "bpf/maps.h"

// The loops are global functions: the verifier looks at each once and not once per path through its
// caller, which makes loading several times faster. Such a function may be handed NULL as far as
// the verifier knows.
#define ORLOP_VERIFIED_ONCE __attribute__((noinline))

ORLOP_VERIFIED_ONCE int pod_owns(const struct orlop_pod* pod, const struct orlop_address* address) {
    if (!pod || !address) {
        return 0;
    }
    for (__u32 i = 0; i < ORLOP_POD_ADDRESSES_MAX; ++i) {
        if (i >= pod->address_count) {
            break;
        }
        if (address_equal(&pod->addresses[i], address)) {
            return 1;
        }
    }
    return 0;
}

static __always_inline int port_in(const struct orlop_port_range* ranges, __u32 count, __u32 port) {
    for (__u32 i = 0; i < ORLOP_POD_PORT_RANGES_MAX; ++i) {
        if (i >= count) {
            break;
        }
        // One comparison for both ends: below `first` the difference wraps to a large number.
        if (port - ranges[i].first <= (__u32)(ranges[i].last - ranges[i].first)) {
            return 1;
        }
    }
    return 0;
}

ORLOP_VERIFIED_ONCE int outbound_port_excluded(const struct orlop_pod* pod, __u32 port) {
    return pod ? port_in(pod->outbound_ports, pod->outbound_port_count, port) : 0;
}

ORLOP_VERIFIED_ONCE int inbound_port_excluded(const struct orlop_pod* pod, __u32 port) {
    return pod ? port_in(pod->inbound_ports, pod->inbound_port_count, port) : 0;
}

ORLOP_VERIFIED_ONCE int outbound_range_excluded(const struct orlop_pod* pod,
                                                const struct orlop_address* address) {
    if (!pod || !address) {
        return 0;
    }
    for (__u32 i = 0; i < ORLOP_POD_CIDRS_MAX; ++i) {
        if (i >= pod->outbound_cidr_count) {
            break;
        }
        if (cidr_contains(&pod->outbound_cidrs[i], address)) {
            return 1;
        }
    }
    return 0;
}

static __always_inline int beat_is_fresh(void) {
    __u32 zero = 0;
    struct orlop_beat* last = bpf_map_lookup_elem(&beat, &zero);
    // A beat written after this clock was read makes the difference negative: still fresh.
    return last && last->at_ns != 0 &&
           (__s64)(bpf_ktime_get_ns() - last->at_ns) < (__s64)ORLOP_BEAT_EXPIRY_NS;
}

static __always_inline int listener_present(__u32 slot, __u32 kind) {
    struct orlop_listener_key key = {.slot = slot, .kind = kind};
    void* socket = bpf_map_lookup_elem(&listeners, &key);
    if (!socket) {
        return 0;
    }
    bpf_sk_release(socket);
    return 1;
}
