#include "bpf/abi.h"
#include "daemon/base/limits.h"
