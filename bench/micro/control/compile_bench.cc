// 10,000 services with 100,000 endpoints: the whole compiled, and one endpoint changed.
#include "bench/micro/big_mesh.h"
#include "daemon/control/compile.h"

#include <benchmark/benchmark.h>
#include <malloc.h>

namespace orlop::bench {
namespace {

control::ObjectStore& store() {
    static control::ObjectStore filled = [] {
        control::ObjectStore store;
        BigMesh{}.fill(store);
        return store;
    }();
    return filled;
}

void compile_everything(benchmark::State& state) {
    control::ObjectStore& objects = store();
    std::size_t before = mallinfo2().uordblks;
    model::SnapshotPtr held;
    for (auto _ : state) {
        state.PauseTiming();
        held = nullptr;
        state.ResumeTiming();
        held = control::compile(objects, {.node = "n1", .generation = 1}).snapshot;
    }
    state.counters["snapshot_MB"] =
        static_cast<double>(mallinfo2().uordblks - before) / (1024.0 * 1024.0);
}
BENCHMARK(compile_everything)->Unit(benchmark::kMillisecond)->Iterations(3);

void change_one_endpoint(benchmark::State& state) {
    BigMesh mesh;
    control::ObjectStore& objects = store();
    control::Compiler compiler;
    std::uint64_t generation = 1;
    model::SnapshotPtr held =
        compiler.compile(objects, {.node = "n1", .generation = generation}).snapshot;
    bool ready = true;
    for (auto _ : state) {
        state.PauseTiming();
        ready = !ready;
        auto decoded = control::decode_text(mesh.pod_text(777, 3, ready), {.file = "p777-3.yaml"});
        state.ResumeTiming();
        objects.replace_source("p777-3.yaml", std::move(decoded), 1);
        held = compiler.compile(objects, {.node = "n1", .generation = ++generation}).snapshot;
    }
}
BENCHMARK(change_one_endpoint)->Unit(benchmark::kMillisecond)->Iterations(20);

}  // namespace
}  // namespace orlop::bench
