// HTTP/1.1 heads (RFC 9112), parsed in place and strictly: one reading or none.
//
// The caller owns one contiguous buffer per connection. parse_*_head() looks at all bytes received
// so far; until the empty line has come it answers need_more and remembers in HeadScan how far it
// looked, so that a head arriving in pieces is searched once. On `complete` every view of `out`
// points into that buffer: keep the bytes in place until the head has been written on. Limits of
// base/limits.h refuse while bytes arrive, and a bad line refuses as soon as it is complete:
// need_more is never the answer to limits::http_head_bytes_max bytes. No allocation. One head
// object per connection, reused; any thread, one at a time.
//
//     HeadScan scan;
//     for (;;) {
//         ParseResult parsed = parse_request_head(buffer.bytes(), head, scan);
//         if (parsed.state == ParseState::need_more) { read more, or give up at a deadline; }
//         if (parsed.state == ParseState::refused) { answer parsed.status() and close; }
//         if (parsed.state == ParseState::complete) { buffer.drop(parsed.consumed) after use; }
//     }
//
// After a refusal the connection must be closed: where the next message starts is unknown.
#pragma once

#include "daemon/codec/field.h"
#include "daemon/codec/h1/reason.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace orlop::h1 {

enum class Method : std::uint8_t {
    get,
    head,
    post,
    put,
    del,
    connect,
    options,
    trace,
    patch,
    other
};
Method method_of(std::string_view text);  // case-sensitive, RFC 9110 section 9.1

enum class Framing : std::uint8_t {
    none,         // no body follows
    length,       // exactly content_length bytes
    chunked,      // RFC 9112 section 7.1
    until_close,  // responses only; the connection cannot be reused
};

enum class ParseState : std::uint8_t { need_more, complete, refused };

struct ParseResult {
    ParseState state = ParseState::need_more;
    Reason reason = Reason::none;  // set when refused
    std::size_t consumed = 0;      // bytes of the head incl. the empty line, when complete

    std::uint16_t status() const { return suggested_status(reason); }
    std::string_view text() const { return reason_text(reason); }
};

// How far a line end was searched in vain. Reset it (= {}) before the next message. Give it back
// with the same buffer grown at its end; the buffer may have moved in memory.
struct HeadScan {
    std::size_t searched = 0;
};

// What both kinds of head share; resolved during the parse.
struct MessageHead {
    FieldList fields;
    Framing framing = Framing::none;
    std::uint64_t content_length = 0;  // with Framing::length; also of a bodyless answer to HEAD
    bool has_content_length = false;
    std::uint8_t version_minor = 1;  // 0 or 1
    bool keep_alive = true;          // the sender allows another message on this connection
    bool upgrade_requested = false;  // Connection: upgrade and a valid Upgrade field
    bool te_trailers = false;        // TE: trailers
    // Connection names fields beyond close, keep-alive, upgrade and te: writers must drop those.
    bool connection_names_fields = false;
};

enum class TargetForm : std::uint8_t { origin, absolute, authority, asterisk };

struct RequestHead : MessageHead {
    std::string_view method;
    Method method_kind = Method::other;
    TargetForm form = TargetForm::origin;
    std::string_view target;  // as received
    std::string_view path;    // begins with '/', or "*"; empty for CONNECT. Not yet normalised
    std::string_view query;   // after '?'; see has_query
    bool has_query = false;
    std::string_view scheme;     // absolute form only
    std::string_view authority;  // host[:port] the request is for: absolute target, else Host
    bool expect_continue = false;
};

struct ResponseHead : MessageHead {
    std::uint16_t status = 0;  // 100..599
    std::string_view reason_phrase;
    bool interim = false;            // 1xx other than 101: another head follows
    bool switches_protocol = false;  // 101, or 2xx to CONNECT: bytes in both directions follow
};

enum class Http10 : std::uint8_t { refuse, allow };

struct RequestOptions {
    Http10 http10 = Http10::refuse;  // Istio answers 426 unless PILOT_HTTP10 is set
};

ParseResult parse_request_head(std::string_view buffer,
                               RequestHead& out,
                               HeadScan& scan,
                               const RequestOptions& options = {});

// What the request was decides how its response is framed (RFC 9112 section 6.3).
struct ResponseContext {
    Method request_method = Method::get;
    bool upgrade_offered = false;  // the request as forwarded carried Upgrade; else 101 is refused
};
ParseResult parse_response_head(std::string_view buffer,
                                const ResponseContext& context,
                                ResponseHead& out,
                                HeadScan& scan);

// True when these first bytes of a connection can begin an HTTP/1.x request; used by protocol
// detection. `undecided` asks for more bytes and never for more than 24.
enum class Looks : std::uint8_t { undecided, http1, http2, other };
Looks look_at_first_bytes(std::string_view bytes);

}  // namespace orlop::h1
