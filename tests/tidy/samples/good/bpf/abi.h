#pragma once

#include <linux/types.h>

struct good_key {
    __u32 address[4];
    __u16 port;
    __u16 padding;
};
