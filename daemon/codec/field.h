// A header field as two views, and the field names a proxy acts on.
//
// Views point into the buffer the message was parsed from and live exactly as long as its bytes
// stay where they are. Names keep the spelling of the sender; compare them with same_name().
// `Known` gives the names that decide framing, routing and logging a small number, so that the
// parser resolves them once and nobody searches a list by text on the request path.
#pragma once

#include "daemon/base/limits.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace orlop {

struct Field {
    std::string_view name;
    std::string_view value;  // without surrounding whitespace
};

enum class Known : std::uint8_t {
    none,  // any name not listed below
    host,
    connection,
    content_length,
    transfer_encoding,
    te,
    trailer,
    upgrade,
    expect,
    keep_alive,
    proxy_connection,
    proxy_authenticate,
    proxy_authorization,
    http2_settings,
    authorization,
    cookie,
    set_cookie,
    content_type,
    content_encoding,
    content_range,
    user_agent,
    server,
    date,
    location,
    retry_after,
    traceparent,
    tracestate,
    b3,
    forwarded,
    x_request_id,
    x_forwarded_for,
    x_forwarded_host,
    x_forwarded_proto,
    x_forwarded_client_cert,
    x_envoy_original_path,
    x_envoy_upstream_service_time,
    grpc_status,
    grpc_message,
    count_,
};
inline constexpr std::size_t known_count = static_cast<std::size_t>(Known::count_);

Known known_name(std::string_view name);                 // ASCII case is ignored
std::string_view known_text(Known known);                // lower case; empty for none
bool same_name(std::string_view a, std::string_view b);  // ASCII case-insensitive

// Fields in order of arrival. `count` is the length: no entry ever marks the end of the list.
// Entries at `count` and beyond are stale and must not be read.
struct FieldList {
    std::array<Field, limits::http_headers_max> items;
    std::array<Known, limits::http_headers_max> known;  // parallel to items
    std::array<std::uint8_t, known_count> first{};      // index + 1 of the first; 0: absent
    std::size_t count = 0;

    void clear();
    bool append(Field field);  // false when full
    const Field* find(Known name) const {
        const std::uint8_t at = first[static_cast<std::size_t>(name)];
        return at == 0 ? nullptr : &items[at - 1];
    }
    const Field* find(std::string_view name) const;  // first of that name, or null
    std::string_view value(Known name) const {       // empty when absent
        const Field* field = find(name);
        return field == nullptr ? std::string_view() : field->value;
    }
    const Field* begin() const { return items.data(); }
    const Field* end() const { return items.data() + count; }
};
static_assert(limits::http_headers_max < 255, "FieldList::first keeps index + 1 in one byte");

}  // namespace orlop
