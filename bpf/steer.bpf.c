// sk_lookup, loaded once per pod and attached to its network namespace. This program type cannot
// ask which namespace it runs in, hence one program per pod with the slot in .rodata; keying by
// packet address instead would pick another pod's listener.
#include "bpf/lib/steer.h"

#include <linux/in.h>

#define ORLOP_AF_INET 2

const volatile __u32 pod_slot = 0;  // set before loading

SEC("sk_lookup")
int orlop_steer(struct bpf_sk_lookup* ctx) {
    if (ctx->protocol != IPPROTO_TCP) {
        return SK_PASS;
    }
    struct orlop_address source;
    struct orlop_address destination;
    if (ctx->family == ORLOP_AF_INET) {
        source = address_from_v4(ctx->remote_ip4);
        destination = address_from_v4(ctx->local_ip4);
    } else {
        for (int i = 0; i < 4; ++i) {
            source.word[i] = ctx->remote_ip6[i];
            destination.word[i] = ctx->local_ip6[i];
        }
    }
    __u32 slot = pod_slot;
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
