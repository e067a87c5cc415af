// Counter, Gauge, Histogram: one writing thread, any number of reading ones.
//
// A write is a relaxed load and a relaxed store (no locked instruction): correct because exactly
// one thread writes. A reader sees each number whole, and a histogram's parts at most a few
// observations apart; snapshot() makes the parts agree.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace orlop::telemetry {

class Counter {
public:
    void add(std::uint64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

class Gauge {
public:
    void add(std::int64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
    std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_{0};
};

// Upper bounds (inclusive) of Istio's histograms; milliseconds and bytes alike.
inline constexpr std::array<double, 19> histogram_bounds = {0.5,
                                                            1,
                                                            5,
                                                            10,
                                                            25,
                                                            50,
                                                            100,
                                                            250,
                                                            500,
                                                            1000,
                                                            2500,
                                                            5000,
                                                            10000,
                                                            30000,
                                                            60000,
                                                            300000,
                                                            600000,
                                                            1800000,
                                                            3600000};

struct HistogramSnapshot {
    std::array<std::uint64_t, histogram_bounds.size() + 1> buckets{};  // not cumulative; last: +Inf
    double sum = 0;
    std::uint64_t count() const;
    void add(const HistogramSnapshot& other);
    // Value below which `share` (0 to 1) of the observations lie, linear inside a bucket; the last
    // finite bound when it lies beyond; 0 when empty.
    double percentile(double share) const;
};

class Histogram {
public:
    void observe(double value);  // values below 0 and NaN count as 0
    HistogramSnapshot snapshot() const;

private:
    std::array<Counter, histogram_bounds.size() + 1> buckets_;
    std::atomic<double> sum_{0};
};

}  // namespace orlop::telemetry
