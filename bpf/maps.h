// Every map of the programs. All are pinned by daemon/datapath and shared by all programs.
#pragma once

#include "bpf/abi.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

// netns cookie -> pod: presence means outbound capture is on.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, ORLOP_PODS_MAX);
    __type(key, __u64);
    __type(value, struct orlop_enrolled);
} enrolled SEC(".maps");

// slot -> addresses, policy flags, exclusions of one pod.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, ORLOP_PODS_MAX);
    __type(key, __u32);
    __type(value, struct orlop_pod);
} pods SEC(".maps");

// (slot, kind) -> orlopd's listening socket. An entry vanishes when its socket closes, so a dead
// daemon has no entries. Never holds established sockets (they lose bytes there).
struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, ORLOP_PODS_MAX* ORLOP_LISTENER_KINDS);
    __type(key, struct orlop_listener_key);
    __type(value, __u64);
} listeners SEC(".maps");

// Sockets of orlopd itself, entered through their fd. Keyed by the socket and not by process id:
// ids are reused after a crash, and a pod can fork until it gets one.
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u32);
} exempt SEC(".maps");

// slot -> which of the loopback service ports the app listens on itself.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, ORLOP_PODS_MAX + 1);
    __type(key, __u32);
    __type(value, struct orlop_app_ports);
} app_ports SEC(".maps");

// The pod that this CPU looks a connection up for: from enter.bpf.c to steer.bpf.c.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct orlop_entered);
} entered SEC(".maps");

// Address family -> steer.bpf.c, where every pod's enter.bpf.c continues.
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, ORLOP_FAMILIES);
    __type(key, __u32);
    __type(value, __u32);
} bodies SEC(".maps");

// The daemon's heartbeat: sees a hang, which the listener's presence does not.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct orlop_beat);
} beat SEC(".maps");

// One counter per enum orlop_reason.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ORLOP_REASON_COUNT);
    __type(key, __u32);
    __type(value, __u64);
} stats SEC(".maps");

// The layout of the pinned maps, read by user space before it adopts them.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct orlop_meta);
} meta SEC(".maps");
