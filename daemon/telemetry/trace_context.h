// TraceContext: which trace a request belongs to, as its headers say (istio-semantics §15):
// W3C traceparent, B3 single and B3 multi.
//
// Pure values. What cannot be read is as if it were absent: a trace then starts here. A 64-bit B3
// trace id is kept in the lower half. `formats` remembers in which words the caller spoke, so that
// the same are sent on.
//
//     TraceContext context = read_trace_context({.traceparent = ..., .b3 = ...});
//     context.begin_span(random, random);             // our own span becomes the parent
//     send {"traceparent", format_traceparent(context, room)}
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace orlop::telemetry {

struct TraceHeaders {
    std::string_view traceparent{};
    std::string_view b3{};
    std::string_view b3_trace_id{};
    std::string_view b3_span_id{};
    std::string_view b3_sampled{};
    std::string_view b3_flags{};
};

struct TraceContext {
    static constexpr std::uint8_t w3c = 1;
    static constexpr std::uint8_t b3_single = 2;
    static constexpr std::uint8_t b3_multi = 4;

    std::uint64_t trace_high = 0;
    std::uint64_t trace_low = 0;
    std::uint64_t span = 0;         // of the sender; ours once begin_span() was called
    std::uint64_t parent_span = 0;  // 0: none
    std::optional<bool> sampled;    // nullopt: nobody has decided
    std::uint8_t formats = 0;

    bool has_trace() const { return (trace_high | trace_low) != 0; }
    // A span of ours, below the sender's; makes a trace when there is none.
    void begin_span(std::uint64_t span_id, std::uint64_t high, std::uint64_t low);
};

TraceContext read_trace_context(const TraceHeaders& headers);

using HexText = std::array<char, 32>;
std::string_view format_span_id(std::uint64_t span, HexText& room);
std::string_view format_trace_id(const TraceContext& context, HexText& room);
using TraceText = std::array<char, 80>;
std::string_view format_traceparent(const TraceContext& context, TraceText& room);
std::string_view format_b3(const TraceContext& context, TraceText& room);

}  // namespace orlop::telemetry
