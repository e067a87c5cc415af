#include "bpf/abi.h"
#include "bpf/connect.skel.h"
#include "bpf/maps.h"
#include "tests/support/fake.h"
