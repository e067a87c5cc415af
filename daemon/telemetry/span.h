// Spans: what was sampled, on its way from the data cores to a collector.
//
// A data core makes a Span when a sampled exchange closes and pushes it: one compare-and-swap, no
// lock, no system call. The queue is bounded by limits::trace_queue_spans_max; what does not fit is
// dropped and counted. One consumer (the control thread) takes everything at once.
//
//     queue.push(make_span(record, context, names));       // any core
//     std::vector<SpanPtr> batch = queue.take();           // control thread
#pragma once

#include "daemon/base/limits.h"
#include "daemon/telemetry/request_record.h"
#include "daemon/telemetry/trace_context.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace orlop::telemetry {

struct SpanEvent {
    std::int64_t at_ns = 0;  // since 1970
    std::string text;
};

struct Span {
    enum class Kind : unsigned char { client, server };
    Kind kind = Kind::client;
    TraceContext context;
    std::string service;  // who reports: app.namespace
    std::string name;     // host:port/*
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    std::vector<std::pair<std::string, std::string>> attributes;
    std::vector<SpanEvent> events;  // one per try
    bool failed = false;
    Span* next = nullptr;  // of the queue
};
using SpanPtr = std::unique_ptr<Span>;

struct SpanNames {
    std::string_view service{};
    std::string_view operation{};
    std::string_view node{};
    std::string_view cluster_id{};
    std::string_view canonical_service{};
    std::string_view canonical_revision{};
};
SpanPtr make_span(const RequestRecord& record,
                  const TraceContext& context,
                  Span::Kind kind,
                  const SpanNames& names);

class SpanQueue {
public:
    SpanQueue() = default;
    ~SpanQueue();
    SpanQueue(const SpanQueue&) = delete;
    SpanQueue& operator=(const SpanQueue&) = delete;

    bool push(SpanPtr span);      // false: dropped, the queue is full
    std::vector<SpanPtr> take();  // in order of arrival
    std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
    void count_dropped(std::uint64_t spans) {
        dropped_.fetch_add(spans, std::memory_order_relaxed);
    }

private:
    std::atomic<Span*> newest_{nullptr};
    std::atomic<std::size_t> size_{0};
    std::atomic<std::uint64_t> dropped_{0};
};

// One request to a collector: OTLP/HTTP in its JSON encoding, or Zipkin v2.
std::string spans_as_otlp(const std::vector<SpanPtr>& spans);
std::string spans_as_zipkin(const std::vector<SpanPtr>& spans);

}  // namespace orlop::telemetry
