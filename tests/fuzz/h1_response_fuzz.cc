// Response heads, under every kind of request. The first byte of the input chooses the context.
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

static void check_round_trip(const ResponseHead& head, const ResponseContext& context) {
    static std::vector<char> room(4 * limits::http_head_bytes_max);
    ResponseRewrite how;
    how.framing = head.framing;
    how.content_length = head.content_length;
    how.upgrading = head.upgrade_requested ? Upgrading::yes : Upgrading::no;
    const auto written = write_response_head(room, head, how);
    require(written.has_value());
    ResponseHead again;
    HeadScan scan;
    const ParseResult result = parse_response_head({room.data(), *written}, context, again, scan);
    if (result.state == ParseState::refused) {
        require(result.reason == Reason::too_many_fields ||
                result.reason == Reason::head_too_large);
        return;
    }
    require(result.state == ParseState::complete && result.consumed == *written);
    require(again.status == head.status && again.framing == head.framing);
    require(again.interim == head.interim && again.switches_protocol == head.switches_protocol);
    if (head.framing == Framing::length) {
        require(again.content_length == head.content_length);
    }
}

// Below the limits, so that which limit is met first does not depend on the segmentation.
constexpr std::size_t input_bytes_max = 8 * 1024;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0 || size > input_bytes_max) {
        return 0;
    }
    ResponseContext context;
    context.request_method = static_cast<Method>(data[0] % 10);
    context.upgrade_offered = (data[0] & 0x80) != 0;
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    static ResponseHead whole;
    static ResponseHead head;
    HeadScan once;
    const ParseResult expected = parse_response_head(text, context, whole, once);
    HeadScan scan;
    ParseResult got;
    const std::size_t step = 1 + text.size() / 64;
    for (std::size_t n = 0; n < size + step && got.state == ParseState::need_more; n += step) {
        got = parse_response_head(text.substr(0, n), context, head, scan);
    }
    require(got.state == expected.state && got.reason == expected.reason);
    require(got.consumed == expected.consumed);
    if (expected.state == ParseState::complete) {
        check_round_trip(whole, context);
    }
    return 0;
}
