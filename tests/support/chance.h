// Bounds of chance: how far a count of independent draws may lie from its mean.
//
// A test that counts failures of a random application states the probability with which it may be
// wrong: binomial(n, p) is below `low` or above `high` with at most `risk` on each side. Exact
// sums, no normal approximation.
#pragma once

#include <cmath>

namespace orlop::support {

struct CountBounds {
    long low = 0;
    long high = 0;
};

inline constexpr double default_risk = 1e-8;

// P(X <= k) for X ~ binomial(n, p).
inline double binomial_cdf(long n, double p, long k) {
    double sum = 0;
    for (long i = 0; i <= k && i <= n; ++i) {
        const auto x = static_cast<double>(i);
        const auto m = static_cast<double>(n);
        const double log_ways = std::lgamma(m + 1) - std::lgamma(x + 1) - std::lgamma(m - x + 1);
        sum += std::exp(log_ways + x * std::log(p) + (m - x) * std::log1p(-p));
    }
    return sum;
}

inline CountBounds binomial_bounds(long n, double p, double risk = default_risk) {
    CountBounds bounds{0, n};
    while (bounds.low < n && binomial_cdf(n, p, bounds.low) <= risk) {
        ++bounds.low;
    }
    while (bounds.high > 0 && binomial_cdf(n, 1 - p, n - bounds.high) <= risk) {
        --bounds.high;
    }
    return bounds;
}

}  // namespace orlop::support
