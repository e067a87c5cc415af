#include "daemon/codec/h1/fields.h"

#include "daemon/base/limits.h"
#include "daemon/codec/grammar.h"

#include <cstring>

namespace orlop::h1 {
namespace {

constexpr std::size_t connection_options_max = 16;
constexpr std::size_t length_digits_max = 18;  // below 2^63 whatever the digits

Reason bad_name(std::string_view line, std::size_t at) {
    if (at == 0 && !line.empty() && grammar::blank(line[0])) {
        return Reason::folded_line;
    }
    if (at < line.size() && line[at] == ':') {
        return Reason::empty_field_name;
    }
    std::size_t rest = at;
    while (rest < line.size() && grammar::blank(line[rest])) {
        ++rest;
    }
    const bool spaced = rest > at && rest < line.size() && line[rest] == ':';
    return spaced ? Reason::space_before_colon : Reason::bad_field_name;
}

Reason gather_length(std::string_view value, MessageHead& head) {
    if (head.has_content_length) {
        return Reason::repeated_content_length;
    }
    const bool odd = value.empty() || value.size() > length_digits_max ||
                     !grammar::all(value, grammar::digit_bit) ||
                     (value[0] == '0' && value.size() > 1);
    if (odd) {
        return Reason::bad_content_length;
    }
    std::uint64_t length = 0;
    for (const char c : value) {
        length = length * 10 + static_cast<std::uint64_t>(c - '0');
    }
    head.content_length = length;
    head.has_content_length = true;
    return Reason::none;
}

// A Connection option may only name fields that are hop-by-hop by nature or unknown to us; else a
// client could have us drop what routing, identity or framing of later hops rests on.
bool may_be_nominated(Known known) {
    switch (known) {
    case Known::none:
    case Known::te:
    case Known::trailer:
    case Known::upgrade:
    case Known::keep_alive:
    case Known::proxy_connection:
    case Known::http2_settings:
        return true;
    default:
        return false;
    }
}

Reason gather_connection(std::string_view value, MessageHead& head, Gathered& gathered) {
    grammar::ListReader options(value);
    std::string_view option;
    while (options.next(option)) {
        const Known known = known_name(option);
        if (++gathered.connection_options > connection_options_max || !grammar::token(option) ||
            !may_be_nominated(known)) {
            return Reason::bad_connection_option;
        }
        if (known == Known::keep_alive) {
            gathered.keep_alive = true;
        } else if (known == Known::upgrade) {
            gathered.upgrade_option = true;
        } else if (same_name(option, "close")) {
            gathered.close = true;
        } else if (known == Known::none) {
            head.connection_names_fields = true;
        }
    }
    return Reason::none;
}

Reason gather_upgrade(std::string_view value, Gathered& gathered) {
    grammar::ListReader protocols(value);
    std::string_view protocol;
    while (protocols.next(protocol)) {
        const std::size_t slash = protocol.find('/');
        const bool valid =
            grammar::token(protocol.substr(0, slash)) &&
            (slash == std::string_view::npos || grammar::token(protocol.substr(slash + 1)));
        if (!valid) {
            return Reason::bad_upgrade;
        }
        gathered.upgrade_field = true;
        // A cleartext switch to HTTP/2 would carry requests past this proxy unseen.
        gathered.upgrade_to_h2c = gathered.upgrade_to_h2c || same_name(protocol, "h2c");
    }
    return Reason::none;
}

void gather_te(std::string_view value, MessageHead& head) {
    grammar::ListReader codings(value);
    std::string_view coding;
    while (codings.next(coding)) {
        head.te_trailers = head.te_trailers || same_name(coding, "trailers");
    }
}

}  // namespace

Reason parse_field_line(std::string_view line, Field& out) {
    const char* const begin = line.data();
    const char* const end = begin + line.size();
    const char* at = begin;
    while (at < end && grammar::is(*at, grammar::token_bit)) {
        ++at;
    }
    if (at == begin || at == end || *at != ':') [[unlikely]] {
        return bad_name(line, static_cast<std::size_t>(at - begin));
    }
    out.name = {begin, static_cast<std::size_t>(at - begin)};
    ++at;
    while (at < end && grammar::blank(*at)) {
        ++at;
    }
    const char* last = end;
    while (last > at && grammar::blank(last[-1])) {
        --last;
    }
    out.value = {at, static_cast<std::size_t>(last - at)};
    if (!grammar::valid_value(out.value)) [[unlikely]] {
        const bool carriage_return = out.value.find('\r') != std::string_view::npos;
        return carriage_return ? Reason::bare_carriage_return : Reason::bad_field_value;
    }
    return Reason::none;
}

Reason gather_field(const Field& field, Known known, MessageHead& head, Gathered& gathered) {
    switch (known) {
    case Known::host:
        ++gathered.hosts;
        return Reason::none;
    case Known::content_length:
        return gather_length(field.value, head);
    case Known::transfer_encoding:
        if (gathered.transfer_encoding || !same_name(field.value, "chunked")) {
            return Reason::bad_transfer_encoding;
        }
        gathered.transfer_encoding = true;
        return Reason::none;
    case Known::connection:
        return gather_connection(field.value, head, gathered);
    case Known::upgrade:
        return gather_upgrade(field.value, gathered);
    case Known::te:
        gather_te(field.value, head);
        return Reason::none;
    case Known::expect:
        gathered.expect = true;
        return Reason::none;
    default:
        return Reason::none;
    }
}

Reason settle_connection(MessageHead& head, const Gathered& gathered) {
    if (gathered.transfer_encoding) {
        if (head.version_minor == 0) {
            return Reason::transfer_encoding_on_1_0;
        }
        if (head.has_content_length) {
            return Reason::length_and_transfer_encoding;
        }
    }
    head.keep_alive = !gathered.close && (head.version_minor == 1 || gathered.keep_alive);
    head.upgrade_requested = head.version_minor == 1 && gathered.upgrade_option &&
                             gathered.upgrade_field && !gathered.upgrade_to_h2c;
    return Reason::none;
}

LineCursor::Got LineCursor::next(std::string_view& line, Reason& reason) {
    const char* const begin = buffer.data() + at;
    const std::size_t left = buffer.size() - at;
    const void* found = left == 0 ? nullptr : std::memchr(begin, '\n', left);
    if (found == nullptr) {
        return Got::incomplete;
    }
    const auto length = static_cast<std::size_t>(static_cast<const char*>(found) - begin);
    if (length == 0 || begin[length - 1] != '\r') [[unlikely]] {
        reason = Reason::bare_line_feed;
        return Got::refused;
    }
    line = {begin, length - 1};
    at += length + 1;
    if (at > limits::http_head_bytes_max) [[unlikely]] {
        reason = Reason::head_too_large;
        return Got::refused;
    }
    return Got::line;
}

ParseResult refused(Reason reason) {
    return {ParseState::refused, reason, 0};
}

ParseResult incomplete(std::string_view buffer, HeadScan& scan) {
    scan.searched = buffer.size();
    if (buffer.size() >= limits::http_head_bytes_max) {
        return refused(Reason::head_too_large);
    }
    return {};
}

bool worth_parsing(std::string_view buffer, HeadScan& scan) {
    if (scan.searched == 0 || scan.searched > buffer.size()) {
        return true;
    }
    const std::size_t left = buffer.size() - scan.searched;
    return left > 0 && std::memchr(buffer.data() + scan.searched, '\n', left) != nullptr;
}

ParseResult parse_fields(LineCursor& cursor, MessageHead& head, Gathered& gathered) {
    // Bounded: each turn takes a line from the buffer or returns.
    for (;;) {
        std::string_view line;
        Reason reason = Reason::none;
        switch (cursor.next(line, reason)) {
        case LineCursor::Got::incomplete:
            return {};
        case LineCursor::Got::refused:
            return refused(reason);
        case LineCursor::Got::line:
            break;
        }
        if (line.empty()) {
            return {ParseState::complete, Reason::none, cursor.at};
        }
        Field field;
        reason = parse_field_line(line, field);
        if (reason != Reason::none) {
            return refused(reason);
        }
        if (!head.fields.append(field)) {
            return refused(Reason::too_many_fields);
        }
        reason = gather_field(field, head.fields.known[head.fields.count - 1], head, gathered);
        if (reason != Reason::none) {
            return refused(reason);
        }
    }
}

}  // namespace orlop::h1
