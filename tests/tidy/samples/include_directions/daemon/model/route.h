#pragma once
#include "daemon/base/error.h"
#include "daemon/net/stream.h"
#include "bpf/abi.h"
#include "neighbour.h"
