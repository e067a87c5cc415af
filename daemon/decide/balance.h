// Balancer: which endpoint of a destination serves the next try (istio-semantics §7).
//
// One Balancer per core (or per source workload and core) and destination; it keeps only a cursor
// and, for unequal weights, one number per endpoint. Nothing is shared, so nothing is locked. It
// allocates when the number of endpoints grows, never otherwise.
//
//     Pick pick = balancer.pick(destination, {.active = load, .usable = mask, .tried = tried,
//                                             .random = random_source});
//     if (pick.index == no_endpoint) { answer 503 UH }
//     tried.add(destination.endpoints[pick.index].address);
#pragma once

#include "daemon/model/destination.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace orlop::decide {

inline constexpr std::size_t no_endpoint = static_cast<std::size_t>(-1);

// Endpoints that served earlier tries of the same exchange; the oldest is forgotten when full.
class TriedEndpoints {
public:
    static constexpr std::size_t endpoints_max = 16;
    void add(const SocketAddress& address);
    bool contains(const SocketAddress& address) const;
    void clear() { count_ = 0; }
    std::size_t size() const { return count_ < endpoints_max ? count_ : endpoints_max; }

private:
    std::array<SocketAddress, endpoints_max> addresses_;
    std::size_t count_ = 0;
};

// Active requests of endpoint `index`, as the pools count them.
struct ActiveCounts {
    const void* context = nullptr;
    std::uint32_t (*of)(const void* context, std::size_t index) = nullptr;  // null: all zero

    static ActiveCounts from(std::span<const std::uint32_t> counts) {
        return ActiveCounts{counts.data(), [](const void* context, std::size_t index) {
                                return static_cast<const std::uint32_t*>(context)[index];
                            }};
    }
    std::uint32_t operator()(std::size_t index) const {
        return of == nullptr ? 0 : of(context, index);
    }
};

// Uniform 64-bit numbers; the caller's per-core generator.
struct RandomSource {
    void* context = nullptr;
    std::uint64_t (*next)(void* context) = nullptr;
    std::uint64_t operator()() const { return next(context); }
};

// Factor on the weight of endpoint `index`, in (0, 1]: warm-up. Null: 1.
struct WeightScale {
    const void* context = nullptr;
    double (*of)(const void* context, std::size_t index) = nullptr;
    double operator()(std::size_t index) const { return of == nullptr ? 1.0 : of(context, index); }
};

struct BalanceRequest {
    ActiveCounts active{};
    // Bit i (word i/64) set: endpoint i may be used, i.e. is not ejected. Empty: all may.
    std::span<const std::uint64_t> usable{};
    const TriedEndpoints* tried = nullptr;  // null: do not avoid (retryIgnorePreviousHosts: false)
    RandomSource random{};                  // required
    std::optional<std::uint64_t> hash{};    // of the consistentHash key; absent: random
    const SocketAddress* original = nullptr;  // passthrough: where the caller wanted to go
    WeightScale scale{};
};

struct Pick {
    std::size_t index = no_endpoint;
    std::uint32_t considered = 0;  // usable endpoints
    std::uint32_t unusable = 0;    // masked out
    std::uint32_t re_picks = 0;    // picks dropped because they had been tried, at most 5
    std::string_view why{};        // static text for explain
    bool panic = false;            // too few are in rotation: all were considered
    std::string_view group{};      // which locality, where that decides
};

class Balancer {
public:
    // `start` spreads the first pick of round robin (Envoy: per worker, random start).
    explicit Balancer(std::uint64_t start = 0) : cursor_(start) {}
    Pick pick(const model::Destination& destination, const BalanceRequest& request);

private:
    std::size_t pick_once(const model::Destination& destination,
                          const BalanceRequest& request,
                          std::uint32_t usable_count,
                          Pick& out);
    template <class WeightOf>
    std::size_t smooth_weighted(const model::Destination& destination,
                                const BalanceRequest& request,
                                WeightOf weight_of);

    std::uint64_t cursor_;
    std::vector<double> credit_;  // smooth weighted round robin
};

// Hash of a consistentHash key; stable over processes and versions.
std::uint64_t hash_key(std::string_view text);

// A new endpoint's factor at `age`.
double warm_up_factor(const model::Warmup& warmup, Duration age);

}  // namespace orlop::decide
