// Latencies in nanoseconds, in log-spaced buckets of at most 0.8 % width: 128 per power of two,
// from 1 ns to 2^40 ns (18 minutes). Fixed size, no allocation after construction. One thread.
//
//     Histogram latency;
//     latency.add(12'345);
//     auto p99_ns = latency.quantile(0.99);
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace orlop::bench {

class Histogram {
public:
    Histogram() : buckets_(bucket_count) {}

    void add(std::int64_t ns) {
        auto value = static_cast<std::uint64_t>(ns < 0 ? 0 : ns);
        value = value < value_max ? value : value_max;
        ++buckets_[index_of(value)];
        ++count_;
        max_ = value > max_ ? value : max_;
    }

    // Upper edge of the bucket that holds the q-quantile, 0 < q <= 1; 0 when empty.
    std::uint64_t quantile(double q) const {
        auto wanted = static_cast<std::uint64_t>(q * static_cast<double>(count_));
        wanted = wanted == 0 ? 1 : wanted;
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen >= wanted) {
                auto edge = upper_edge(i);
                return edge < max_ ? edge : max_;
            }
        }
        return max_;
    }

    std::uint64_t count() const { return count_; }
    std::uint64_t max() const { return max_; }

private:
    static constexpr unsigned sub_bits = 7;
    static constexpr std::uint64_t sub_count = 1U << sub_bits;
    static constexpr std::uint64_t value_max = (std::uint64_t{1} << 40) - 1;
    static constexpr std::size_t bucket_count = (40 - sub_bits + 1) * sub_count;

    static std::size_t index_of(std::uint64_t value) {
        if (value < sub_count) {
            return value;
        }
        unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - sub_bits;
        return (std::size_t{shift} << sub_bits) + (value >> shift);
    }
    static std::uint64_t upper_edge(std::size_t index) {
        if (index < 2 * sub_count) {
            return index;
        }
        auto shift = (index >> sub_bits) - 1;
        auto top = (index & (sub_count - 1)) + sub_count;
        return ((top + 1) << shift) - 1;
    }

    std::vector<std::uint64_t> buckets_;
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace orlop::bench
