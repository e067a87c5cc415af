// Request heads. Properties: no crash; need_more only while allowed; what arrives in two pieces is
// read as when it arrives at once; what parses is written as something that parses to the same.
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h1/writer.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

using namespace orlop;
using namespace orlop::h1;

static void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

static void check_round_trip(const RequestHead& head) {
    static std::vector<char> room(4 * limits::http_head_bytes_max);
    RequestRewrite how;
    how.framing = head.framing;
    how.content_length = head.content_length;
    how.upgrading = head.upgrade_requested ? Upgrading::yes : Upgrading::no;
    const auto written = write_request_head(room, head, how);
    if (!written) {
        require(head.version_minor == 0);  // 1.0 may lack a Host, and then nothing names the server
        return;
    }
    RequestHead again;
    HeadScan scan;
    const ParseResult result = parse_request_head({room.data(), *written}, again, scan);
    if (result.state == ParseState::refused) {
        // Ours are a little longer: lower limits than the input's may be reached, nothing else.
        require(result.reason == Reason::too_many_fields ||
                result.reason == Reason::head_too_large);
        return;
    }
    require(result.state == ParseState::complete && result.consumed == *written);
    require(again.method == head.method && again.path == head.path && again.query == head.query);
    require(again.authority == head.authority && again.framing == head.framing);
    require(again.content_length == head.content_length);
    require(again.upgrade_requested == head.upgrade_requested);
    require(again.te_trailers == (head.te_trailers && head.method_kind != Method::connect));
    for (const Field& field : again.fields) {
        const Known known = known_name(field.name);
        require(known == Known::none || again.fields.find(known) != nullptr);
        require(known == Known::host || known == Known::connection ||
                known == Known::transfer_encoding || known == Known::te ||
                head.fields.find(field.name) != nullptr);
    }
}

// Below the limits, so that which limit is met first does not depend on the segmentation.
constexpr std::size_t input_bytes_max = 8 * 1024;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0 || size > input_bytes_max) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static RequestHead whole;
    static RequestHead head;
    RequestOptions options;
    options.http10 = size % 2 == 0 ? Http10::allow : Http10::refuse;
    HeadScan once;
    const ParseResult expected = parse_request_head(text, whole, once, options);
    HeadScan scan;
    ParseResult got;
    const std::size_t step = 1 + size / 64;
    for (std::size_t n = 0; n < size + step && got.state == ParseState::need_more; n += step) {
        got = parse_request_head(text.substr(0, n), head, scan, options);
    }
    require(got.state == expected.state && got.reason == expected.reason);
    require(got.consumed == expected.consumed && got.consumed <= size);
    if (expected.state == ParseState::complete) {
        check_round_trip(whole);
    }
    static_cast<void>(look_at_first_bytes(text));
    return 0;
}
