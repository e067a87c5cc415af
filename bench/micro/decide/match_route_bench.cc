// Route matching: one host among few and many, one route among a thousand of a host.
#include "bench/micro/allocations.h"
#include "daemon/control/compile.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"
#include "daemon/decide/match_route.h"

#include <fmt/core.h>

#include <benchmark/benchmark.h>

namespace orlop::bench {
namespace {

model::SnapshotPtr compile_text(const std::string& text) {
    control::ObjectStore store;
    store.replace_source("a.yaml", control::decode_text(text, {.file = "a.yaml"}), 1);
    return control::compile(store, {.node = "n1", .generation = 1}).snapshot;
}

std::string service(std::size_t number) {
    return fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: s{0}}}\nspec:\n"
                       "  clusterIP: 10.64.{1}.{2}\n  selector: {{app: s{0}}}\n"
                       "  ports: [{{name: http, port: 80}}]\n---\n",
                       number,
                       number / 256,
                       number % 256);
}

void match_one_host_of(benchmark::State& state) {
    std::string text;
    auto hosts = static_cast<std::size_t>(state.range(0));
    for (std::size_t i = 0; i < hosts; ++i) {
        text += service(i);
    }
    model::SnapshotPtr snapshot = compile_text(text);
    std::string authority = fmt::format("s{}.default:80", hosts / 2);
    decide::RequestView request{.method = "GET", .path = "/orders/7", .port = 80};
    CountedAllocations counted(state);
    for (auto _ : state) {
        const model::VirtualHost* host = snapshot->find_virtual_host("default", authority, 80);
        benchmark::DoNotOptimize(decide::match_route(*host, request, nullptr));
    }
}
BENCHMARK(match_one_host_of)->Arg(10)->Arg(10'000);

std::string thousand_routes(std::string_view kind) {
    std::string text = service(0) + "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                                    "metadata: {name: s0}\nspec:\n  hosts: [s0]\n  http:\n";
    for (int i = 0; i < 1000; ++i) {
        text += fmt::format("  - match: [{{uri: {{{0}: /api/v1/resource/{1}/items}}}}]\n"
                            "    route: [{{destination: {{host: s0}}}}]\n",
                            kind,
                            i);
    }
    return text;
}

void match_route_of_1000(benchmark::State& state, const char* kind, const char* path) {
    model::SnapshotPtr snapshot = compile_text(thousand_routes(kind));
    const model::VirtualHost* host = snapshot->find_virtual_host("default", "s0", 80);
    decide::RequestView request{.method = "GET", .path = path, .port = 80};
    CountedAllocations counted(state);
    for (auto _ : state) {
        benchmark::DoNotOptimize(decide::match_route(*host, request, nullptr));
    }
    state.counters["found"] = decide::match_route(*host, request, nullptr) != nullptr;
}
BENCHMARK_CAPTURE(match_route_of_1000, exact_first, "exact", "/api/v1/resource/0/items");
BENCHMARK_CAPTURE(match_route_of_1000, exact_last, "exact", "/api/v1/resource/999/items");
BENCHMARK_CAPTURE(match_route_of_1000, exact_none, "exact", "/api/v1/resource/1000/items");
BENCHMARK_CAPTURE(match_route_of_1000, prefix_first, "prefix", "/api/v1/resource/0/items/a");
BENCHMARK_CAPTURE(match_route_of_1000, prefix_last, "prefix", "/api/v1/resource/999/items/a");
BENCHMARK_CAPTURE(match_route_of_1000, prefix_none, "prefix", "/api/v1/resource/1000/a");

}  // namespace
}  // namespace orlop::bench
