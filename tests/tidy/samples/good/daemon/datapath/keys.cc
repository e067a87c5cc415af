#include "bpf/abi.h"

namespace orlop {

int port_of(const good_key& key) {
    return key.port;
}

} // namespace orlop
