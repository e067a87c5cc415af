// The one header shared by the BPF programs and by daemon/datapath: map keys and values, reasons,
// marks, ports. Fixed-width types, explicit padding, sizes and offsets asserted on both sides.
// Any change of layout or meaning raises ORLOP_ABI_VERSION: pinned maps outlive a daemon, and a
// program that meets another version refuses (counted) instead of misreading.
#pragma once

#ifdef __bpf__
#include <linux/types.h>
#define ORLOP_U8 __u8
#define ORLOP_U16 __u16
#define ORLOP_U32 __u32
#define ORLOP_U64 __u64
#else
#include <stdint.h>
#define ORLOP_U8 uint8_t
#define ORLOP_U16 uint16_t
#define ORLOP_U32 uint32_t
#define ORLOP_U64 uint64_t
#endif

#ifdef __cplusplus
#define ORLOP_ASSERT static_assert
#else
#define ORLOP_ASSERT _Static_assert
#endif

#define ORLOP_ABI_VERSION 1u

// Socket marks. M_OUT is set by the connect hook on a captured socket, M_IN by orlopd on a delivery
// socket. They must differ: with a shared mark orlopd's own delivery would loop back to it.
#define ORLOP_MARK_OUT 0x6f720a01u
#define ORLOP_MARK_IN 0x6f720a02u
// Routing table and rule preference used inside a pod's namespace, for both families.
#define ORLOP_ROUTE_TABLE 15001u
#define ORLOP_RULE_PREFERENCE 15001u

#define ORLOP_PORT_METRICS 15020
#define ORLOP_PORT_READY 15021
#define ORLOP_PORT_HBONE 15008

#define ORLOP_PODS_MAX 4096u
// Stands for the slot in enter.bpf.c until user space has patched it: a number no other constant of
// that program has.
#define ORLOP_SLOT_PLACEHOLDER 0x6f725107u
#define ORLOP_FAMILY_V4 2   // AF_INET
#define ORLOP_FAMILY_V6 10  // AF_INET6
#define ORLOP_FAMILIES 11   // indices of `bodies`
#define ORLOP_POD_ADDRESSES_MAX 16u
#define ORLOP_POD_PORT_RANGES_MAX 64u
#define ORLOP_POD_CIDRS_MAX 64u

// The heartbeat is written at least every BEAT_INTERVAL; a pod's daemon counts as gone EXPIRY after
// the last one. Four missed beats, so that one slow control step does not open or close a pod.
#define ORLOP_BEAT_INTERVAL_NS 500000000ull
#define ORLOP_BEAT_EXPIRY_NS 2000000000ull
ORLOP_ASSERT(ORLOP_BEAT_EXPIRY_NS >= 4 * ORLOP_BEAT_INTERVAL_NS, "one late beat must not matter");

// Which listener of a pod a connection belongs to: second half of the key of `listeners`.
enum orlop_listener_kind {
    ORLOP_LISTENER_OUTBOUND = 0,  // the pod's own connections, looped back over lo
    ORLOP_LISTENER_INBOUND = 1,   // arriving at any port, HBONE on 15008 included
    ORLOP_LISTENER_LOCAL = 3,     // loopback ports 15020 and 15021
    ORLOP_LISTENER_KINDS = 4,     // one more than the last; 2 was HBONE's own
};

enum orlop_pod_flag {
    ORLOP_POD_OUTBOUND_CLOSED = 1u << 0,  // orlopd gone: connect() is refused, else direct
    ORLOP_POD_INBOUND_CLOSED = 1u << 1,   // orlopd gone: a new connection is refused, else direct
    ORLOP_POD_BYPASS_INBOUND = 1u << 2,   // ambient.istio.io/bypass-inbound-capture
    ORLOP_POD_LEAVING = 1u << 3,          // new inbound goes direct, looped SYNs still reach us
};

