// Which listener an arriving or looped connection gets: the body shared by all pods' sk_lookup
// programs.
#pragma once

#include "bpf/lib/count.h"
#include "bpf/lib/pod.h"

#define ORLOP_IFINDEX_LO 1  // the loopback device of every namespace

enum assign_outcome { ASSIGNED, ABSENT, FAILED };

static __always_inline enum assign_outcome
assign_listener(struct bpf_sk_lookup* ctx, __u32 slot, __u32 kind) {
    struct orlop_listener_key key = {.slot = slot, .kind = kind};
    void* socket = bpf_map_lookup_elem(&listeners, &key);
    if (!socket) {
        return ABSENT;
    }
    long error = bpf_sk_assign(ctx, socket, 0);
    bpf_sk_release(socket);
    return error ? FAILED : ASSIGNED;
}

static __always_inline int steered(enum orlop_reason reason) {
    count_reason(reason);
    return SK_PASS;
}

static __always_inline int refused(enum orlop_reason reason) {
    count_reason(reason);
    return SK_DROP;
}

static __always_inline int steer_loopback(struct bpf_sk_lookup* ctx, __u32 slot) {
    __u32 port = ctx->local_port;
    if (port != ORLOP_PORT_METRICS && port != ORLOP_PORT_READY) {
        return SK_PASS;
    }
    if (ctx->remote_port == 0) {  // the connect hook asks for the app's own listener
        return SK_PASS;
    }
    struct orlop_app_ports* noted = bpf_map_lookup_elem(&app_ports, &slot);
    if (noted && (noted->listening & (1u << (port - ORLOP_PORT_METRICS)))) {
        return steered(ORLOP_REASON_local_app_wins);
    }
    if (assign_listener(ctx, slot, ORLOP_LISTENER_LOCAL) == ASSIGNED) {
        return steered(ORLOP_REASON_local_served);
    }
    return SK_PASS;  // nobody there: the app sees a refused connection
}

// Looped over lo by the policy route: a captured socket, or orlopd's own delivery to the app.
static __always_inline int
steer_looped(struct bpf_sk_lookup* ctx, __u32 slot, int own_source, int own_destination) {
    if (!own_source || own_destination) {
        return steered(ORLOP_REASON_inbound_delivery);
    }
    if (assign_listener(ctx, slot, ORLOP_LISTENER_OUTBOUND) == ASSIGNED) {
        return steered(ORLOP_REASON_outbound_steered);
    }
    // Never pass, whatever the policy: a wildcard listener of the app on this port would take the
    // connection the app meant for someone else.
    return refused(ORLOP_REASON_outbound_listener_gone);
}

static __always_inline int
steer_arriving(struct bpf_sk_lookup* ctx, __u32 slot, const struct orlop_pod* pod) {
    __u32 port = ctx->local_port;
    if (pod->flags & ORLOP_POD_LEAVING) {
        return steered(ORLOP_REASON_inbound_leaving);
    }
    if (pod->flags & ORLOP_POD_BYPASS_INBOUND) {
        return steered(ORLOP_REASON_inbound_bypassed);
    }
    if (inbound_port_excluded(pod, port)) {
        return steered(ORLOP_REASON_inbound_excluded_port);
    }
    int closed = pod->flags & ORLOP_POD_INBOUND_CLOSED;
    // A hung daemon still holds its listener. Open: past it to the app. Closed: into its queue,
    // which costs nothing and is served if it comes back.
    if (!closed && !beat_is_fresh()) {
        return steered(ORLOP_REASON_inbound_gone_open);
    }
    int hbone = port == ORLOP_PORT_HBONE;
    switch (assign_listener(ctx, slot, ORLOP_LISTENER_INBOUND)) {
    case ASSIGNED:
        return steered(hbone ? ORLOP_REASON_inbound_hbone : ORLOP_REASON_inbound_captured);
    case ABSENT:
        return closed ? refused(ORLOP_REASON_inbound_gone_closed)
                      : steered(ORLOP_REASON_inbound_gone_open);
    default:
        return closed ? refused(ORLOP_REASON_inbound_assign_failed_closed)
                      : steered(ORLOP_REASON_inbound_assign_failed_open);
    }
}
