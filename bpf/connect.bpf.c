// cgroup/connect4 and connect6, attached once per host: mark an enrolled pod's TCP socket, so that
// the pod's policy route loops it to lo, where steer.bpf.c hands it to orlopd. No address is
// rewritten: getpeername and getsockname of the app stay true, and a load balancer attached before
// or after still works.
#include "bpf/lib/capture.h"

SEC("cgroup/connect4")
int orlop_connect4(struct bpf_sock_addr* ctx) {
    struct orlop_address to = address_from_v4(ctx->user_ip4);
    return decide_connect(ctx, &to);
}

// Also serves v4-mapped destinations: those run this hook only.
SEC("cgroup/connect6")
int orlop_connect6(struct bpf_sock_addr* ctx) {
    struct orlop_address to;
    to.word[0] = ctx->user_ip6[0];
    to.word[1] = ctx->user_ip6[1];
    to.word[2] = ctx->user_ip6[2];
    to.word[3] = ctx->user_ip6[3];
    return decide_connect(ctx, &to);
}

char LICENSE[] SEC("license") = "Apache-2.0";
