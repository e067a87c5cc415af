#include "daemon/codec/uri.h"

#include "daemon/base/ip.h"
#include "daemon/codec/field.h"
#include "daemon/codec/grammar.h"

#include <algorithm>
#include <cstring>

namespace orlop::uri {
namespace {

constexpr std::size_t host_bytes_max = 255;
constexpr std::size_t port_digits_max = 5;

bool path_byte(char c) {
    return grammar::is(c, grammar::target_bit) && c != '?';
}

// True when normalising could change `raw`; otherwise it has been fully checked.
std::expected<bool, PathFault> needs_work(std::string_view raw, Normalisation normalisation) {
    bool work = false;
    char previous = 0;
    for (const char c : raw) {
        if (!path_byte(c)) [[unlikely]] {
            return std::unexpected(PathFault::bad_byte);
        }
        work = work || c == '%' || c == '\\' || (c == '.' && previous == '/') ||
               (c == '/' && previous == '/' && normalisation != Normalisation::base);
        previous = c;
    }
    return work;
}

struct Escape {
    unsigned char byte = 0;
    bool valid = false;
};
Escape read_escape(std::string_view text) {
    if (text.size() < 3) {
        return {};
    }
    const int high = grammar::hex_value(text[1]);
    const int low = grammar::hex_value(text[2]);
    if (high < 0 || low < 0) {
        return {};
    }
    return {static_cast<unsigned char>(high * 16 + low), true};
}

// First pass: escapes and backslashes. Returns the length written, never more than raw.size().
std::expected<std::size_t, PathFault>
decode(std::string_view raw, std::span<char> room, Normalisation normalisation) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::size_t length = 0;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (raw[i] != '%') {
            room[length++] = raw[i] == '\\' ? '/' : raw[i];
            continue;
        }
        const Escape escape = read_escape(raw.substr(i));
        if (!escape.valid) {
            return std::unexpected(PathFault::bad_escape);
        }
        if (escape.byte == 0) {
            return std::unexpected(PathFault::escaped_nul);
        }
        const char c = static_cast<char>(escape.byte);
        const bool slash = c == '/' && normalisation == Normalisation::decode_and_merge_slashes;
        if (grammar::is(c, grammar::unreserved_bit) || slash) {
            room[length++] = c;
        } else if (c == '\\') {
            room[length++] = '/';
        } else {
            room[length++] = '%';
            room[length++] = digits[escape.byte >> 4];
            room[length++] = digits[escape.byte & 15];
        }
        i += 2;
    }
    return length;
}

// Servlet containers cut ";params" off a segment before they resolve dots; others do not.
bool ambiguous_dots(std::string_view segment) {
    const std::size_t dots = segment.find_first_not_of('.');
    if (dots == std::string_view::npos || dots == 0 || dots > 2) {
        return false;
    }
    const std::string_view rest = segment.substr(dots);
    return rest.starts_with(';') || rest.starts_with("%3B");
}

// Second pass, in place: RFC 3986 section 5.2.4, then duplicate slashes.
std::expected<std::size_t, PathFault> resolve(std::span<char> path, Normalisation normalisation) {
    const bool merge = normalisation != Normalisation::base;
    const std::string_view text(path.data(), path.size());
    std::size_t written = 0;
    std::size_t at = 0;  // always at a '/'
    while (at < text.size()) {
        const std::size_t end = std::min(text.find('/', at + 1), text.size());
        const std::string_view segment = text.substr(at + 1, end - at - 1);
        const bool last = end == text.size();
        if (ambiguous_dots(segment)) {
            return std::unexpected(PathFault::ambiguous_dots);
        }
        if (segment == "..") {
            while (written > 0 && path[--written] != '/') {
            }
        }
        const bool dots = segment == "." || segment == "..";
        const bool dropped = dots || (merge && segment.empty() && !last);
        if (!dropped) {
            std::memmove(path.data() + written, path.data() + at, end - at);
            written += end - at;
        } else if (dots && last) {
            path[written++] = '/';
        }
        at = end;
    }
    return written;
}

