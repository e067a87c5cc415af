// Access log: one line per exchange, in Istio's default text format or as JSON with its keys
// (istio-semantics §15). Formats into a caller-owned buffer; no allocation, no I/O.
//
// Missing values print `-` in text and null in JSON. Bytes that could forge a line or a field
// (controls, quote, backslash) are escaped. A line that outgrows the buffer is cut.
//
//     LineBuffer buffer;                                   // per core, reused
//     write_access_log(std::string(format_access_log(record, LineFormat::text, buffer)));
#pragma once

#include "daemon/telemetry/request_record.h"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace orlop::telemetry {

inline constexpr std::size_t access_log_line_bytes_max = 16 * 1024;
static_assert(access_log_line_bytes_max >= 6 * RequestRecord::arena_bytes + 3 * 1024,
              "an escape is at most 6 bytes, so no text of a request can break a JSON line");
using LineBuffer = std::array<char, access_log_line_bytes_max>;

enum class LineFormat : unsigned char { text, json };

// HTTP or TCP by record.kind. The view points into `buffer`; no newline at its end.
std::string_view
format_access_log(const RequestRecord& record, LineFormat format, LineBuffer& buffer);

// 2026-03-01T12:34:56.789Z, as %START_TIME% prints.
std::string format_wall_time(WallTime time);

}  // namespace orlop::telemetry
