#include "daemon/telemetry/span.h"

#include <gtest/gtest.h>

#include <thread>

namespace orlop::telemetry {
namespace {

const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string parent = "00f067aa0ba902b7";

std::string trace_of(const TraceContext& context) {
    HexText room;
    return std::string(format_trace_id(context, room));
}
std::string span_of(const TraceContext& context) {
    HexText room;
    return std::string(format_span_id(context.span, room));
}

TEST(TraceContext, reads_what_callers_send) {
    struct Row {
        TraceHeaders headers;
        std::string trace;
        std::string span;
        std::optional<bool> sampled;
        std::uint8_t formats;
    };
    const std::string w3c = "00-" + trace + "-" + parent + "-01";
    const std::string unsampled = "00-" + trace + "-" + parent + "-00";
    const std::string later = "01-" + trace + "-" + parent + "-01-more";
    const std::string b3 = trace + "-" + parent + "-1-05e3ac9a4f6e3b90";
    const std::string b3_short = parent + "-" + parent;
    const Row rows[] = {
        {{.traceparent = w3c}, trace, parent, true, TraceContext::w3c},
        {{.traceparent = unsampled}, trace, parent, false, TraceContext::w3c},
        {{.traceparent = later}, trace, parent, true, TraceContext::w3c},
        {{.b3 = b3}, trace, parent, true, TraceContext::b3_single},
        {{.b3 = b3_short},
         "0000000000000000" + parent,
         parent,
         std::nullopt,
         TraceContext::b3_single},
        {{.b3_trace_id = trace, .b3_span_id = parent, .b3_sampled = "0"},
         trace,
         parent,
         false,
         TraceContext::b3_multi},
        {{.b3_trace_id = trace, .b3_span_id = parent, .b3_flags = "1"},
         trace,
         parent,
         true,
         TraceContext::b3_multi},
        {{.traceparent = w3c, .b3 = b3_short},
         trace,
         parent,
         true,
         TraceContext::w3c | TraceContext::b3_single},
    };
    for (const Row& row : rows) {
        TraceContext read = read_trace_context(row.headers);
        EXPECT_EQ(trace_of(read), row.trace);
        EXPECT_EQ(span_of(read), row.span);
        EXPECT_EQ(read.sampled, row.sampled);
        EXPECT_EQ(read.formats, row.formats);
    }
}

TEST(TraceContext, takes_a_decision_without_a_trace) {
    EXPECT_EQ(read_trace_context({.b3 = "0"}).sampled, false);
    EXPECT_EQ(read_trace_context({.b3_sampled = "1"}).sampled, true);
    EXPECT_FALSE(read_trace_context({.b3 = "0"}).has_trace());
}

TEST(TraceContext, ignores_what_cannot_be_read) {
    const std::string zero(32, '0');
    const std::string rows[] = {"",
                                "00",
                                "00-" + trace + "-" + parent,
                                "ff-" + trace + "-" + parent + "-01",
                                "00-" + zero + "-" + parent + "-01",
                                "00-" + trace + "-0000000000000000-01",
                                "00-" + std::string(32, 'G') + "-" + parent + "-01",
                                "00-" + trace + "-" + parent + "-01-more",
                                "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + parent + "-01"};
    for (const std::string& row : rows) {
        TraceContext read = read_trace_context({.traceparent = row});
        EXPECT_FALSE(read.has_trace()) << row;
        EXPECT_EQ(read.formats, 0) << row;
        EXPECT_FALSE(read_trace_context({.b3 = row}).has_trace()) << row;
    }
}

TEST(TraceContext, puts_our_span_between_the_callers_and_the_callees) {
    TraceContext context =
        read_trace_context({.traceparent = "00-" + trace + "-" + parent + "-01"});
    context.begin_span(0xabcde0, 1, 2);
    EXPECT_EQ(context.parent_span, 0x00f067aa0ba902b7u);
    TraceText room;
    EXPECT_EQ(format_traceparent(context, room), "00-" + trace + "-0000000000abcde1-01");
    EXPECT_EQ(format_b3(context, room), trace + "-0000000000abcde1-1");
    TraceContext fresh;
    fresh.begin_span(0, 0, 0);
    EXPECT_TRUE(fresh.has_trace());
    EXPECT_EQ(fresh.parent_span, 0u);
    EXPECT_NE(fresh.span, 0u);
}

SpanPtr a_span(const std::string& service) {
    RequestRecord record;
    record.method = "GET";
    record.authority = "shop";
    record.path = "/a\"b";
    record.status = 503;
    record.started_wall = WallTime(std::chrono::seconds(1'000));
    record.duration = std::chrono::milliseconds(5);
    TryRecord* one = record.open_try();
    one->endpoint = *SocketAddress::parse("10.0.0.1:80");
    one->status = 503;
    one->retry_reason = "5xx";
    one->duration = std::chrono::milliseconds(2);
    TraceContext context;
    context.trace_low = 0x11;
    context.span = 0x22;
    context.parent_span = 0x33;
    context.sampled = true;
    return make_span(
        record, context, Span::Kind::client, {.service = service, .operation = "shop:80/*"});
}

TEST(Span, is_written_as_otlp_json) {
    std::vector<SpanPtr> spans;
    spans.push_back(a_span("web.default"));
    std::string json = spans_as_otlp(spans);
    for (const char* part :
         {R"("key":"service.name","value":{"stringValue":"web.default"})",
          R"("traceId":"00000000000000000000000000000011","spanId":"0000000000000022",)"
          R"("parentSpanId":"0000000000000033","name":"shop:80/*","kind":3,)"
          R"("startTimeUnixNano":"1000000000000","endTimeUnixNano":"1000005000000")",
          R"({"key":"http.url","value":{"stringValue":"http://shop/a\"b"}})",
          R"({"timeUnixNano":"1000002000000","name":"try 1 at 10.0.0.1:80: 503, again for 5xx"})",
          R"("status":{"code":2})"}) {
        EXPECT_NE(json.find(part), std::string::npos) << part << "\n" << json;
    }
}

TEST(Span, is_written_as_zipkin_json) {
    std::vector<SpanPtr> spans;
    spans.push_back(a_span("web.default"));
    spans.push_back(a_span("other.default"));
    std::string json = spans_as_zipkin(spans);
    for (const char* part :
         {R"([{"traceId":"00000000000000000000000000000011","id":"0000000000000022",)"
          R"("parentId":"0000000000000033","kind":"CLIENT","name":"shop:80/*",)"
          R"("timestamp":1000000000,"duration":5000,)"
          R"("localEndpoint":{"serviceName":"web.default"})",
          R"("error":"true")",
          R"({"timestamp":1000002000,"value":"try 1 at 10.0.0.1:80: 503, again for 5xx"})",
          R"("localEndpoint":{"serviceName":"other.default"})"}) {
        EXPECT_NE(json.find(part), std::string::npos) << part << "\n" << json;
    }
}

TEST(SpanQueue, keeps_its_bound_and_counts_what_it_drops) {
    SpanQueue queue;
    for (std::size_t i = 0; i < limits::trace_queue_spans_max; ++i) {
        ASSERT_TRUE(queue.push(std::make_unique<Span>()));
    }
    EXPECT_FALSE(queue.push(std::make_unique<Span>()));
    EXPECT_EQ(queue.dropped(), 1u);
    EXPECT_EQ(queue.take().size(), limits::trace_queue_spans_max);
    EXPECT_TRUE(queue.push(std::make_unique<Span>()));
}

TEST(SpanQueue, loses_nothing_between_many_cores_and_one_reader) {
    SpanQueue queue;
    std::atomic<int> live{4};
    std::vector<std::thread> cores;
    for (int core = 0; core < 4; ++core) {
        cores.emplace_back([&queue, &live, core] {
            for (int i = 0; i < 1000; ++i) {
                auto span = std::make_unique<Span>();
                span->start_ns = core * 10'000 + i;
                queue.push(std::move(span));
            }
            --live;
        });
    }
    std::vector<std::int64_t> last(4, -1);
    std::size_t taken = 0;
    for (bool more = true; more;) {
        more = live != 0;  // what was pushed before is seen by the take below
        for (const SpanPtr& span : queue.take()) {
            auto core = static_cast<std::size_t>(span->start_ns / 10'000);
            EXPECT_GT(span->start_ns, last[core]);  // in order of arrival
            last[core] = span->start_ns;
            ++taken;
        }
    }
    for (std::thread& core : cores) {
        core.join();
    }
    EXPECT_EQ(taken + queue.dropped(), 4000u);
}

}  // namespace
}  // namespace orlop::telemetry
