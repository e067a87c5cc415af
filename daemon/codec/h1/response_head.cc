// Response heads: RFC 9112 sections 4 and 6.3.
#include "daemon/codec/grammar.h"
#include "daemon/codec/h1/fields.h"
#include "daemon/codec/h1/head.h"

namespace orlop::h1 {
namespace {

void reset(ResponseHead& out) {
    out.fields.clear();
    out.framing = Framing::none;
    out.content_length = 0;
    out.has_content_length = false;
    out.version_minor = 1;
    out.keep_alive = true;
    out.upgrade_requested = false;
    out.te_trailers = false;
    out.connection_names_fields = false;
    out.status = 0;
    out.reason_phrase = {};
    out.interim = false;
    out.switches_protocol = false;
}

Reason parse_status_line(std::string_view line, ResponseHead& out) {
    constexpr std::size_t status_at = 9;  // after "HTTP/1.1 "
    constexpr std::size_t status_end = 12;
    if (line.size() < status_at || line.substr(0, 5) != "HTTP/" || line[8] != ' ') {
        return Reason::malformed_status_line;
    }
    const std::string_view version = line.substr(0, 8);
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        return Reason::unsupported_version;
    }
    out.version_minor = static_cast<std::uint8_t>(version.back() - '0');
    if (line.size() < status_end || !grammar::all(line.substr(status_at, 3), grammar::digit_bit)) {
        return Reason::bad_status;
    }
    for (std::size_t i = status_at; i < status_end; ++i) {
        out.status = static_cast<std::uint16_t>(out.status * 10 + (line[i] - '0'));
    }
    if (out.status < 100 || out.status > 599) {
        return Reason::bad_status;
    }
    // The space before an empty reason phrase is often left out; it has only one reading.
    if (line.size() > status_end) {
        if (line[status_end] != ' ') {
            return Reason::malformed_status_line;
        }
        out.reason_phrase = line.substr(status_end + 1);
    }
    return grammar::valid_value(out.reason_phrase) ? Reason::none : Reason::malformed_status_line;
}

// RFC 9112 section 6.3, in its order.
Reason settle_framing(ResponseHead& out, const ResponseContext& context, const Gathered& gathered) {
    const bool announces_body =
        gathered.transfer_encoding || (out.has_content_length && out.content_length > 0);
    if (out.status == 101) {
        if (!context.upgrade_offered || !out.upgrade_requested) {
            return Reason::unexpected_switch;
        }
        out.switches_protocol = true;
    }
    out.interim = out.status < 200 && out.status != 101;
    if (out.status < 200 || out.status == 204) {
        return announces_body ? Reason::framing_on_bodyless_status : Reason::none;
    }
    if (context.request_method == Method::head || out.status == 304) {
        return Reason::none;
    }
    if (context.request_method == Method::connect && out.status < 300) {
        out.switches_protocol = true;  // its framing fields mean nothing (section 6.3, item 2)
        return Reason::none;
    }
    if (gathered.transfer_encoding) {
        out.framing = Framing::chunked;
    } else if (out.has_content_length) {
        out.framing = Framing::length;
    } else {
        out.framing = Framing::until_close;
        out.keep_alive = false;
    }
    return Reason::none;
}

// Bytes that can never become a response are refused before the first line is complete.
bool hopeless(std::string_view buffer) {
    constexpr std::string_view start = "HTTP/";
    return !start.starts_with(buffer.substr(0, start.size()));
}

}  // namespace

ParseResult parse_response_head(std::string_view buffer,
                                const ResponseContext& context,
                                ResponseHead& out,
                                HeadScan& scan) {
    if (hopeless(buffer)) {
        return refused(Reason::malformed_status_line);
    }
    if (!worth_parsing(buffer, scan)) {
        return incomplete(buffer, scan);
    }
    reset(out);
    LineCursor cursor{buffer, 0};
    std::string_view line;
    Reason reason = Reason::none;
    switch (cursor.next(line, reason)) {
    case LineCursor::Got::incomplete:
        return incomplete(buffer, scan);
    case LineCursor::Got::refused:
        return refused(reason);
    case LineCursor::Got::line:
        reason = parse_status_line(line, out);
        break;
    }
    if (reason != Reason::none) {
        return refused(reason);
    }
    Gathered gathered;
    const ParseResult fields = parse_fields(cursor, out, gathered);
    if (fields.state == ParseState::need_more) {
        return incomplete(buffer, scan);
    }
    if (fields.state == ParseState::complete) {
        reason = settle_connection(out, gathered);
        if (reason == Reason::none) {
            reason = settle_framing(out, context, gathered);
        }
        if (reason != Reason::none) {
            return refused(reason);
        }
    }
    return fields;
}

}  // namespace orlop::h1
