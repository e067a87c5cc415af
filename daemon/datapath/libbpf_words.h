// What libbpf says when it fails, which the errno alone does not tell. Control thread.
#pragma once

#include "daemon/base/error.h"

#include <string_view>

namespace orlop::datapath {

void listen_to_libbpf();
// An error with `what`, the errno and libbpf's last complaint on this thread.
std::unexpected<Error> fail_libbpf(int error, std::string_view what);

}  // namespace orlop::datapath
