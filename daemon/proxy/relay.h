// relay(): bytes both ways between two streams until both directions have ended or one broke.
//
// Order and half-close are kept: the end of one direction is passed on only after its last byte.
// At most one buffer of bytes per direction is held. Neither stream is closed.
#pragma once

#include "daemon/net/stream.h"
#include "daemon/runtime/scope.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace orlop::proxy {

struct RelayOutcome {
    std::uint64_t to_second = 0;  // bytes
    std::uint64_t to_first = 0;
    std::optional<Error> failure;  // of whichever side broke first
    std::string_view expired{};    // the limit that ended it, in words
};

struct RelayLimits {
    Duration idle{};      // without a byte in either direction; zero: none
    Duration duration{};  // of the whole; zero: none
};

runtime::Task<RelayOutcome> relay(net::Stream& first, net::Stream& second);
// The same; `outcome` counts while it runs.
runtime::Task<void>
relay_into(net::Stream& first, net::Stream& second, RelayOutcome& outcome, RelayLimits limits = {});

}  // namespace orlop::proxy
