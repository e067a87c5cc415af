// Rate limits: token buckets as one number each (GCRA), shared by every core of the node.
//
// A bucket of `burst` tokens that refills continuously is the same as a theoretical arrival time
// that may run ahead of now by at most burst * spacing; taking a token is one compare-and-swap on
// it, so cores never wait for each other and never admit too much between them. RateLimitTable
// keeps the buckets of a node, found by a 64-bit key, in a bounded table of atomics. When there is
// no room for another combination of key values, those that find none share one bucket per limit:
// strict rather than open, and counted.
//
//     RateLimitTable table(seed);
//     RateDecision decision = table.take(table.key_of(limit, values), terms_of(limit), now);
//     if (!decision.admitted) { answer limit.status, retry after decision.full_after }
//
// Lifetime: as long as any core; thread: any.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/limits.h"
#include "daemon/model/rate_limit.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace orlop::decide {

struct BucketTerms {
    std::int64_t spacing_ns = 0;  // time in which one token comes back
    std::uint32_t burst = 1;
};
BucketTerms terms_of(const model::RateLimit& limit);

struct RateDecision {
    bool admitted = true;
    std::uint32_t remaining = 0;
    Duration full_after{};       // until the bucket is full again
    Duration retry_after{};      // until a token is there; zero when admitted
    bool shared_bucket = false;  // the table had no room for this combination
};

// The pure step: `arrival` is the bucket's state, changed only when admitted.
RateDecision take_token(std::int64_t& arrival, const BucketTerms& terms, Instant now);

class RateLimitTable {
public:
    explicit RateLimitTable(std::uint64_t seed,
                            std::size_t buckets = limits::rate_limit_buckets_max);

    // Of a limit's name and the values of its key; order matters.
    std::uint64_t key_of(std::string_view name, std::span<const std::string_view> values) const;
    RateDecision
    take(std::uint64_t key, std::uint64_t shared_key, const BucketTerms& terms, Instant now);

private:
    struct Bucket {
        std::atomic<std::uint64_t> key{0};
        std::atomic<std::int64_t> arrival{0};
    };
    Bucket* find(std::uint64_t key, Instant now);

    std::uint64_t seed_;
    std::size_t mask_;
    std::unique_ptr<Bucket[]> buckets_;
};

}  // namespace orlop::decide
