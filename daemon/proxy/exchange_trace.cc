// The exchange's place in a trace (istio-semantics §15): read, hand on, and report. Only when
// MeshConfig names a collector; otherwise trace headers pass as they came.
#include "daemon/decide/match_route.h"
#include "daemon/proxy/exchange.h"
#include "daemon/telemetry/span.h"

#include <fmt/core.h>

namespace orlop::proxy {
namespace {

using model::TracingConfig;
using telemetry::TraceContext;
using Kind = h1::FieldEdit::Kind;

std::uint8_t formats_of(TracingConfig::Propagation propagation) {
    switch (propagation) {
    case TracingConfig::Propagation::b3:
        return TraceContext::b3_single;
    case TracingConfig::Propagation::b3_multi:
        return TraceContext::b3_multi;
    default:
        return TraceContext::w3c;
    }
}

std::string label_or(const model::Workload& workload, const char* name, std::string_view other) {
    auto found = workload.labels.find(name);
    return found == workload.labels.end() ? std::string(other) : found->second;
}

}  // namespace

void Exchange::begin_trace() {
    const TracingConfig& config = pinned_->snapshot->mesh().tracing;
    if (config.exporter == TracingConfig::Exporter::none || core_.spans() == nullptr) {
        return;
    }
    auto value = [&](std::string_view name) {
        const Field* field = request_.fields.find(name);
        return field == nullptr ? std::string_view() : field->value;
    };
    TraceContext& trace = trace_.emplace();
    trace = telemetry::read_trace_context({request_.fields.value(Known::traceparent),
                                           request_.fields.value(Known::b3),
                                           value("x-b3-traceid"),
                                           value("x-b3-spanid"),
                                           value("x-b3-sampled"),
                                           value("x-b3-flags")});
    if (!trace.sampled) {
        trace.sampled = decide::chance(config.sampling_percent, core_.random().next());
    }
    if (trace.formats == 0) {
        trace.formats = formats_of(config.propagation);
    }
    trace_continues_ = trace.has_trace();
    auto& random = core_.random();
    trace.begin_span(random.next(), random.next(), random.next());
    if (*trace.sampled) {
        telemetry::HexText room;
        note_action("trace ", telemetry::format_trace_id(trace, room));
    }
}

void Exchange::add_trace_edits(Copy copy) {
    if (!trace_) {
        return;
    }
    TraceContext trace = *trace_;
    if (copy == Copy::mirror) {
        trace.sampled = false;
    }
    telemetry::TraceText text;
    auto set = [&](std::string_view name, std::string_view value) {
        edit(Kind::set, name, texts_.emplace_back(value));
    };
    if ((trace.formats & TraceContext::w3c) != 0) {
        set("traceparent", telemetry::format_traceparent(trace, text));
        auto state = request_.fields.value(Known::tracestate);
        if (!trace_continues_ || state.size() > limits::trace_state_bytes_max) {
            edit(Kind::remove, "tracestate", {});
        }
    }
    if ((trace.formats & TraceContext::b3_single) != 0) {
        set("b3", telemetry::format_b3(trace, text));
    }
    if ((trace.formats & TraceContext::b3_multi) != 0) {
        telemetry::HexText hex;
        set("x-b3-traceid", telemetry::format_trace_id(trace, hex));
        set("x-b3-spanid", telemetry::format_span_id(trace.span, hex));
        if (trace.parent_span != 0) {
            set("x-b3-parentspanid", telemetry::format_span_id(trace.parent_span, hex));
        }
        set("x-b3-sampled", *trace.sampled ? "1" : "0");
    }
}

void Exchange::finish_trace() {
    if (!trace_ || !trace_->sampled.value_or(false)) {
        return;
    }
    std::string app = label_or(*caller_, "app", caller_->workload_name);
    std::string service = app + "." + caller_->ns;
    std::string version = label_or(*caller_, "version", "latest");
    std::uint16_t port = arriving_ != nullptr ? record_.downstream_local->port : service_port_;
    std::string operation = service_ != nullptr ? fmt::format("{}:{}/*", service_->host, port)
                                                : fmt::format("{}/*", record_.authority);
    telemetry::SpanNames names{
        service, operation, caller_->name, pinned_->snapshot->mesh().cluster_id, app, version};
    auto kind =
        arriving_ != nullptr ? telemetry::Span::Kind::server : telemetry::Span::Kind::client;
    auto span = telemetry::make_span(record_, *trace_, kind, names);
    bool kept = core_.spans()->push(std::move(span));
    core_.metrics().add(kept ? telemetry::CoreCounter::trace_spans
                             : telemetry::CoreCounter::trace_spans_dropped);
}

}  // namespace orlop::proxy
