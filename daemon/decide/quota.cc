#include "daemon/decide/quota.h"

#include <algorithm>
#include <bit>

namespace orlop::decide {
namespace {

constexpr std::size_t probes_max = 16;
constexpr unsigned tick_shift = 32;
constexpr std::uint64_t units_mask = (std::uint64_t(1) << tick_shift) - 1;

std::uint32_t tick_of(Instant now) {
    return static_cast<std::uint32_t>(now.time_since_epoch() / quota_slot);
}

bool fits(const model::QuotaOverride& rule,
          const model::Quota& quota,
          std::span<const std::string_view> values) {
    return std::ranges::all_of(rule.dimensions, [&](const auto& wanted) {
        for (std::size_t i = 0; i < quota.dimensions.size() && i < values.size(); ++i) {
            if (quota.dimensions[i].first == wanted.first) {
                return values[i] == wanted.second;
            }
        }
        return false;
    });
}

}  // namespace

QuotaTerms quota_terms(const model::Quota& quota, std::span<const std::string_view> values) {
    for (const model::QuotaOverride& rule : quota.overrides) {
        if (fits(rule, quota, values)) {
            return {rule.max_amount, rule.valid_duration, &rule};
        }
    }
    return {quota.max_amount, quota.valid_duration, nullptr};
}

std::uint32_t slots_of(Duration valid_duration) {
    if (valid_duration <= Duration::zero()) {
        return 0;
    }
    auto seconds = std::chrono::ceil<std::chrono::seconds>(valid_duration).count();
    return static_cast<std::uint32_t>(
        std::min<std::int64_t>(seconds * 10, limits::quota_slots_max));
}

QuotaWindow::QuotaWindow(std::uint32_t slots)
    : slots_(slots), ring_(slots == 0 ? nullptr : std::make_unique<Slot[]>(slots)) {}

// Whoever moves the clock on also empties the slots that fell out of the window.
void QuotaWindow::advance(std::uint32_t tick) {
    std::uint32_t latest = latest_.load(std::memory_order_acquire);
    while (static_cast<std::int32_t>(tick - latest) > 0) {
        if (!latest_.compare_exchange_weak(latest, tick, std::memory_order_acq_rel)) {
            continue;
        }
        std::uint32_t steps = std::min(tick - latest, slots_);
        for (std::uint32_t i = 0; i < steps; ++i) {
            expire(ring_[(tick - i) % slots_], tick - i);
        }
        return;
    }
}

void QuotaWindow::expire(Slot& slot, std::uint32_t tick) {
    std::uint64_t seen = slot.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(seen >> tick_shift) != tick) {
        if (slot.compare_exchange_weak(
                seen, std::uint64_t(tick) << tick_shift, std::memory_order_acq_rel)) {
            total_.fetch_sub(seen & units_mask, std::memory_order_acq_rel);
            return;
        }
    }
}

void QuotaWindow::record(std::uint32_t tick) {
    Slot& slot = ring_[tick % slots_];
    expire(slot, tick);
    slot.fetch_add(1, std::memory_order_acq_rel);
}

bool QuotaWindow::take(std::uint64_t max_amount, Instant now) {
    const std::uint32_t tick = tick_of(now);
    if (slots_ != 0) {
        advance(tick);
    }
    if (total_.fetch_add(1, std::memory_order_acq_rel) >= max_amount) {
        total_.fetch_sub(1, std::memory_order_acq_rel);
        return false;
    }
    if (slots_ != 0) {
        record(tick);
    }
    return true;
}

std::uint64_t QuotaWindow::used(Instant now) {
    if (slots_ != 0) {
        advance(tick_of(now));
    }
    return total_.load(std::memory_order_acquire);
}

QuotaTable::QuotaTable(std::size_t windows)
    : mask_(std::bit_ceil(std::max(windows, probes_max)) - 1),
      places_(std::make_unique<Place[]>(mask_ + 1)) {}

QuotaTable::~QuotaTable() {
    for (std::size_t i = 0; i <= mask_; ++i) {
        delete places_[i].window.load(std::memory_order_acquire);
    }
}

QuotaWindow* QuotaTable::find(std::uint64_t key, std::uint32_t slots) {
    for (std::size_t i = 0; i < probes_max; ++i) {
        Place& place = places_[(key + i) & mask_];
        std::uint64_t seen = 0;
        bool mine =
            place.key.compare_exchange_strong(seen, key, std::memory_order_acq_rel) || seen == key;
        if (!mine) {
            continue;
        }
        QuotaWindow* window = place.window.load(std::memory_order_acquire);
        if (window == nullptr) {
            auto fresh = std::make_unique<QuotaWindow>(slots);
            if (place.window.compare_exchange_strong(
                    window, fresh.get(), std::memory_order_acq_rel)) {
                window = fresh.release();
            }
        }
        return window;
    }
    return nullptr;
}

bool QuotaTable::take(std::uint64_t key,
                      std::uint64_t shared_key,
                      const QuotaTerms& terms,
                      Instant now) {
    const std::uint32_t slots = slots_of(terms.valid_duration);
    QuotaWindow* window = find(key, slots);
    if (window == nullptr) {
        window = find(shared_key, slots);
    }
    return window != nullptr && window->take(terms.max_amount, now);
}

}  // namespace orlop::decide