// Every verdict that is not a plain pass has a reason: X(name, text for people).
#define ORLOP_REASONS(X)                                                                           \
    X(outbound_captured, "connect() marked for capture")                                           \
    X(outbound_exempt, "connect() by a socket of orlopd itself")                                   \
    X(outbound_loopback, "connect() to loopback")                                                  \
    X(outbound_own_address, "connect() to an address of the pod itself")                           \
    X(outbound_link_local, "connect() to an IPv6 link-local address")                              \
    X(outbound_excluded_port, "connect() to an excluded port")                                     \
    X(outbound_excluded_range, "connect() to an excluded address range")                           \
    X(outbound_gone_open, "orlopd is gone: connect() went direct by policy")                       \
    X(outbound_gone_closed, "orlopd is gone: connect() refused by policy")                         \
    X(outbound_device_cleared, "SO_BINDTODEVICE cleared to keep the capture")                      \
    X(outbound_device_stuck_open, "SO_BINDTODEVICE could not be cleared: direct by policy")        \
    X(outbound_device_stuck_closed, "SO_BINDTODEVICE could not be cleared: refused by policy")     \
    X(outbound_mark_failed_open, "SO_MARK could not be set: direct by policy")                     \
    X(outbound_mark_failed_closed, "SO_MARK could not be set: refused by policy")                  \
    X(outbound_bad_config, "pod entry missing or of another version: connect() refused")           \
    X(outbound_steered, "looped connection handed to the outbound listener")                       \
    X(outbound_listener_gone, "looped connection refused: no outbound listener")                   \
    X(inbound_captured, "arriving connection handed to the inbound listener")                      \
    X(inbound_hbone, "arriving HBONE connection handed to the inbound listener")                   \
    X(inbound_delivery, "delivery over lo passed to the app")                                      \
    X(inbound_self, "connection of the pod to itself passed")                                      \
    X(inbound_excluded_port, "arriving at an excluded port, passed to the app")                    \
    X(inbound_bypassed, "inbound capture is off for this pod")                                     \
    X(inbound_leaving, "pod is leaving the mesh, passed to the app")                               \
    X(inbound_gone_open, "orlopd is gone: passed to the app by policy")                            \
    X(inbound_gone_closed, "orlopd is gone: arriving connection refused by policy")                \
    X(inbound_assign_failed_open, "listener could not be assigned: passed by policy")              \
    X(inbound_assign_failed_closed, "listener could not be assigned: refused by policy")           \
    X(inbound_bad_config, "pod entry missing or of another version: connection refused")           \
    X(local_served, "loopback port 15020 or 15021 served by orlopd")                               \
    X(local_app_wins, "loopback port 15020 or 15021 left to the app's own listener")

enum orlop_reason {
#define ORLOP_REASON_ENUM(name, text) ORLOP_REASON_##name,
    ORLOP_REASONS(ORLOP_REASON_ENUM)
#undef ORLOP_REASON_ENUM
        ORLOP_REASON_COUNT
};

// 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
struct orlop_address {
    ORLOP_U32 word[4];
};

struct orlop_cidr {
    struct orlop_address base;  // already masked
    struct orlop_address mask;
};

struct orlop_port_range {
    ORLOP_U16 first;  // host order, both ends included
    ORLOP_U16 last;
};

struct orlop_listener_key {
    ORLOP_U32 slot;
    ORLOP_U32 kind;  // enum orlop_listener_kind
};

// Value of `enrolled`, keyed by the netns cookie. Written last when a pod joins, deleted first when
// it leaves: its presence alone decides whether connect() is looked at.
struct orlop_enrolled {
    ORLOP_U32 slot;
    ORLOP_U32 abi;
};

// Value of `pods`, keyed by slot. Replaced as a whole (hash update is atomic for readers).
struct orlop_pod {
    ORLOP_U32 abi;
    ORLOP_U32 flags;  // enum orlop_pod_flag
    ORLOP_U64 netns_cookie;
    ORLOP_U32 address_count;
    ORLOP_U32 outbound_port_count;
    ORLOP_U32 inbound_port_count;
    ORLOP_U32 outbound_cidr_count;
    struct orlop_address addresses[ORLOP_POD_ADDRESSES_MAX];
    struct orlop_port_range outbound_ports[ORLOP_POD_PORT_RANGES_MAX];
    struct orlop_port_range inbound_ports[ORLOP_POD_PORT_RANGES_MAX];
    struct orlop_cidr outbound_cidrs[ORLOP_POD_CIDRS_MAX];
};

// Value of `app_ports`, keyed by slot: bit 0 the app itself listens on 15020, bit 1 on 15021.
struct orlop_app_ports {
    ORLOP_U32 listening;
};

// Value of `entered`, key 0, per CPU.
struct orlop_entered {
    ORLOP_U32 slot;  // 0: nobody's
};

// Value of `beat`, key 0: CLOCK_MONOTONIC nanoseconds of the last heartbeat, 0 for never.
struct orlop_beat {
    ORLOP_U64 at_ns;
};

// Value of `meta`, key 0: says which layout the pinned maps have.
struct orlop_meta {
    ORLOP_U32 abi;
    ORLOP_U32 reason_count;
};

ORLOP_ASSERT(sizeof(struct orlop_address) == 16, "an IPv6 address");
ORLOP_ASSERT(sizeof(struct orlop_cidr) == 32, "no padding");
ORLOP_ASSERT(sizeof(struct orlop_port_range) == 4, "no padding");
ORLOP_ASSERT(sizeof(struct orlop_listener_key) == 8, "no padding in a map key");
ORLOP_ASSERT(sizeof(struct orlop_enrolled) == 8, "no padding");
ORLOP_ASSERT(__builtin_offsetof(struct orlop_pod, netns_cookie) == 8, "aligned");
ORLOP_ASSERT(__builtin_offsetof(struct orlop_pod, addresses) == 32, "no hole");
ORLOP_ASSERT(__builtin_offsetof(struct orlop_pod, outbound_ports) == 288, "no hole");
ORLOP_ASSERT(__builtin_offsetof(struct orlop_pod, outbound_cidrs) == 800, "no hole");
ORLOP_ASSERT(sizeof(struct orlop_pod) == 2848, "no trailing padding");
ORLOP_ASSERT(sizeof(struct orlop_meta) == 8, "no padding");
