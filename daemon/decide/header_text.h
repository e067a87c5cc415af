// Fills the %OPERATORS% of a configured header value (istio-semantics §2) from one request.
//
// Pure. What the request does not have reads as empty text; a value that comes out empty is not
// sent at all, as in Envoy. The result is bounded by limits::header_text_bytes_max.
//
//     std::string value;
//     if (fill_header_text(text, input, value)) { send name: value }
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/decide/match_route.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::decide {

struct HeaderTextInput {
    HeaderSource request{};
    std::string_view method{};
    std::string_view target{};  // path with query, as the caller sent it
    std::string_view authority{};
    std::string_view scheme = "http";
    HeaderSource response{};
    std::uint16_t response_code = 0;  // 0: none yet
    std::string_view code_details{};
    std::string_view flags{};
    std::string_view protocol{};
    std::string_view route_name{};
    std::string_view cluster{};
    std::string_view server_name{};
    std::string_view hostname{};
    std::string_view stream_id{};
    std::optional<SocketAddress> upstream_host{};
    std::optional<SocketAddress> downstream_remote{};
    std::optional<SocketAddress> downstream_local{};
    WallTime start_time{};
    std::uint64_t bytes_received = 0;
    std::uint32_t attempts = 0;
};

// False when the value is empty or too long: the header is left out.
bool fill_header_text(const model::HeaderText& text,
                      const HeaderTextInput& input,
                      std::string& out);

// 2026-03-01T12:34:56.789Z for an empty format, else strftime in UTC with %f, %3f, %6f and %9f for
// fractions and %s for seconds since 1970.
std::string format_start_time(WallTime time, std::string_view format);

}  // namespace orlop::decide