bool plain_host(std::string_view host) {
    return !host.empty() && host.size() <= host_bytes_max && host.front() != '.' &&
           grammar::all(host, grammar::host_bit);
}

bool parse_port(std::string_view text, std::uint16_t& port) {
    if (text.empty() || text.size() > port_digits_max || text.front() == '0' ||
        !grammar::all(text, grammar::digit_bit)) {
        return false;
    }
    std::uint32_t number = 0;
    for (const char c : text) {
        number = number * 10 + static_cast<std::uint32_t>(c - '0');
    }
    port = static_cast<std::uint16_t>(number);
    return number <= 65535;
}

}  // namespace

std::string_view fault_text(PathFault fault) {
    switch (fault) {
    case PathFault::not_absolute:
        return "path does not begin with '/'";
    case PathFault::bad_byte:
        return "path has a byte that must be escaped";
    case PathFault::bad_escape:
        return "path has a malformed escape";
    case PathFault::escaped_nul:
        return "path has an escaped NUL";
    case PathFault::ambiguous_dots:
        return "path has a dot segment with parameters";
    case PathFault::too_long:
        return "path is longer than its buffer";
    }
    return "path refused";
}

std::expected<std::string_view, PathFault>
normalise_path(std::string_view raw, std::span<char> room, Normalisation normalisation) {
    if (raw == "*") {
        return raw;
    }
    if (raw.empty() || raw.front() != '/') {
        return std::unexpected(PathFault::not_absolute);
    }
    const auto work = needs_work(raw, normalisation);
    if (!work) {
        return std::unexpected(work.error());
    }
    if (!*work || normalisation == Normalisation::none) {
        return raw;
    }
    if (room.size() < raw.size()) {
        return std::unexpected(PathFault::too_long);
    }
    const auto decoded = decode(raw, room, normalisation);
    if (!decoded) {
        return std::unexpected(decoded.error());
    }
    const auto length = resolve(room.first(*decoded), normalisation);
    if (!length) {
        return std::unexpected(length.error());
    }
    return std::string_view(room.data(), *length);
}

bool valid_query(std::string_view query) {
    for (std::size_t i = 0; i < query.size(); ++i) {
        if (!grammar::is(query[i], grammar::target_bit)) {
            return false;
        }
        if (query[i] == '%' && !read_escape(query.substr(i)).valid) {
            return false;
        }
    }
    return true;
}

std::optional<HostPort> split_host_port(std::string_view authority) {
    HostPort result;
    std::string_view port;
    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) {
            return std::nullopt;
        }
        result.host = authority.substr(1, close - 1);
        result.ipv6_literal = true;
        port = authority.substr(close + 1);
        const bool literal =
            result.host.find(':') != std::string_view::npos &&
            result.host.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
        if (!literal || !IpAddress::parse(result.host)) {
            return std::nullopt;
        }
    } else {
        const std::size_t colon = authority.find(':');
        result.host = authority.substr(0, colon);
        port = authority.substr(result.host.size());
        if (!plain_host(result.host)) {
            return std::nullopt;
        }
    }
    if (port.empty()) {
        return result;
    }
    if (port.front() != ':' || !parse_port(port.substr(1), result.port)) {
        return std::nullopt;
    }
    return result;
}

bool same_host(std::string_view a, std::string_view b) {
    if (a.ends_with('.')) {
        a.remove_suffix(1);
    }
    if (b.ends_with('.')) {
        b.remove_suffix(1);
    }
    return same_name(a, b);
}

std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::size_t ampersand = query.find('&');
        const std::string_view pair = query.substr(0, ampersand);
        const std::size_t equals = pair.find('=');
        if (!pair.empty() && pair.substr(0, equals) == name) {
            return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        }
        query =
            ampersand == std::string_view::npos ? std::string_view() : query.substr(ampersand + 1);
    }
    return std::nullopt;
}

}  // namespace orlop::uri
