// sk_lookup, one copy per pod, attached to its network namespace: says which pod this is and hands
// over to the one body that all pods share (steer.bpf.c). This program type cannot ask which
// namespace it runs in; keying by packet address instead would pick another pod's listener. So the
// slot is a constant of the copy, patched into the instructions before they are loaded, and the
// copy is short, because the kernel verifies and keeps each.
#include "bpf/lib/count.h"

#include <linux/in.h>

SEC("sk_lookup")
int orlop_enter(struct bpf_sk_lookup* ctx) {
    if (ctx->protocol != IPPROTO_TCP) {
        return SK_PASS;
    }
    __u32 zero = 0;
    struct orlop_entered* here = bpf_map_lookup_elem(&entered, &zero);
    if (here) {
        here->slot = ORLOP_SLOT_PLACEHOLDER;
        // An index that the verifier does not know: for a constant one the kernel would patch the
        // code of every copy whenever a daemon replaces the body.
        bpf_tail_call(ctx, &bodies, ctx->family);
    }
    count_reason(ORLOP_REASON_inbound_bad_config);  // nobody judges it: fail closed
    return SK_DROP;
}

char LICENSE[] SEC("license") = "Apache-2.0";
