// One pick of every kind of balancer among 10 and 1000 endpoints, and what a try's outcome costs.
#include "bench/micro/allocations.h"
#include "daemon/decide/balance.h"
#include "daemon/decide/outlier.h"

#include <benchmark/benchmark.h>
#include <memory>
#include <random>
#include <vector>

namespace orlop::bench {
namespace {

struct Dice {
    std::mt19937_64 engine{42};
    decide::RandomSource source() {
        return {this, [](void* self) { return static_cast<Dice*>(self)->engine(); }};
    }
};

model::Destination destination_of(model::LoadBalancing kind, std::int64_t count) {
    model::Destination made;
    made.policy.load_balancing = kind;
    for (std::int64_t i = 0; i < count; ++i) {
        auto host = static_cast<std::uint32_t>(0x0A000001 + i);
        model::Endpoint endpoint;
        endpoint.address = {IpAddress::v4(host), 8080};
        made.endpoints.push_back(endpoint);
    }
    return made;
}

void pick(benchmark::State& state, model::LoadBalancing kind) {
    auto destination = destination_of(kind, state.range(0));
    std::vector<std::uint32_t> active(destination.endpoints.size(), 3);
    Dice dice;
    decide::Balancer balancer;
    decide::BalanceRequest request{};
    request.active = decide::ActiveCounts::from(active);
    request.random = dice.source();
    request.hash = decide::hash_key("user-17");
    benchmark::DoNotOptimize(balancer.pick(destination, request));
    CountedAllocations counted(state);
    for (auto _ : state) {
        benchmark::DoNotOptimize(balancer.pick(destination, request));
    }
}
BENCHMARK_CAPTURE(pick, least_request, model::LoadBalancing::least_request)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(pick, round_robin, model::LoadBalancing::round_robin)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(pick, random, model::LoadBalancing::random)->Arg(10)->Arg(1000);

void pick_by_hash(benchmark::State& state) {
    auto destination = destination_of(model::LoadBalancing::consistent_hash, state.range(0));
    model::ConsistentHash rule;
    destination.policy.consistent_hash = rule;
    destination.hash_table = model::HashTable::build(rule, destination.endpoints);
    Dice dice;
    decide::Balancer balancer;
    decide::BalanceRequest request{};
    request.random = dice.source();
    std::uint64_t user = 0;
    CountedAllocations counted(state);
    for (auto _ : state) {
        request.hash = ++user * 0x9E3779B97F4A7C15ULL;
        benchmark::DoNotOptimize(balancer.pick(destination, request));
    }
}
BENCHMARK(pick_by_hash)->Arg(10)->Arg(1000);

void record_outcome(benchmark::State& state, std::uint16_t status, std::uint32_t threshold) {
    model::OutlierDetection policy;
    policy.consecutive_5xx = threshold;
    model::EndpointHealth cell({IpAddress::v4(0x0A000001), 8080}, "uid");
    model::DestinationHealth verdicts;
    decide::TryOutcome outcome;
    outcome.status = status;
    Instant now{std::chrono::hours(1)};
    CountedAllocations counted(state);
    for (auto _ : state) {
        benchmark::DoNotOptimize(decide::record_try({policy, cell, verdicts, 10}, outcome, now));
    }
}
BENCHMARK_CAPTURE(record_outcome, success, 200, 5);
BENCHMARK_CAPTURE(record_outcome, failure, 503, 4'000'000'000);

}  // namespace
}  // namespace orlop::bench
