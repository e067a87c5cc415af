// The outbound decision, shared by connect4 and connect6.
#pragma once

#include "bpf/lib/count.h"
#include "bpf/lib/pod.h"

#include <linux/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define ORLOP_SOL_SOCKET 1
#define ORLOP_SO_BINDTODEVICE 25
#define ORLOP_SO_MARK 36

enum connect_verdict { CONNECT_DENY = 0, CONNECT_PASS = 1 };

static __always_inline int passed(enum orlop_reason reason) {
    count_reason(reason);
    return CONNECT_PASS;
}

static __always_inline int
by_policy(const struct orlop_pod* pod, enum orlop_reason open, enum orlop_reason closed) {
    if (pod->flags & ORLOP_POD_OUTBOUND_CLOSED) {
        count_reason(closed);
        return CONNECT_DENY;
    }
    return passed(open);
}

// The pod asks 127.0.0.1:15020 or :15021. sk_lookup cannot see whether the app has a listener
// there, so the answer is noted here, before the SYN. The lookup runs the pod's sk_lookup program
// too; source port 0, which no connection has, tells it to keep out.
static __always_inline void note_app_listener(struct bpf_sock_addr* ctx,
                                              __u32 slot,
                                              const struct orlop_address* to,
                                              __u32 port) {
    struct orlop_app_ports* noted = bpf_map_lookup_elem(&app_ports, &slot);
    if (!noted) {
        return;
    }
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock* found;
    if (address_is_mapped(to)) {
        tuple.ipv4.saddr = bpf_htonl(0x7f000001);
        tuple.ipv4.daddr = bpf_htonl(0x7f000001);
        tuple.ipv4.dport = bpf_htons(port);
        found = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    } else {
        tuple.ipv6.saddr[3] = bpf_htonl(1);
        tuple.ipv6.daddr[3] = bpf_htonl(1);
        tuple.ipv6.dport = bpf_htons(port);
        found = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    }
    __u32 bit = 1u << (port - ORLOP_PORT_METRICS);
    if (found) {
        bpf_sk_release(found);
        __sync_fetch_and_or(&noted->listening, bit);
    } else {
        __sync_fetch_and_and(&noted->listening, ~bit);
    }
}

// Destinations that are never captured; -1 when none of them applies.
static __always_inline int outside_capture(struct bpf_sock_addr* ctx,
                                           __u32 slot,
                                           const struct orlop_pod* pod,
                                           const struct orlop_address* to,
                                           __u32 port) {
    if (address_is_loopback(to)) {
        if (port == ORLOP_PORT_METRICS || port == ORLOP_PORT_READY) {
            note_app_listener(ctx, slot, to, port);
        }
        return passed(ORLOP_REASON_outbound_loopback);
    }
    if (pod_owns(pod, to)) {
        return passed(ORLOP_REASON_outbound_own_address);
    }
    if (address_is_link_local_v6(to)) {
        return passed(ORLOP_REASON_outbound_link_local);
    }
    if (outbound_port_excluded(pod, port)) {
        return passed(ORLOP_REASON_outbound_excluded_port);
    }
    if (outbound_range_excluded(pod, to)) {
        return passed(ORLOP_REASON_outbound_excluded_range);
    }
    return -1;
}

static __always_inline int mark_socket(struct bpf_sock_addr* ctx, const struct orlop_pod* pod) {
    // A socket bound to eth0 would ignore the policy route and bypass us.
    if (ctx->sk && ctx->sk->bound_dev_if) {
        char no_device[16] = {};
        if (bpf_setsockopt(
                ctx, ORLOP_SOL_SOCKET, ORLOP_SO_BINDTODEVICE, no_device, sizeof(no_device))) {
            return by_policy(pod,
                             ORLOP_REASON_outbound_device_stuck_open,
                             ORLOP_REASON_outbound_device_stuck_closed);
        }
        count_reason(ORLOP_REASON_outbound_device_cleared);
    }
    __u32 mark = ORLOP_MARK_OUT;
    if (bpf_setsockopt(ctx, ORLOP_SOL_SOCKET, ORLOP_SO_MARK, &mark, sizeof(mark))) {
        return by_policy(
            pod, ORLOP_REASON_outbound_mark_failed_open, ORLOP_REASON_outbound_mark_failed_closed);
    }
    return passed(ORLOP_REASON_outbound_captured);
}

static __always_inline int decide_connect(struct bpf_sock_addr* ctx,
                                          const struct orlop_address* to) {
    if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_MPTCP) {
        return CONNECT_PASS;
    }
    __u64 cookie = bpf_get_netns_cookie(ctx);
    struct orlop_enrolled* entry = bpf_map_lookup_elem(&enrolled, &cookie);
    if (!entry) {
        return CONNECT_PASS;
    }
    if (ctx->sk && bpf_sk_storage_get(&exempt, ctx->sk, 0, 0)) {
        return passed(ORLOP_REASON_outbound_exempt);
    }
    __u32 slot = entry->slot;
    struct orlop_pod* pod = bpf_map_lookup_elem(&pods, &slot);
    if (!pod || entry->abi != ORLOP_ABI_VERSION || pod->abi != ORLOP_ABI_VERSION) {
        count_reason(ORLOP_REASON_outbound_bad_config);
        return CONNECT_DENY;
    }
    int verdict = outside_capture(ctx, slot, pod, to, bpf_ntohs(ctx->user_port));
    if (verdict >= 0) {
        return verdict;
    }
    if (!listener_present(slot, ORLOP_LISTENER_OUTBOUND) || !beat_is_fresh()) {
        return by_policy(pod, ORLOP_REASON_outbound_gone_open, ORLOP_REASON_outbound_gone_closed);
    }
    return mark_socket(ctx, pod);
}
