// HTTP/1.1 message bodies, decoded in place.
//
// A BodyDecoder knows the framing of one message. next() is given the bytes that follow what it
// last consumed, and answers with at most one span of payload inside them; chunk sizes, extensions
// and trailers are swallowed. It takes exactly the bytes of this message, so pipelined bytes stay.
// need_more with bytes left over means: keep them, append what arrives, call again; a line or
// trailer section never needs more than limits::http_trailer_bytes_max in one piece. No allocation.
//
//     BodyDecoder body(head);
//     for (;;) {
//         BodyStep step = body.next(input);
//         if (step.state == BodyState::payload) { relay step.payload; }
//         input.remove_prefix(step.consumed);
//         if (step.state == BodyState::complete) { forward body.trailers(); break; }
//         if (step.state == BodyState::refused) { close both sides; break; }
//         if (step.state == BodyState::need_more) { read; at end of stream see at_end_of_stream();
//         }
//     }
#pragma once

#include "daemon/codec/field.h"
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h1/reason.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace orlop::h1 {

inline constexpr std::size_t trailers_max = 32;
inline constexpr std::string_view chunk_crlf = "\r\n";

enum class BodyState : std::uint8_t { need_more, payload, complete, refused };

struct BodyStep {
    BodyState state = BodyState::need_more;
    Reason reason = Reason::none;
    std::size_t consumed = 0;  // bytes to drop from the front of the input, payload included
    std::string_view payload;  // inside the input; not empty when state is payload
};

// RFC 9110 section 6.5.1: nothing that frames, routes, authenticates, modifies the request or says
// how to process the content may come behind it.
bool allowed_in_trailers(std::string_view name);

class BodyDecoder {
public:
    BodyDecoder() = default;  // no body: complete at once
    explicit BodyDecoder(const MessageHead& head)
        : BodyDecoder(head.framing, head.content_length) {}
    BodyDecoder(Framing framing, std::uint64_t length);

    BodyStep next(std::string_view input);

    bool complete() const { return phase_ == Phase::done; }
    // The peer has closed: complete for until_close, truncated_body otherwise.
    BodyStep at_end_of_stream();
    // Views into the input given to the call that answered complete.
    std::span<const Field> trailers() const { return {trailers_.data(), trailer_count_}; }
    std::uint64_t payload_bytes() const { return payload_bytes_; }
    // Bytes of payload still announced (length framing, or the current chunk).
    std::uint64_t remaining() const { return remaining_; }

private:
    enum class Phase : std::uint8_t {
        done,
        length,
        until_close,
        chunk_line,
        chunk_data,
        chunk_end,
        trailers,
        broken
    };
    BodyStep take_payload(std::string_view input, std::size_t framing_bytes);
    BodyStep chunked_step(std::string_view input);
    // The next three return the bytes taken; 0 with reason_ none: more are needed.
    std::size_t chunk_line(std::string_view input);
    std::size_t chunk_end(std::string_view input);
    std::size_t trailer_section(std::string_view input);
    Reason add_trailer(std::string_view line);
    BodyStep refuse(Reason reason);

    Phase phase_ = Phase::done;
    Reason reason_ = Reason::none;
    std::uint64_t remaining_ = 0;
    std::uint64_t payload_bytes_ = 0;
    std::int64_t overhead_ = 0;  // framing bytes beyond what the payload justifies
    std::size_t trailer_count_ = 0;
    std::size_t trailer_searched_ = 0;  // input bytes known to lack a further line end
    std::array<Field, trailers_max> trailers_{};
};

}  // namespace orlop::h1
