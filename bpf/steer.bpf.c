// sk_lookup, loaded once and shared by all pods: the small programs attached to their namespaces
// (enter.bpf.c) say which pod it is and continue here.
#include "bpf/lib/steer.h"

#include <linux/in.h>

// What enter.bpf.c wrote on this CPU just before, or 0. Taken, so that it serves one lookup only:
// connections are looked up with bottom halves off, which nothing interrupts; but a question of the
// connect hook or of a socket listing may be, and then finds 0 and is refused, not led astray.
static __always_inline __u32 take_slot(void) {
    __u32 zero = 0;
    struct orlop_entered* here = bpf_map_lookup_elem(&entered, &zero);
    if (!here) {
        return 0;
    }
    __u32 slot = here->slot;
    here->slot = 0;
    return slot;
}

SEC("sk_lookup")
int orlop_steer(struct bpf_sk_lookup* ctx) {
    if (ctx->protocol != IPPROTO_TCP) {
        return SK_PASS;
    }
    struct orlop_address source;
    struct orlop_address destination;
    if (ctx->family == ORLOP_FAMILY_V4) {
        source = address_from_v4(ctx->remote_ip4);
        destination = address_from_v4(ctx->local_ip4);
    } else {
        for (int i = 0; i < 4; ++i) {
            source.word[i] = ctx->remote_ip6[i];
            destination.word[i] = ctx->local_ip6[i];
        }
    }
    __u32 slot = take_slot();
    if (address_is_loopback(&destination)) {
        return steer_loopback(ctx, slot);
    }
    struct orlop_pod* pod = bpf_map_lookup_elem(&pods, &slot);
    if (!pod || pod->abi != ORLOP_ABI_VERSION) {
        return refused(ORLOP_REASON_inbound_bad_config);
    }
    int own_source = pod_owns(pod, &source);
    int own_destination = pod_owns(pod, &destination);
    if (ctx->ingress_ifindex == ORLOP_IFINDEX_LO) {
        return steer_looped(ctx, slot, own_source, own_destination);
    }
    // A connection of the pod to its own address reports eth0 here, not lo: the local route of the
    // address names eth0. Steering it would hand orlopd its own delivery.
    if (own_source) {
        return steered(ORLOP_REASON_inbound_self);
    }
    return steer_arriving(ctx, slot, pod);
}

char LICENSE[] SEC("license") = "Apache-2.0";
