#include "daemon/telemetry/histogram.h"

#include <algorithm>

namespace orlop::telemetry {

void Histogram::observe(double value) {
    const double seen = value > 0 ? value : 0;  // also turns NaN into 0
    const auto bound = std::ranges::lower_bound(histogram_bounds, seen);
    buckets_[static_cast<std::size_t>(bound - histogram_bounds.begin())].add(1);
    sum_.store(sum_.load(std::memory_order_relaxed) + seen, std::memory_order_relaxed);
}

HistogramSnapshot Histogram::snapshot() const {
    HistogramSnapshot out;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
        out.buckets[i] = buckets_[i].value();
    }
    out.sum = sum_.load(std::memory_order_relaxed);
    return out;
}

std::uint64_t HistogramSnapshot::count() const {
    std::uint64_t total = 0;  // from the buckets, so that _count and +Inf always agree
    for (const std::uint64_t n : buckets) {
        total += n;
    }
    return total;
}

void HistogramSnapshot::add(const HistogramSnapshot& other) {
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        buckets[i] += other.buckets[i];
    }
    sum += other.sum;
}

double HistogramSnapshot::percentile(double share) const {
    const std::uint64_t total = count();
    if (total == 0) {
        return 0;
    }
    const double rank = std::clamp(share, 0.0, 1.0) * static_cast<double>(total);
    double below = 0;
    for (std::size_t i = 0; i < histogram_bounds.size(); ++i) {
        const auto here = static_cast<double>(buckets[i]);
        if (here > 0 && below + here >= rank) {
            const double low = i == 0 ? 0 : histogram_bounds[i - 1];
            return low + (histogram_bounds[i] - low) * ((rank - below) / here);
        }
        below += here;
    }
    return histogram_bounds.back();
}

}  // namespace orlop::telemetry
