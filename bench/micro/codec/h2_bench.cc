// HTTP/2: one exchange of heads between a client's and a server's session, HPACK at both ends.
#include "bench/micro/allocations.h"
#include "daemon/codec/h2/session.h"

#include <array>
#include <benchmark/benchmark.h>
#include <memory>
#include <vector>

namespace orlop::bench {
namespace {

constexpr std::array<Field, 4> request_fields{{
    {"user-agent", "orlop-bench"},
    {"accept", "*/*"},
    {"x-request-id", "3b241101-e2bb-4255-8caf-4136c566a962"},
    {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
}};
constexpr std::array<Field, 3> response_fields{{
    {"server", "bench"},
    {"content-type", "text/plain"},
    {"content-length", "0"},
}};

struct End : h2::Handler {
    std::vector<h2::StreamId> requests;
    std::uint64_t answers = 0;

    void on_request(h2::StreamId stream, const h2::RequestEvent& /*request*/) override {
        requests.push_back(stream);
    }
    void on_response(h2::StreamId /*stream*/, const h2::ResponseEvent& /*response*/) override {
        ++answers;
    }
    void on_data(h2::StreamId /*stream*/, std::span<const std::uint8_t> /*bytes*/) override {}
    void on_stream_end(h2::StreamId /*stream*/) override {}
    void on_closed(h2::StreamId /*stream*/) override {}
    void on_reset(h2::StreamId /*stream*/, h2::ErrorCode /*code*/) override {}
    void on_writable(h2::StreamId /*stream*/) override {}
};

bool move_bytes(h2::Session& from, h2::Session& to, Instant now) {
    auto bytes = from.output();
    bool fine = to.feed(bytes, now).has_value();
    from.drop_output(bytes.size());
    return fine;
}

void exchange_heads(benchmark::State& state) {
    End caller;
    End callee;
    auto client = h2::Session::create(h2::Role::client, caller, {}).value();
    auto server = h2::Session::create(h2::Role::server, callee, {}).value();
    Instant now{};
    CountedAllocations counted(state);
    for (auto _ : state) {
        now += std::chrono::microseconds(100);
        auto opened = client->open_request_stream(
            {"GET", "http", "server:8080", "/orders/7"}, request_fields, h2::StreamEnd::ended);
        bool fine = opened && move_bytes(*client, *server, now);
        for (auto stream : callee.requests) {
            fine = fine &&
                   server->respond(stream, 200, response_fields, h2::StreamEnd::ended).has_value();
        }
        callee.requests.clear();
        if (!fine || !move_bytes(*server, *client, now)) {
            state.SkipWithError("the sessions refused each other");
            break;
        }
    }
    state.counters["answers"] =
        benchmark::Counter(static_cast<double>(caller.answers), benchmark::Counter::kAvgIterations);
}
BENCHMARK(exchange_heads);

}  // namespace
}  // namespace orlop::bench
