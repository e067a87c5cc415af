// Spans in the words of collectors: OTLP/HTTP JSON (opentelemetry-proto, trace v1) and Zipkin v2.
#include "daemon/telemetry/span.h"
#include "daemon/telemetry/text_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace orlop::telemetry {
namespace {

std::string quoted(std::string_view text) {
    std::string room(6 * text.size() + 2, '\0');  // an escape is at most 6 bytes
    TextWriter writer(room);
    writer.put("\"");
    writer.put_escaped_json(text);
    writer.put("\"");
    return std::string(writer.view());
}

std::string hex_id(std::uint64_t id) {
    HexText room;
    return std::string(format_span_id(id, room));
}

std::string trace_id(const Span& span) {
    HexText room;
    return std::string(format_trace_id(span.context, room));
}

std::string otlp_attribute(std::string_view name, std::string_view value) {
    return fmt::format(R"({{"key":{},"value":{{"stringValue":{}}}}})", quoted(name), quoted(value));
}

template <class List, class Format> std::string joined(const List& list, const Format& format) {
    std::string out;
    for (const auto& one : list) {
        out += out.empty() ? "" : ",";
        out += format(one);
    }
    return out;
}

std::string otlp_span(const Span& span) {
    std::string parent;
    if (span.context.parent_span != 0) {
        parent = fmt::format(R"("parentSpanId":"{}",)", hex_id(span.context.parent_span));
    }
    auto attributes = joined(span.attributes, [](const auto& attribute) {
        return otlp_attribute(attribute.first, attribute.second);
    });
    auto events = joined(span.events, [](const SpanEvent& event) {
        return fmt::format(R"({{"timeUnixNano":"{}","name":{}}})", event.at_ns, quoted(event.text));
    });
    return fmt::format(R"({{"traceId":"{}","spanId":"{}",{}"name":{},"kind":{},)"
                       R"("startTimeUnixNano":"{}","endTimeUnixNano":"{}",)"
                       R"("attributes":[{}],"events":[{}],"status":{{"code":{}}}}})",
                       trace_id(span),
                       hex_id(span.context.span),
                       parent,
                       quoted(span.name),
                       span.kind == Span::Kind::client ? 3 : 2,
                       span.start_ns,
                       span.end_ns,
                       attributes,
                       events,
                       span.failed ? 2 : 0);
}

std::string zipkin_span(const Span& span) {
    std::string parent;
    if (span.context.parent_span != 0) {
        parent = fmt::format(R"("parentId":"{}",)", hex_id(span.context.parent_span));
    }
    auto tags = joined(span.attributes, [](const auto& tag) {
        return quoted(tag.first) + ":" + quoted(tag.second);
    });
    auto annotations = joined(span.events, [](const SpanEvent& event) {
        return fmt::format(
            R"({{"timestamp":{},"value":{}}})", event.at_ns / 1000, quoted(event.text));
    });
    return fmt::format(R"({{"traceId":"{}","id":"{}",{}"kind":"{}","name":{},)"
                       R"("timestamp":{},"duration":{},"localEndpoint":{{"serviceName":{}}},)"
                       R"("tags":{{{}}},"annotations":[{}]}})",
                       trace_id(span),
                       hex_id(span.context.span),
                       parent,
                       span.kind == Span::Kind::client ? "CLIENT" : "SERVER",
                       quoted(span.name),
                       span.start_ns / 1000,
                       std::max<std::int64_t>((span.end_ns - span.start_ns) / 1000, 1),
                       quoted(span.service),
                       tags,
                       annotations);
}

}  // namespace

std::string spans_as_otlp(const std::vector<SpanPtr>& spans) {
    std::map<std::string_view, std::string> by_service;
    for (const SpanPtr& span : spans) {
        std::string& list = by_service[span->service];
        list += list.empty() ? "" : ",";
        list += otlp_span(*span);
    }
    auto resources = joined(by_service, [](const auto& entry) {
        return fmt::format(R"({{"resource":{{"attributes":[{}]}},)"
                           R"("scopeSpans":[{{"scope":{{"name":"orlop"}},"spans":[{}]}}]}})",
                           otlp_attribute("service.name", entry.first),
                           entry.second);
    });
    return fmt::format(R"({{"resourceSpans":[{}]}})", resources);
}

std::string spans_as_zipkin(const std::vector<SpanPtr>& spans) {
    return "[" + joined(spans, [](const SpanPtr& span) { return zipkin_span(*span); }) + "]";
}

}  // namespace orlop::telemetry
