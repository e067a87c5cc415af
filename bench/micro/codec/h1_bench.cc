// HTTP/1.1: the heads of a plain request, of a browser's, and of an answer.
#include "bench/micro/allocations.h"
#include "daemon/codec/h1/head.h"

#include <benchmark/benchmark.h>
#include <string_view>

namespace orlop::bench {
namespace {

constexpr std::string_view small_request =
    "GET /orders/7 HTTP/1.1\r\nHost: server:8080\r\nUser-Agent: orlop-bench\r\nAccept: */*\r\n\r\n";
constexpr std::string_view browser_request =
    "GET /api/v1/catalogue/items?page=3&size=20 HTTP/1.1\r\nHost: shop.example.com\r\n"
    "Connection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    "\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://shop.example.com/catalogue\r\nX-Forwarded-For: 192.0.2.17\r\n"
    "X-Forwarded-Proto: https\r\nX-Request-Id: 3b241101-e2bb-4255-8caf-4136c566a962\r\n"
    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";
constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";

void parse_request(benchmark::State& state, std::string_view text) {
    h1::RequestHead head;
    CountedAllocations counted(state);
    for (auto _ : state) {
        h1::HeadScan scan;
        auto parsed = h1::parse_request_head(text, head, scan);
        benchmark::DoNotOptimize(head);
        if (parsed.state != h1::ParseState::complete) {
            state.SkipWithError("the head was refused");
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK_CAPTURE(parse_request, small, small_request);
BENCHMARK_CAPTURE(parse_request, browser, browser_request);

void parse_response(benchmark::State& state) {
    h1::ResponseHead head;
    CountedAllocations counted(state);
    for (auto _ : state) {
        h1::HeadScan scan;
        auto parsed = h1::parse_response_head(answer, {}, head, scan);
        benchmark::DoNotOptimize(head);
        if (parsed.state != h1::ParseState::complete) {
            state.SkipWithError("the head was refused");
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * answer.size()));
}
BENCHMARK(parse_response);

}  // namespace
}  // namespace orlop::bench
