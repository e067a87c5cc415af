// Why a message was refused. Every way in which bytes can break HTTP/1.1, or be read in two ways,
// has its own name, so that a test, a counter and a log line can tell them apart.
#pragma once

#include <cstdint>
#include <string_view>

namespace orlop::h1 {

enum class Reason : std::uint8_t {
    none,
    bare_line_feed,
    bare_carriage_return,
    malformed_request_line,
    malformed_status_line,
    bad_method,
    target_too_long,
    bad_target_byte,
    fragment_in_target,
    bad_target_form,
    bad_authority,
    http_0_9,
    http_1_0,
    http_2_preface,
    unsupported_version,
    head_too_large,
    too_many_fields,
    empty_field_name,
    bad_field_name,
    space_before_colon,
    folded_line,
    bad_field_value,
    missing_host,
    repeated_host,
    bad_host,
    repeated_content_length,
    bad_content_length,
    length_and_transfer_encoding,
    bad_transfer_encoding,
    transfer_encoding_on_1_0,
    framing_on_bodyless_status,
    bad_connection_option,
    bad_expectation,
    bad_upgrade,
    bad_chunk_size,
    chunk_line_too_long,
    chunk_overhead,
    missing_chunk_end,
    trailers_too_large,
    forbidden_trailer,
    bad_status,
    unexpected_switch,
    truncated_body,
    count_,
};

std::string_view reason_text(Reason reason);    // static; fit for a log line and a response body
std::uint16_t suggested_status(Reason reason);  // for a request: 400, 414, 417, 426, 431, 501, 505

}  // namespace orlop::h1
