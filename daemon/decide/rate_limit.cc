#include "daemon/decide/rate_limit.h"

#include <algorithm>
#include <bit>

namespace orlop::decide {
namespace {

constexpr std::size_t probes_max = 16;

std::uint64_t mix(std::uint64_t hash) {
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdull;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53ull;
    return hash ^ (hash >> 33);
}

std::int64_t nanoseconds(Instant now) {
    return now.time_since_epoch().count();
}

}  // namespace

BucketTerms terms_of(const model::RateLimit& limit) {
    std::int64_t requests = std::max<std::int64_t>(limit.requests, 1);
    return {std::max<std::int64_t>(limit.interval.count() / requests, 1),
            std::max(limit.burst, 1u)};
}

RateDecision take_token(std::int64_t& arrival, const BucketTerms& terms, Instant now) {
    const std::int64_t at = nanoseconds(now);
    const std::int64_t depth = terms.spacing_ns * static_cast<std::int64_t>(terms.burst);
    // A bucket made under other terms may be further ahead than these allow: it is just empty.
    const std::int64_t begun = std::min(std::max(arrival, at), at + depth);
    const std::int64_t next = begun + terms.spacing_ns;
    RateDecision decision;
    decision.admitted = next - at <= depth;
    if (decision.admitted) {
        arrival = next;
    } else {
        decision.retry_after = Duration(next - at - depth);
    }
    const std::int64_t ahead = (decision.admitted ? next : begun) - at;
    decision.remaining = static_cast<std::uint32_t>((depth - ahead) / terms.spacing_ns);
    decision.full_after = Duration(ahead);
    return decision;
}

RateLimitTable::RateLimitTable(std::uint64_t seed, std::size_t buckets)
    : seed_(mix(seed | 1)), mask_(std::bit_ceil(std::max(buckets, probes_max)) - 1),
      buckets_(std::make_unique<Bucket[]>(mask_ + 1)) {}

std::uint64_t RateLimitTable::key_of(std::string_view name,
                                     std::span<const std::string_view> values) const {
    std::uint64_t hash = seed_;
    auto add = [&](std::string_view text) {
        hash = mix(hash ^ text.size());  // "ab","c" is not "a","bc"
        for (char c : text) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
        }
    };
    add(name);
    for (std::string_view value : values) {
        add(value);
    }
    hash = mix(hash);
    return hash == 0 ? 1 : hash;  // 0 marks a free bucket
}

// A full bucket says nothing that a new one would not: it may be given to another key.
RateLimitTable::Bucket* RateLimitTable::find(std::uint64_t key, Instant now) {
    for (std::size_t i = 0; i < probes_max; ++i) {
        Bucket& bucket = buckets_[(key + i) & mask_];
        if (bucket.key.load(std::memory_order_acquire) == key) {
            return &bucket;
        }
    }
    for (std::size_t i = 0; i < probes_max; ++i) {
        Bucket& bucket = buckets_[(key + i) & mask_];
        std::uint64_t old = bucket.key.load(std::memory_order_acquire);
        bool idle = old == 0 || bucket.arrival.load(std::memory_order_acquire) <= nanoseconds(now);
        if (idle && bucket.key.compare_exchange_strong(old, key, std::memory_order_acq_rel)) {
            return &bucket;
        }
        if (old == key) {
            return &bucket;  // another core was faster
        }
    }
    return nullptr;
}

RateDecision RateLimitTable::take(std::uint64_t key,
                                  std::uint64_t shared_key,
                                  const BucketTerms& terms,
                                  Instant now) {
    Bucket* bucket = find(key, now);
    bool shared = bucket == nullptr;
    if (shared) {
        // Without a place even for the shared bucket, its home place is used by whoever comes.
        bucket = find(shared_key, now);
        bucket = bucket != nullptr ? bucket : &buckets_[shared_key & mask_];
    }
    std::int64_t seen = bucket->arrival.load(std::memory_order_acquire);
    while (true) {
        std::int64_t next = seen;
        RateDecision decision = take_token(next, terms, now);
        decision.shared_bucket = shared;
        if (!decision.admitted ||
            bucket->arrival.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) {
            return decision;
        }
    }
}

}  // namespace orlop::decide
