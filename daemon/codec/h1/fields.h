// Field lines shared by heads and trailers, and what the framing fields of a head add up to.
// Internal to codec/h1.
#pragma once

#include "daemon/codec/h1/head.h"

#include <string_view>

namespace orlop::h1 {

// `line` without its CRLF. Gives the field, or the reason why it is none.
Reason parse_field_line(std::string_view line, Field& out);

// Counts and values gathered while the fields of one head pass.
struct Gathered {
    std::size_t hosts = 0;
    std::size_t connection_options = 0;
    bool transfer_encoding = false;
    bool close = false;
    bool keep_alive = false;
    bool upgrade_option = false;
    bool upgrade_field = false;
    bool upgrade_to_h2c = false;
    bool expect = false;
};

// Accounts for one field of a head; `head.fields` already contains it.
Reason gather_field(const Field& field, Known known, MessageHead& head, Gathered& gathered);

// Checks that hold for both directions, and sets keep_alive and upgrade_requested.
Reason settle_connection(MessageHead& head, const Gathered& gathered);

// Parses a run of lines up to the empty one, calling back for the start line and every field.
// Shared by requests and responses so that both see the same line discipline.
struct LineCursor {
    std::string_view buffer;
    std::size_t at = 0;

    enum class Got : unsigned char { line, incomplete, refused };
    // Next line without CRLF; `at` moves past it. On `incomplete` `at` stays.
    Got next(std::string_view& line, Reason& reason);
};

// The fields after the start line: complete with the end of the head in cursor.at.
ParseResult parse_fields(LineCursor& cursor, MessageHead& head, Gathered& gathered);
ParseResult refused(Reason reason);
// need_more, unless the limits are reached already.
ParseResult incomplete(std::string_view buffer, HeadScan& scan);
// False when no new line end has come since the last call: then parsing again is no use.
bool worth_parsing(std::string_view buffer, HeadScan& scan);

}  // namespace orlop::h1
