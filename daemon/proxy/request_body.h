// RequestBody: the downstream's body, kept as long as a retry may want it again.
//
// A body that has arrived whole with its head is a view into the downstream's input (length) or
// gathered once (chunked). Otherwise it streams: payload is kept for replay up to
// limits::retry_body_bytes_max; beyond that retries are abandoned.
#pragma once

#include "daemon/codec/h1/body.h"
#include "daemon/net/stream.h"

#include <string_view>
#include <vector>

namespace orlop::proxy {

class RequestBody {
public:
    enum class State : unsigned char { none, whole, streaming, refused };

    // `keep` says whether a retry is possible at all.
    enum class Keep : unsigned char { for_retry, no };
    State begin(const h1::MessageHead& head, net::Stream& downstream, Keep keep);

    State state() const { return state_; }
    h1::Framing framing() const { return framing_; }
    std::uint64_t length() const { return length_; }
    bool complete() const { return complete_; }
    bool replayable() const { return replayable_; }
    h1::Reason reason() const { return reason_; }
    std::uint64_t bytes() const { return bytes_; }
    // What has arrived so far and can be sent (again): everything when whole().
    std::string_view kept() const;

    // Streaming: the next payload already in the input, or empty when more must be read first.
    // The bytes stay in the input until drop_payload().
    std::string_view next_payload(net::Stream& downstream);
    void drop_payload(net::Stream& downstream);
    std::span<const Field> trailers() const { return decoder_.trailers(); }

    // Takes the body of a whole request out of the downstream's input, at the end.
    void finish(net::Stream& downstream);

private:
    void keep_payload(std::string_view payload);

    State state_ = State::none;
    h1::Framing framing_ = h1::Framing::none;
    std::uint64_t length_ = 0;
    std::uint64_t bytes_ = 0;
    h1::BodyDecoder decoder_;
    std::vector<char> kept_;
    std::string_view view_;
    std::size_t view_bytes_ = 0;    // of the downstream's input, taken by finish()
    std::size_t pending_drop_ = 0;  // of the downstream's input, taken by drop_payload()
    bool complete_ = false;
    bool replayable_ = true;
    h1::Reason reason_ = h1::Reason::none;
};

}  // namespace orlop::proxy
