#include "daemon/telemetry/trace_context.h"

#include "daemon/telemetry/text_writer.h"

#include <charconv>

namespace orlop::telemetry {
namespace {

bool is_lower_hex(std::string_view text) {
    for (char c : text) {
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return !text.empty();
}

std::uint64_t from_hex(std::string_view text) {
    std::uint64_t value = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return value;
}

// 16 digits (B3 only) or 32.
bool read_trace_id(std::string_view text, TraceContext& out) {
    if (!is_lower_hex(text) || (text.size() != 16 && text.size() != 32)) {
        return false;
    }
    out.trace_high = text.size() == 32 ? from_hex(text.substr(0, 16)) : 0;
    out.trace_low = from_hex(text.substr(text.size() - 16));
    return out.has_trace();
}

bool read_span_id(std::string_view text, TraceContext& out) {
    if (text.size() != 16 || !is_lower_hex(text)) {
        return false;
    }
    out.span = from_hex(text);
    return out.span != 0;
}

// version-traceid-spanid-flags; later versions may append fields (W3C Trace Context §3.2.2).
bool read_w3c(std::string_view text, TraceContext& out) {
    bool shaped = text.size() >= 55 && text[2] == '-' && text[35] == '-' && text[52] == '-' &&
                  is_lower_hex(text.substr(0, 2)) && is_lower_hex(text.substr(53, 2));
    bool known = shaped && !text.starts_with("ff") &&
                 (text.size() == 55 || (!text.starts_with("00") && text[55] == '-'));
    if (!known || !read_trace_id(text.substr(3, 32), out) ||
        !read_span_id(text.substr(36, 16), out)) {
        return false;
    }
    out.sampled = (from_hex(text.substr(53, 2)) & 1) != 0;
    return true;
}

std::optional<bool> read_b3_decision(std::string_view text) {
    if (text == "1" || text == "d" || text == "true") {
        return true;
    }
    if (text == "0" || text == "false") {
        return false;
    }
    return std::nullopt;
}

// traceid-spanid[-decision[-parent]], or a decision alone.
bool read_b3_single(std::string_view text, TraceContext& out) {
    std::size_t first = text.find('-');
    if (first == std::string_view::npos) {
        out.sampled = read_b3_decision(text);
        return out.sampled.has_value();
    }
    std::string_view rest = text.substr(first + 1);
    std::string_view span = rest.substr(0, rest.find('-'));
    if (!read_trace_id(text.substr(0, first), out) || !read_span_id(span, out)) {
        return false;
    }
    if (span.size() < rest.size()) {
        std::string_view more = rest.substr(span.size() + 1);
        out.sampled = read_b3_decision(more.substr(0, more.find('-')));
    }
    return true;
}

bool read_b3_multi(const TraceHeaders& headers, TraceContext& out) {
    out.sampled =
        headers.b3_flags == "1" ? std::optional(true) : read_b3_decision(headers.b3_sampled);
    if (headers.b3_trace_id.empty()) {
        return out.sampled.has_value();
    }
    return read_trace_id(headers.b3_trace_id, out) && read_span_id(headers.b3_span_id, out);
}

void put_hex(TextWriter& writer, std::uint64_t value) {
    static constexpr char digits[] = "0123456789abcdef";
    char text[16];
    for (int i = 0; i < 16; ++i) {
        text[i] = digits[(value >> (60 - 4 * i)) & 0xf];
    }
    writer.put({text, 16});
}

}  // namespace

void TraceContext::begin_span(std::uint64_t span_id, std::uint64_t high, std::uint64_t low) {
    if (!has_trace()) {
        trace_high = high;
        trace_low = low | 1;  // never all zero
        span = 0;
    }
    parent_span = span;
    span = span_id | 1;
}

TraceContext read_trace_context(const TraceHeaders& headers) {
    TraceContext found;
    auto consider = [&](std::uint8_t format, bool given, auto read) {
        TraceContext one;
        if (!given || !read(one)) {
            return;
        }
        std::uint8_t formats = found.formats | format;
        if (found.formats == 0) {
            found = one;
        }
        found.formats = formats;
    };
    consider(TraceContext::w3c, !headers.traceparent.empty(), [&](TraceContext& out) {
        return read_w3c(headers.traceparent, out);
    });
    consider(TraceContext::b3_single, !headers.b3.empty(), [&](TraceContext& out) {
        return read_b3_single(headers.b3, out);
    });
    bool multi =
        !headers.b3_trace_id.empty() || !headers.b3_sampled.empty() || !headers.b3_flags.empty();
    consider(TraceContext::b3_multi, multi, [&](TraceContext& out) {
        return read_b3_multi(headers, out);
    });
    return found;
}

std::string_view format_span_id(std::uint64_t span, HexText& room) {
    TextWriter writer(room);
    put_hex(writer, span);
    return writer.view();
}

std::string_view format_trace_id(const TraceContext& context, HexText& room) {
    TextWriter writer(room);
    put_hex(writer, context.trace_high);
    put_hex(writer, context.trace_low);
    return writer.view();
}

std::string_view format_traceparent(const TraceContext& context, TraceText& room) {
    TextWriter writer(room);
    writer.put("00-");
    put_hex(writer, context.trace_high);
    put_hex(writer, context.trace_low);
    writer.put("-");
    put_hex(writer, context.span);
    writer.put(context.sampled.value_or(false) ? "-01" : "-00");
    return writer.view();
}

std::string_view format_b3(const TraceContext& context, TraceText& room) {
    TextWriter writer(room);
    put_hex(writer, context.trace_high);
    put_hex(writer, context.trace_low);
    writer.put("-");
    put_hex(writer, context.span);
    writer.put(context.sampled.value_or(false) ? "-1" : "-0");
    return writer.view();
}

}  // namespace orlop::telemetry
