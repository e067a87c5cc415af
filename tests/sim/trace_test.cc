// Traces through the whole proxy: what goes on in the headers, and what reaches a collector.
#include "daemon/app/trace_exporter.h"
#include "tests/sim/world.h"

#include <fmt/core.h>

namespace orlop::sim {
namespace {

App::AnswerFor always(Reply reply) {
    return [reply](const Request&, std::size_t) { return reply; };
}

struct Traced {
    explicit Traced(const std::string& tracing) : exporter(world.loop, world.sockets, queue) {
        world.pod("shop-1", "10.0.0.1", "shop");
        world.apply("mesh",
                    "apiVersion: orlop.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\n"
                    "spec:\n  tracing: " +
                        tracing + "\n");
        model::TracingConfig config;
        world.node(0).core->share_spans(queue);
        exporter.configure(world.node(0).core->pinned()->snapshot->mesh().tracing);
    }
    void start() { world.scope().spawn(&app::TraceExporter::run, &exporter); }
    void finish() {
        exporter.stop();
        world.finish();
    }
    World world;
    std::shared_ptr<telemetry::SpanQueue> queue = std::make_shared<telemetry::SpanQueue>();
    app::TraceExporter exporter;
};

const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string parent = "00f067aa0ba902b7";
const std::string all_to_otlp =
    "{sampling: 100, exporter: otlp, address: '10.0.0.3:4318', path: /v1/traces}";

TEST(Trace, goes_on_in_the_words_of_the_caller) {
    struct Row {
        std::string fields;
        std::string name;
        std::string value;
    };
    const Row rows[] = {
        {"traceparent: 00-" + id + "-" + parent + "-01\r\ntracestate: a=b\r\n",
         "traceparent",
         "00-" + id + "-"},
        {"b3: " + id + "-" + parent + "-1\r\n", "b3", id + "-"},
        {"x-b3-traceid: " + id + "\r\nx-b3-spanid: " + parent + "\r\nx-b3-sampled: 1\r\n",
         "x-b3-traceid",
         id},
        {"", "traceparent", "00-"},
    };
    for (const Row& row : rows) {
        Traced traced(all_to_otlp);
        App app(traced.world, "10.0.0.1:9090", always({}));
        EXPECT_EQ(traced.world.get("/", row.fields).status, 200);
        ASSERT_EQ(app.requests.size(), 1u);
        EXPECT_TRUE(app.requests[0].field(row.name).starts_with(row.value)) << row.fields;
        EXPECT_EQ(app.requests[0].count(row.name), 1u);
        EXPECT_EQ(app.requests[0].head.find(parent) != std::string::npos,
                  row.name == "x-b3-traceid")
            << "only x-b3-parentspanid still names the caller's span";
        traced.finish();
    }
}

TEST(Trace, headers_pass_untouched_when_nobody_collects) {
    World world;
    world.pod("shop-1", "10.0.0.1", "shop");
    App app(world, "10.0.0.1:9090", always({}));
    const std::string sent = "00-" + id + "-" + parent + "-01";
    EXPECT_EQ(world.get("/", "traceparent: " + sent + "\r\n").status, 200);
    EXPECT_EQ(app.requests[0].field("traceparent"), sent);
    world.finish();
}

TEST(Trace, spans_reach_the_collector_with_a_try_as_an_event) {
    for (const auto& [exporter, path, mark] :
         {std::tuple("otlp", "/v1/traces", "\"spanId\":\""),
          std::tuple("zipkin", "/api/v2/spans", "\"id\":\"")}) {
        Traced traced(
            fmt::format("{{sampling: 100, exporter: {}, address: '10.0.0.3:4318'}}", exporter));
        App app(traced.world, "10.0.0.1:9090", [](const Request&, std::size_t number) {
            return Reply{response(number == 0 ? 503 : 200, "")};
        });
        App collector(traced.world, "10.0.0.3:4318", always({}));
        traced.world.apply("vs", R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http: [{route: [{destination: {host: shop}}], retries: {attempts: 1, retryOn: 5xx}}]
)");
        EXPECT_EQ(traced.world.get("/x", "traceparent: 00-" + id + "-" + parent + "-01\r\n").status,
                  200);
        std::string ours = app.requests[1].field("traceparent").substr(36, 16);
        EXPECT_EQ(app.requests[0].field("traceparent"), app.requests[1].field("traceparent"));
        traced.start();
        ASSERT_TRUE(traced.world.run_until([&] { return traced.exporter.exported() == 1; }));
        ASSERT_EQ(collector.requests.size(), 1u);
        EXPECT_EQ(collector.requests[0].line(), fmt::format("POST {} HTTP/1.1", path));
        const std::string& body = collector.requests[0].body;
        EXPECT_NE(body.find(id), std::string::npos) << body;
        EXPECT_NE(body.find(mark + ours), std::string::npos) << body;
        EXPECT_NE(body.find(parent), std::string::npos) << body;
        EXPECT_NE(body.find("try 1 at 10.0.0.1:9090: 503, again for 5xx"), std::string::npos);
        EXPECT_NE(body.find("shop.default.svc.cluster.local:80/*"), std::string::npos) << body;
        traced.finish();
    }
}

TEST(Trace, samples_its_share_and_obeys_the_callers_decision) {
    Traced traced("{sampling: 30, exporter: otlp, address: '10.0.0.3:4318'}");
    App app(traced.world, "10.0.0.1:9090", always({}));
    for (int i = 0; i < 300; ++i) {
        ASSERT_EQ(traced.world.get().status, 200);
    }
    // 300 coins of 30 %: 90 on average, sigma 7.9; the bounds are 5 sigma away.
    std::size_t sampled = traced.queue->take().size();
    EXPECT_GE(sampled, 50u);
    EXPECT_LE(sampled, 130u);
    for (int i = 0; i < 20; ++i) {
        traced.world.get("/", "b3: 0\r\n");
        traced.world.get("/", "traceparent: 00-" + id + "-" + parent + "-00\r\n");
    }
    EXPECT_EQ(traced.queue->take().size(), 0u);
    traced.finish();
}

TEST(Trace, a_collector_that_is_gone_or_hangs_costs_spans_and_nothing_else) {
    for (bool hangs : {false, true}) {
        Traced traced(all_to_otlp);
        App app(traced.world, "10.0.0.1:9090", always({}));
        std::optional<App> collector;
        if (hangs) {
            collector.emplace(
                traced.world, "10.0.0.3:4318", always({.delay = std::chrono::hours(1)}));
        }
        EXPECT_EQ(traced.world.get().status, 200);
        traced.start();
        ASSERT_TRUE(traced.world.run_until([&] { return traced.exporter.failed() == 1; }));
        EXPECT_EQ(traced.queue->dropped(), 1u);
        traced.finish();
    }
}

// At the end of a process the queue is emptied at once, not a flush interval later.
TEST(Trace, what_is_queued_at_the_end_still_reaches_the_collector) {
    Traced traced(all_to_otlp);
    App app(traced.world, "10.0.0.1:9090", always({}));
    App collector(traced.world, "10.0.0.3:4318", always({}));
    EXPECT_EQ(traced.world.get().status, 200);
    EXPECT_EQ(traced.world.get().status, 200);
    traced.start();
    traced.world.run_for(milliseconds(100));  // it waits for its turn
    bool done = false;
    Instant begun = traced.world.network.virtual_now();
    traced.exporter.finish(seconds(5), [&] { done = true; });
    ASSERT_TRUE(traced.world.run_until([&] { return done; }));
    EXPECT_LT(traced.world.network.virtual_now() - begun, seconds(1));
    EXPECT_EQ(traced.exporter.exported(), 2u);
    EXPECT_EQ(collector.requests.size(), 1u);
    EXPECT_EQ(traced.queue->dropped(), 0u);
    traced.finish();
}

TEST(Trace, the_end_waits_its_time_for_a_collector_and_counts_what_is_lost) {
    Traced traced(all_to_otlp);
    App app(traced.world, "10.0.0.1:9090", always({}));
    App collector(traced.world, "10.0.0.3:4318", always({.delay = std::chrono::hours(1)}));
    EXPECT_EQ(traced.world.get().status, 200);
    traced.start();
    ASSERT_TRUE(traced.world.run_until([&] { return collector.requests.size() == 1; }));
    Answer second;
    traced.world.scope().spawn(&ask_once,
                               &traced.world,
                               std::string("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"),
                               std::string("10.96.0.1:80"),
                               &second);
    ASSERT_TRUE(traced.world.run_until([&] { return second.status == 200; }));
    bool done = false;
    Instant begun = traced.world.network.virtual_now();
    traced.exporter.finish(seconds(2), [&] { done = true; });
    ASSERT_TRUE(traced.world.run_until([&] { return done; }));
    Duration waited = traced.world.network.virtual_now() - begun;
    EXPECT_GE(waited, seconds(2));
    EXPECT_LT(waited, seconds(3));
    EXPECT_EQ(traced.exporter.exported(), 0u);
    EXPECT_EQ(traced.queue->dropped(), 2u);
    traced.finish();
}

}  // namespace
}  // namespace orlop::sim
