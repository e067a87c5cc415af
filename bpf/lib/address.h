// Addresses in one form for both families: 16 bytes in network order, IPv4 v4-mapped.
#pragma once

#include "bpf/abi.h"

#include <bpf/bpf_endian.h>

static __always_inline struct orlop_address address_from_v4(__u32 network_order) {
    struct orlop_address address = {{0, 0, bpf_htonl(0x0000ffff), network_order}};
    return address;
}

static __always_inline int address_is_mapped(const struct orlop_address* address) {
    return address->word[0] == 0 && address->word[1] == 0 &&
           address->word[2] == bpf_htonl(0x0000ffff);
}

// 127.0.0.0/8 and ::1, and 0.0.0.0 and ::, which connect() takes for this host.
static __always_inline int address_is_loopback(const struct orlop_address* address) {
    if (address_is_mapped(address)) {
        return (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
               address->word[3] == 0;
    }
    return address->word[0] == 0 && address->word[1] == 0 && address->word[2] == 0 &&
           (address->word[3] == bpf_htonl(1) || address->word[3] == 0);
}

static __always_inline int address_is_link_local_v6(const struct orlop_address* address) {
    return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

// Comparisons without branches inside: in the loops of pod.h each branch would multiply the paths
// the verifier walks.
static __always_inline int address_equal(const struct orlop_address* a,
                                         const struct orlop_address* b) {
    return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
            (a->word[3] ^ b->word[3])) == 0;
}

static __always_inline int cidr_contains(const struct orlop_cidr* cidr,
                                         const struct orlop_address* address) {
    return (((address->word[0] & cidr->mask.word[0]) ^ cidr->base.word[0]) |
            ((address->word[1] & cidr->mask.word[1]) ^ cidr->base.word[1]) |
            ((address->word[2] & cidr->mask.word[2]) ^ cidr->base.word[2]) |
            ((address->word[3] & cidr->mask.word[3]) ^ cidr->base.word[3])) == 0;
}
