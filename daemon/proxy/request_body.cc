#include "daemon/proxy/request_body.h"

#include "daemon/base/limits.h"

namespace orlop::proxy {

RequestBody::State
RequestBody::begin(const h1::MessageHead& head, net::Stream& downstream, Keep keep) {
    framing_ = head.framing;
    length_ = head.content_length;
    bytes_ = 0;
    kept_.clear();
    view_ = {};
    view_bytes_ = pending_drop_ = 0;
    reason_ = h1::Reason::none;
    complete_ = false;
    replayable_ = true;
    decoder_ = h1::BodyDecoder(head);
    if (framing_ == h1::Framing::none || (framing_ == h1::Framing::length && length_ == 0)) {
        complete_ = true;
        return state_ = State::none;
    }
    if (framing_ == h1::Framing::length && downstream.input().size() >= length_) {
        view_ = downstream.input().substr(0, length_);
        view_bytes_ = length_;
        bytes_ = length_;
        complete_ = true;
        return state_ = State::whole;
    }
    replayable_ = keep == Keep::for_retry;
    return state_ = State::streaming;
}

std::string_view RequestBody::kept() const {
    return state_ == State::whole ? view_ : std::string_view(kept_.data(), kept_.size());
}

void RequestBody::keep_payload(std::string_view payload) {
    if (!replayable_) {
        return;
    }
    if (kept_.size() + payload.size() > limits::retry_body_bytes_max) {
        replayable_ = false;
        kept_ = {};
        return;
    }
    kept_.insert(kept_.end(), payload.begin(), payload.end());
}

std::string_view RequestBody::next_payload(net::Stream& downstream) {
    while (!complete_ && state_ == State::streaming) {
        h1::BodyStep step = decoder_.next(downstream.input());
        if (step.state == h1::BodyState::payload) {
            pending_drop_ = step.consumed;
            bytes_ += step.payload.size();
            keep_payload(step.payload);
            return step.payload;
        }
        if (step.state == h1::BodyState::refused) {
            reason_ = step.reason;
            state_ = State::refused;
            break;
        }
        if (step.state == h1::BodyState::complete) {
            // Trailers point into the input: they are taken by finish().
            view_bytes_ = step.consumed;
            complete_ = true;
            break;
        }
        downstream.consume(step.consumed);
        if (step.consumed == 0) {
            break;
        }
    }
    return {};
}

void RequestBody::drop_payload(net::Stream& downstream) {
    downstream.consume(pending_drop_);
    pending_drop_ = 0;
}

void RequestBody::finish(net::Stream& downstream) {
    downstream.consume(view_bytes_);
    view_bytes_ = 0;
    view_ = {};
    if (kept_.capacity() > 4 * limits::relay_buffer_bytes) {
        kept_ = {};
    }
}

}  // namespace orlop::proxy
