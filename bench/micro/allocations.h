// Allocations of this program so far, by malloc and its kin and by operator new, whichever library
// makes them (OpenSSL and nghttp2 allocate by malloc).
//
//     CountedAllocations counted(state);   // at the top; says "allocations" per iteration at the
//     end
#pragma once

#include <benchmark/benchmark.h>
#include <cstdint>

namespace orlop::bench {

std::uint64_t allocations();

class CountedAllocations {
public:
    explicit CountedAllocations(benchmark::State& state) : state_(state), before_(allocations()) {}
    ~CountedAllocations() {
        auto made = static_cast<double>(allocations() - before_);
        state_.counters["allocations"] =
            benchmark::Counter(made, benchmark::Counter::kAvgIterations);
    }
    CountedAllocations(const CountedAllocations&) = delete;
    CountedAllocations& operator=(const CountedAllocations&) = delete;

private:
    benchmark::State& state_;
    std::uint64_t before_;
};

}  // namespace orlop::bench
