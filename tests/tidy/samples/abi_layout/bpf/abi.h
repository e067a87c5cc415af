#pragma once
#include <linux/types.h>
struct same { __u32 a; __u32 b; };
struct hidden {
    __u8 a;
    __u32 b;
};
struct differs {
#ifdef __cplusplus
    __u64 wide;
#else
    __u32 narrow;
    __u32 rest;
#endif
};
