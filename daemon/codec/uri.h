// URIs as text that policy and backend read alike.
//
// normalise_path() runs once, when a request enters; matching, routing, logging and forwarding all
// use its result. It is the identity on its own results. Nothing here allocates; results are views
// into the input or into the caller's room.
//
//     std::array<char, ...> room;
//     auto path = uri::normalise_path(head.path, room, {});
//     if (!path) { refuse 400 with uri::fault_text(path.error()); }
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

namespace orlop::uri {

enum class PathFault : std::uint8_t {
    not_absolute,    // does not begin with '/'
    bad_byte,        // control, space, non-ASCII, '#', '?'
    bad_escape,      // '%' without two hex digits
    escaped_nul,     // %00
    ambiguous_dots,  // a segment "..;x" or ".;x" (also with %3B): some servers read dots
    too_long,        // longer than the room
};
std::string_view fault_text(PathFault fault);

// Istio's pathNormalization.normalization. In all but `none`: escapes of unreserved characters are
// decoded, other escapes get upper-case digits, '\' and %5C become '/', dot segments are removed.
// %2F stays an escape except under decode_and_merge_slashes.
enum class Normalisation : std::uint8_t { none, base, merge_slashes, decode_and_merge_slashes };

// `raw` is a path without query. Returns `raw` itself when nothing had to change, else a view into
// `room`, which must be at least as long as `raw`. "*" (OPTIONS) passes unchanged.
std::expected<std::string_view, PathFault> normalise_path(
    std::string_view raw, std::span<char> room, Normalisation normalisation = Normalisation::base);

bool valid_query(std::string_view query);  // visible ASCII without '#'; escapes well-formed

struct HostPort {
    std::string_view host;   // IPv6 without brackets; no trailing dot removed
    std::uint16_t port = 0;  // 0: not given
    bool ipv6_literal = false;
};
// host[:port] as in Host and :authority: a reg-name of [A-Za-z0-9._-], dotted IPv4, or [IPv6].
// User info, escapes, empty hosts, empty or zero ports and zone ids are refused.
std::optional<HostPort> split_host_port(std::string_view authority);

// ASCII case-insensitive; one trailing dot (an absolute name) is ignored on either side.
bool same_host(std::string_view a, std::string_view b);

// Raw (not decoded) value of the first parameter of that exact name; empty value when there is no
// '='. This is how Envoy matches queryParams.
std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name);

}  // namespace orlop::uri
