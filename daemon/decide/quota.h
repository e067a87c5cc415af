// Quotas as Mixer's memquota kept them (istio-semantics §13): a rolling window of 100 ms slots per
// quota and combination of dimension values, shared by every core of the node.
//
// A window admits while its total is below the amount. The total is raised first and given back
// when it was too much, so that cores never admit more than the amount between them; the slots only
// say when units come back. A window without duration never gives anything back.
//
//     QuotaTable table;
//     if (!table.take(key, quota_terms(quota, values), now)) { answer 429 }
//
// Lifetime: as long as any core; thread: any. Windows are never removed: their number is bounded by
// limits::quota_windows_max, and combinations beyond it share one window per quota.
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

inline constexpr Duration quota_slot = std::chrono::milliseconds(100);

struct QuotaTerms {
    std::uint64_t max_amount = 0;
    Duration valid_duration{};  // zero: forever
    // Null: the quota's own amount; else the override that fits.
    const model::QuotaOverride* override_used = nullptr;
};
// `values`: of the quota's dimensions, in their order. The first override that fits wins.
QuotaTerms quota_terms(const model::Quota& quota, std::span<const std::string_view> values);

// Slots of a window: ceil(duration in seconds) * 10, bounded; 0 for one that never expires.
std::uint32_t slots_of(Duration valid_duration);

class QuotaWindow {
public:
    explicit QuotaWindow(std::uint32_t slots);
    bool take(std::uint64_t max_amount, Instant now);
    std::uint64_t used(Instant now);

private:
    // A slot's tick in the upper half, its units in the lower.
    using Slot = std::atomic<std::uint64_t>;
    void advance(std::uint32_t tick);
    void expire(Slot& slot, std::uint32_t tick);
    void record(std::uint32_t tick);

    std::uint32_t slots_;
    std::unique_ptr<Slot[]> ring_;
    std::atomic<std::uint32_t> latest_{0};
    std::atomic<std::uint64_t> total_{0};
};

class QuotaTable {
public:
    explicit QuotaTable(std::size_t windows = limits::quota_windows_max);
    ~QuotaTable();
    QuotaTable(const QuotaTable&) = delete;
    QuotaTable& operator=(const QuotaTable&) = delete;

    // `key` of the quota, its window's length and all dimension values; `shared_key` of the quota.
    bool take(std::uint64_t key, std::uint64_t shared_key, const QuotaTerms& terms, Instant now);

private:
    struct Place {
        std::atomic<std::uint64_t> key{0};
        std::atomic<QuotaWindow*> window{nullptr};
    };
    QuotaWindow* find(std::uint64_t key, std::uint32_t slots);

    std::size_t mask_;
    std::unique_ptr<Place[]> places_;
};

}  // namespace orlop::decide
