#include "daemon/codec/h1/body.h"

#include "daemon/base/limits.h"
#include "daemon/codec/grammar.h"
#include "daemon/codec/h1/fields.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace orlop::h1 {
namespace {

constexpr std::size_t size_digits_max = 15;  // 60 bits: sums of sizes cannot overflow
// Framing is charged against payload: one-byte chunks with long extensions cost the receiver far
// more than the sender. Each chunk may carry this much, and a message this much more in all.
constexpr std::int64_t overhead_per_chunk = 16;
constexpr std::int64_t overhead_bytes_max = 16 * 1024;

bool starts_with_name(std::string_view name, std::string_view prefix) {
    return name.size() >= prefix.size() && same_name(name.substr(0, prefix.size()), prefix);
}

}  // namespace

bool allowed_in_trailers(std::string_view name) {
    const Known known = known_name(name);
    if (known == Known::grpc_status || known == Known::grpc_message) {
        return true;
    }
    if (known != Known::none) {
        return false;
    }
    static constexpr std::array<std::string_view, 6> prefixes = {
        "x-forwarded-", "x-envoy-", "x-orlop-", "if-", "proxy-", "access-control-"};
    static constexpr std::array<std::string_view, 14> names = {"www-authenticate",
                                                               "authentication-info",
                                                               "cache-control",
                                                               "max-forwards",
                                                               "pragma",
                                                               "range",
                                                               "age",
                                                               "expires",
                                                               "vary",
                                                               "content-location",
                                                               "content-language",
                                                               "x-real-ip",
                                                               "x-http-method-override",
                                                               "strict-transport-security"};
    const auto prefixed = [name](std::string_view p) { return starts_with_name(name, p); };
    const auto equal = [name](std::string_view n) { return same_name(name, n); };
    return std::ranges::none_of(prefixes, prefixed) && std::ranges::none_of(names, equal);
}

BodyDecoder::BodyDecoder(Framing framing, std::uint64_t length) {
    switch (framing) {
    case Framing::none:
        break;
    case Framing::length:
        remaining_ = length;
        phase_ = length == 0 ? Phase::done : Phase::length;
        break;
    case Framing::chunked:
        phase_ = Phase::chunk_line;
        break;
    case Framing::until_close:
        phase_ = Phase::until_close;
        break;
    }
}

BodyStep BodyDecoder::refuse(Reason reason) {
    phase_ = Phase::broken;
    reason_ = reason;
    return {BodyState::refused, reason, 0, {}};
}

BodyStep BodyDecoder::next(std::string_view input) {
    switch (phase_) {
    case Phase::done:
        return {BodyState::complete, Reason::none, 0, {}};
    case Phase::broken:
        return refuse(reason_);
    case Phase::until_close:
        if (input.empty()) {
            return {};
        }
        payload_bytes_ += input.size();
        return {BodyState::payload, Reason::none, input.size(), input};
    case Phase::length:
        return take_payload(input, 0);
    default:
        return chunked_step(input);
    }
}

BodyStep BodyDecoder::take_payload(std::string_view input, std::size_t framing_bytes) {
    assert(remaining_ > 0);
    const std::string_view after = input.substr(framing_bytes);
    if (after.empty()) {
        return {BodyState::need_more, Reason::none, framing_bytes, {}};
    }
    const std::size_t taken =
        static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, after.size()));
    remaining_ -= taken;
    payload_bytes_ += taken;
    if (remaining_ == 0) {
        phase_ = phase_ == Phase::length ? Phase::done : Phase::chunk_end;
    }
    return {BodyState::payload, Reason::none, framing_bytes + taken, after.substr(0, taken)};
}

BodyStep BodyDecoder::chunked_step(std::string_view input) {
    std::size_t used = 0;
    // At most chunk end, chunk line and trailers in turn: every turn advances the phase or leaves.
    for (;;) {
        const std::string_view rest = input.substr(used);
        std::size_t taken = 0;
        switch (phase_) {
        case Phase::chunk_data:
            return take_payload(input, used);
        case Phase::chunk_end:
            taken = chunk_end(rest);
            break;
        case Phase::chunk_line:
            taken = chunk_line(rest);
            break;
        case Phase::trailers:
            taken = trailer_section(rest);
            break;
        default:
            return {BodyState::complete, Reason::none, used, {}};
        }
        if (reason_ != Reason::none) {
            return refuse(reason_);
        }
        if (taken == 0) {
            return {BodyState::need_more, Reason::none, used, {}};
        }
        used += taken;
    }
}

