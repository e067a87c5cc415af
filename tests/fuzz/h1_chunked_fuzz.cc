// Bodies: any segmentation gives the same payload, the same end and the same number of bytes.
#include "daemon/codec/h1/body.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace orlop::h1;

static void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Outcome {
    BodyState state = BodyState::need_more;
    Reason reason = Reason::none;
    std::string payload;
    std::size_t consumed = 0;
    std::size_t trailers = 0;
};

static Outcome
decode(Framing framing, std::uint64_t length, std::string_view text, std::size_t piece) {
    BodyDecoder body(framing, length);
    Outcome outcome;
    std::size_t received = 0;
    for (std::size_t turn = 0; turn < 4 * text.size() + 8; ++turn) {
        const std::string_view input = text.substr(outcome.consumed, received - outcome.consumed);
        const BodyStep step = body.next(input);
        require(step.consumed <= input.size());
        outcome.payload += step.payload;
        outcome.consumed += step.consumed;
        outcome.state = step.state;
        outcome.reason = step.reason;
        outcome.trailers = body.trailers().size();
        if (step.state == BodyState::complete || step.state == BodyState::refused) {
            return outcome;
        }
        if (step.state == BodyState::need_more) {
            if (received == text.size()) {
                return outcome;
            }
            received = std::min(text.size(), received + piece);
        }
    }
    std::abort();  // no progress
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0 || size > 64 * 1024) {
        return 0;
    }
    const Framing framing = data[0] < 0xf0 ? Framing::chunked : static_cast<Framing>(data[0] % 4);
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    const Outcome whole = decode(framing, data[0], text, text.size() + 1);
    const Outcome pieces = decode(framing, data[0], text, 1 + data[0] % 7 + size / 512);
    require(whole.state == pieces.state && whole.reason == pieces.reason);
    if (whole.state != BodyState::refused) {
        require(whole.payload == pieces.payload && whole.consumed == pieces.consumed);
    }
    if (whole.state == BodyState::complete) {
        require(whole.trailers == pieces.trailers);
    }
    return 0;
}
