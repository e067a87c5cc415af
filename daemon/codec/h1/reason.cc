#include "daemon/codec/h1/reason.h"

#include <array>
#include <cstddef>

namespace orlop::h1 {
namespace {

struct Entry {
    Reason reason;
    std::uint16_t status;
    std::string_view text;
};
using enum Reason;
constexpr std::array<Entry, static_cast<std::size_t>(Reason::count_)> entries = {{
    {none, 400, "no refusal"},
    {bare_line_feed, 400, "line ends with LF without CR"},
    {bare_carriage_return, 400, "CR without LF"},
    {malformed_request_line, 400, "request line is not METHOD SP TARGET SP VERSION"},
    {malformed_status_line, 400, "status line is not VERSION SP STATUS SP REASON"},
    {bad_method, 400, "method is not a token"},
    {target_too_long, 414, "request line exceeds http_request_line_bytes_max"},
    {bad_target_byte, 400, "request target has a control, space or non-ASCII byte"},
    {fragment_in_target, 400, "request target has a fragment"},
    {bad_target_form, 400, "request target has a form its method does not allow"},
    {bad_authority, 400, "authority of the request target is not host[:port]"},
    {http_0_9, 400, "HTTP/0.9 is not spoken"},
    {http_1_0, 426, "HTTP/1.0 is not spoken; use HTTP/1.1"},
    {http_2_preface, 505, "HTTP/2 on a connection that speaks HTTP/1.1"},
    {unsupported_version, 505, "HTTP version is neither 1.0 nor 1.1"},
    {head_too_large, 431, "head exceeds http_head_bytes_max"},
    {too_many_fields, 431, "head exceeds http_headers_max"},
    {empty_field_name, 400, "empty field name"},
    {bad_field_name, 400, "field name is not a token"},
    {space_before_colon, 400, "whitespace between field name and colon"},
    {folded_line, 400, "folded field line"},
    {bad_field_value, 400, "control byte in a field value"},
    {missing_host, 400, "Host is missing"},
    {repeated_host, 400, "Host is repeated"},
    {bad_host, 400, "Host is not host[:port]"},
    {repeated_content_length, 400, "Content-Length is repeated"},
    {bad_content_length, 400, "Content-Length is not one decimal number"},
    {length_and_transfer_encoding, 400, "both Content-Length and Transfer-Encoding"},
    {bad_transfer_encoding, 400, "Transfer-Encoding is not exactly one chunked"},
    {transfer_encoding_on_1_0, 400, "Transfer-Encoding in HTTP/1.0"},
    {framing_on_bodyless_status, 400, "a message that has no body announces one"},
    {bad_connection_option, 400, "Connection names a field that is not hop-by-hop"},
    {bad_expectation, 417, "Expect is not 100-continue"},
    {bad_upgrade, 400, "Upgrade is not a list of protocols"},
    {bad_chunk_size, 400, "chunk size is not a hexadecimal number"},
    {chunk_line_too_long, 400, "chunk line exceeds http_chunk_line_bytes_max"},
    {chunk_overhead, 400, "chunk framing outweighs its payload"},
    {missing_chunk_end, 400, "chunk does not end with CRLF"},
    {trailers_too_large, 431, "trailers exceed http_trailer_bytes_max"},
    {forbidden_trailer, 400, "trailer field that may not come late"},
    {bad_status, 400, "status code is not within 100..599"},
    {unexpected_switch, 400, "101 without an offered upgrade"},
    {truncated_body, 400, "connection closed within the body"},
}};

consteval bool entries_in_order() {
    for (std::size_t i = 0; i < entries.size(); ++i) {
        if (static_cast<std::size_t>(entries[i].reason) != i) {
            return false;
        }
    }
    return true;
}
static_assert(entries_in_order(), "entries are indexed by Reason");

const Entry& entry(Reason reason) {
    const auto index = static_cast<std::size_t>(reason);
    return entries[index < entries.size() ? index : 0];
}

}  // namespace

std::string_view reason_text(Reason reason) {
    return entry(reason).text;
}

std::uint16_t suggested_status(Reason reason) {
    return entry(reason).status;
}

}  // namespace orlop::h1