std::size_t BodyDecoder::chunk_end(std::string_view input) {
    if (!h1::chunk_crlf.starts_with(input.substr(0, 2))) {
        reason_ = Reason::missing_chunk_end;
        return 0;
    }
    if (input.size() < 2) {
        return 0;
    }
    phase_ = Phase::chunk_line;
    return 2;
}

std::size_t BodyDecoder::chunk_line(std::string_view input) {
    const std::string_view window = input.substr(0, limits::http_chunk_line_bytes_max);
    std::size_t digits = 0;
    std::uint64_t size = 0;
    while (digits < window.size() && grammar::is(window[digits], grammar::hex_bit)) {
        size = size * 16 + static_cast<std::uint64_t>(grammar::hex_value(window[digits]));
        if (++digits > size_digits_max) {
            reason_ = Reason::bad_chunk_size;
            return 0;
        }
    }
    if (digits < window.size() &&
        (digits == 0 || (window[digits] != '\r' && window[digits] != ';'))) {
        reason_ = Reason::bad_chunk_size;
        return 0;
    }
    const std::size_t line_feed = window.find('\n', digits);
    if (line_feed == std::string_view::npos) {
        const bool full = window.size() == limits::http_chunk_line_bytes_max;
        reason_ = full ? Reason::chunk_line_too_long : Reason::none;
        return 0;
    }
    if (window[line_feed - 1] != '\r') {
        reason_ = Reason::bare_line_feed;
        return 0;
    }
    // The extension means nothing to us and goes no further, but its bytes must be text.
    if (!grammar::valid_value(window.substr(digits, line_feed - 1 - digits))) {
        reason_ = Reason::bad_chunk_size;
        return 0;
    }
    overhead_ += static_cast<std::int64_t>(line_feed) + 3;
    const std::uint64_t counted = std::min<std::uint64_t>(size, overhead_bytes_max);
    overhead_ -= overhead_per_chunk + static_cast<std::int64_t>(counted);
    overhead_ = std::max<std::int64_t>(overhead_, 0);
    if (overhead_ > overhead_bytes_max) {
        reason_ = Reason::chunk_overhead;
        return 0;
    }
    remaining_ = size;
    phase_ = size == 0 ? Phase::trailers : Phase::chunk_data;
    return line_feed + 1;
}

Reason BodyDecoder::add_trailer(std::string_view line) {
    if (trailer_count_ == trailers_.size()) {
        return Reason::trailers_too_large;
    }
    Field& field = trailers_[trailer_count_];
    const Reason reason = parse_field_line(line, field);
    if (reason != Reason::none) {
        return reason;
    }
    if (!allowed_in_trailers(field.name)) {
        return Reason::forbidden_trailer;
    }
    ++trailer_count_;
    return Reason::none;
}

std::size_t BodyDecoder::trailer_section(std::string_view input) {
    const std::string_view fresh = input.substr(std::min(trailer_searched_, input.size()));
    const bool line_came = fresh.find('\n') != std::string_view::npos;
    trailer_searched_ = input.size();
    trailer_count_ = line_came ? 0 : trailer_count_;
    LineCursor cursor{input.substr(0, limits::http_trailer_bytes_max), 0};
    // Bounded: each turn takes a line or leaves.
    while (line_came) {
        std::string_view line;
        const LineCursor::Got got = cursor.next(line, reason_);
        if (got == LineCursor::Got::refused) {
            return 0;
        }
        if (got == LineCursor::Got::incomplete) {
            break;
        }
        if (line.empty()) {
            phase_ = Phase::done;
            return cursor.at;
        }
        reason_ = add_trailer(line);
        if (reason_ != Reason::none) {
            return 0;
        }
    }
    if (input.size() >= limits::http_trailer_bytes_max) {
        reason_ = Reason::trailers_too_large;
    }
    return 0;
}

BodyStep BodyDecoder::at_end_of_stream() {
    if (phase_ == Phase::until_close) {
        phase_ = Phase::done;
    }
    if (phase_ == Phase::done) {
        return {BodyState::complete, Reason::none, 0, {}};
    }
    return refuse(phase_ == Phase::broken ? reason_ : Reason::truncated_body);
}

}  // namespace orlop::h1
