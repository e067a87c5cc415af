#include "daemon/telemetry/span.h"

#include <fmt/core.h>

#include <algorithm>

namespace orlop::telemetry {
namespace {

std::int64_t nanoseconds(WallTime time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::string try_text(const TryRecord& one, std::size_t number) {
    std::string text =
        fmt::format("try {} at {}: {}",
                    number,
                    one.endpoint.to_string(),
                    one.status != 0 ? std::to_string(one.status) : std::string(one.outcome));
    if (!one.retry_reason.empty()) {
        text += fmt::format(", again for {}", one.retry_reason);
    }
    return text;
}

void add_tries(const RequestRecord& record, Span& span) {
    std::int64_t at = span.start_ns;
    for (std::size_t i = 0; i < record.tries_listed(); ++i) {
        const TryRecord& one = record.try_list[i];
        at += one.back_off.count() + one.duration.count();
        span.events.push_back({std::min(at, span.end_ns), try_text(one, i + 1)});
    }
}

}  // namespace

SpanPtr make_span(const RequestRecord& record,
                  const TraceContext& context,
                  Span::Kind kind,
                  const SpanNames& names) {
    auto span = std::make_unique<Span>();
    span->kind = kind;
    span->context = context;
    span->service = names.service;
    span->name = names.operation;
    span->start_ns = nanoseconds(record.started_wall);
    span->end_ns = span->start_ns + record.duration.count();
    span->failed = record.status >= 500 || record.status == 0;
    auto add = [&](std::string_view name, std::string_view value) {
        if (!value.empty()) {
            span->attributes.emplace_back(name, value);
        }
    };
    add("component", "proxy");
    add("node_id", names.node);
    add("guid:x-request-id", record.request_id);
    add("http.method", record.method);
    add("http.url", fmt::format("http://{}{}", record.authority, record.path));
    add("http.protocol", record.protocol);
    add("http.status_code", std::to_string(record.status));
    add("user_agent", record.user_agent);
    add("request_size", std::to_string(record.bytes_received));
    add("response_size", std::to_string(record.bytes_sent));
    add("response_flags", record.flags.to_text().view());
    add("upstream_cluster", record.cluster);
    add("upstream_address", record.upstream_host ? record.upstream_host->to_string() : "");
    add("peer.address", record.downstream_remote ? record.downstream_remote->to_string() : "");
    add("istio.canonical_service", names.canonical_service);
    add("istio.canonical_revision", names.canonical_revision);
    add("istio.namespace", record.source_namespace);
    add("istio.cluster_id", names.cluster_id);
    add("error", span->failed ? "true" : "");
    add_tries(record, *span);
    return span;
}

SpanQueue::~SpanQueue() {
    take();
}

bool SpanQueue::push(SpanPtr span) {
    if (size_.fetch_add(1, std::memory_order_relaxed) >= limits::trace_queue_spans_max) {
        size_.fetch_sub(1, std::memory_order_relaxed);
        count_dropped(1);
        return false;
    }
    Span* fresh = span.release();
    fresh->next = newest_.load(std::memory_order_relaxed);
    while (!newest_.compare_exchange_weak(
        fresh->next, fresh, std::memory_order_release, std::memory_order_relaxed)) {
    }
    return true;
}

std::vector<SpanPtr> SpanQueue::take() {
    Span* one = newest_.exchange(nullptr, std::memory_order_acquire);
    std::vector<SpanPtr> spans;
    while (one != nullptr) {
        Span* next = one->next;
        spans.emplace_back(one);
        one = next;
    }
    size_.fetch_sub(spans.size(), std::memory_order_relaxed);
    std::ranges::reverse(spans);
    return spans;
}

}  // namespace orlop::telemetry
