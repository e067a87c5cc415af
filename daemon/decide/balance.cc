#include "daemon/decide/balance.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace orlop::decide {

namespace {

constexpr std::uint32_t re_picks_max = 5;  // Envoy's host_selection_retry_max_attempts in Istio
constexpr std::size_t word_bits = 64;

std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// The word with bits beyond the last endpoint cleared; a short mask reads as zeros.
std::uint64_t word_of(std::span<const std::uint64_t> usable, std::size_t word, std::size_t count) {
    if (word >= usable.size()) {
        return 0;
    }
    const std::size_t left = count - word * word_bits;
    return left >= word_bits ? usable[word] : usable[word] & ((std::uint64_t{1} << left) - 1);
}

bool is_usable(std::span<const std::uint64_t> usable, std::size_t index) {
    return usable.empty() || (index / word_bits < usable.size() &&
                              ((usable[index / word_bits] >> (index % word_bits)) & 1) != 0);
}

std::uint32_t count_usable(std::span<const std::uint64_t> usable, std::size_t count) {
    if (usable.empty()) {
        return static_cast<std::uint32_t>(count);
    }
    std::uint32_t total = 0;
    for (std::size_t word = 0; word * word_bits < count; ++word) {
        total += static_cast<std::uint32_t>(std::popcount(word_of(usable, word, count)));
    }
    return total;
}

// Index of the `n`-th usable endpoint, n below count_usable(). Choosing among the usable ones,
// instead of stepping over the others, keeps the neighbour of an ejected one from a double share.
std::size_t nth_usable(std::span<const std::uint64_t> usable, std::size_t count, std::uint64_t n) {
    if (usable.empty()) {
        return static_cast<std::size_t>(n);
    }
    for (std::size_t word = 0; word * word_bits < count; ++word) {
        std::uint64_t bits = word_of(usable, word, count);
        const auto here = static_cast<std::uint64_t>(std::popcount(bits));
        if (n >= here) {
            n -= here;
            continue;
        }
        for (; n > 0; --n) {
            bits &= bits - 1;
        }
        return word * word_bits + static_cast<std::size_t>(std::countr_zero(bits));
    }
    return no_endpoint;
}

std::uint64_t below(std::uint64_t random64, std::uint64_t limit) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(random64) * limit) >> 64);
}

bool equal_weights(const std::vector<model::Endpoint>& endpoints) {
    return std::ranges::all_of(
        endpoints, [&](const model::Endpoint& e) { return e.weight == endpoints[0].weight; });
}

std::size_t random_pick(const model::Destination& destination,
                        const BalanceRequest& request,
                        std::uint32_t usable_count) {
    return nth_usable(
        request.usable, destination.endpoints.size(), below(request.random(), usable_count));
}

std::size_t two_choices(const model::Destination& destination,
                        const BalanceRequest& request,
                        std::uint32_t usable_count) {
    const std::size_t first = random_pick(destination, request, usable_count);
    const std::size_t second = random_pick(destination, request, usable_count);
    return request.active(second) < request.active(first) ? second : first;
}

std::size_t find_original(const model::Destination& destination, const BalanceRequest& request) {
    if (request.original == nullptr) {
        return no_endpoint;
    }
    for (std::size_t i = 0; i < destination.endpoints.size(); ++i) {
        if (destination.endpoints[i].address == *request.original && is_usable(request.usable, i)) {
            return i;
        }
    }
    return no_endpoint;
}

}  // namespace

void TriedEndpoints::add(const SocketAddress& address) {
    addresses_[count_ % endpoints_max] = address;
    ++count_;
}

bool TriedEndpoints::contains(const SocketAddress& address) const {
    const auto end = addresses_.begin() + static_cast<std::ptrdiff_t>(size());
    return std::find(addresses_.begin(), end, address) != end;
}

double warm_up_factor(const model::Warmup& warmup, Duration age) {
    if (age >= warmup.window || warmup.window <= Duration::zero()) {
        return 1.0;
    }
    const double part = static_cast<double>(std::max<std::int64_t>(age.count(), 0)) /
                        static_cast<double>(warmup.window.count());
    return std::max(
        {warmup.minimum_percent / 100.0, std::pow(part, 1.0 / warmup.aggression), 1e-6});
}

std::uint64_t hash_key(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a, then mixed: stable, and even in all bits
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    }
    return mix(hash);
}

// Smooth weighted round robin: everyone earns its weight, the richest is picked and pays the sum.
// Linear in the endpoints, without a heap and without bursts. When every usable weight is 0 the
// choice is plain round robin.
template <class WeightOf>
std::size_t Balancer::smooth_weighted(const model::Destination& destination,
                                      const BalanceRequest& request,
                                      WeightOf weight_of) {
    const std::size_t count = destination.endpoints.size();
    if (credit_.size() != count) {
        credit_.assign(count, 0.0);
    }
    double total = 0;
    std::size_t best = no_endpoint;
    for (std::size_t i = 0; i < count; ++i) {
        const double weight = is_usable(request.usable, i) ? weight_of(i) : 0.0;
        if (!(weight > 0)) {
            continue;
        }
        credit_[i] += weight;
        total += weight;
        if (best == no_endpoint || credit_[i] > credit_[best]) {
            best = i;
        }
    }
    if (best != no_endpoint) {
        credit_[best] -= total;
    }
    return best;
}

std::size_t Balancer::pick_once(const model::Destination& destination,
                                const BalanceRequest& request,
                                std::uint32_t usable_count,
                                Pick& out) {
    const std::vector<model::Endpoint>& endpoints = destination.endpoints;
    const bool equal = request.scale.of == nullptr && equal_weights(endpoints);
    std::size_t weighted = no_endpoint;
    switch (destination.policy.load_balancing) {
    case model::LoadBalancing::least_request:
        out.why = "least_request";
        if (equal) {
            return two_choices(destination, request, usable_count);
        }
        out.why = "least_request (weighted)";
        weighted = smooth_weighted(destination, request, [&](std::size_t i) {
            return endpoints[i].weight * request.scale(i) /
                   (static_cast<double>(request.active(i)) + 1.0);
        });
        break;
    case model::LoadBalancing::round_robin:
        out.why = "round_robin";
        if (!equal) {
            out.why = "round_robin (weighted)";
            weighted = smooth_weighted(destination, request, [&](std::size_t i) {
                return endpoints[i].weight * request.scale(i);
            });
        }
        break;
    case model::LoadBalancing::consistent_hash:
        if (request.hash && destination.hash_table) {
            out.why = "consistent_hash";
            return destination.hash_table->find(
                *request.hash, [&](std::size_t i) { return is_usable(request.usable, i); });
        }
        out.why = "random (no hash key)";
        return random_pick(destination, request, usable_count);
    case model::LoadBalancing::random:
        out.why = "random";
        return random_pick(destination, request, usable_count);
    case model::LoadBalancing::passthrough:
        out.why = "passthrough";
        return find_original(destination, request);
    }
    if (weighted != no_endpoint) {
        return weighted;
    }
    return nth_usable(request.usable, endpoints.size(), cursor_++ % usable_count);
}

Pick Balancer::pick(const model::Destination& destination, const BalanceRequest& request) {
    Pick out;
    const std::size_t count = destination.endpoints.size();
    out.considered = count_usable(request.usable, count);
    out.unusable = static_cast<std::uint32_t>(count) - out.considered;
    if (out.considered == 0) {
        out.why = count == 0 ? "no endpoints" : "every endpoint is out of rotation";
        return out;
    }
    out.index = pick_once(destination, request, out.considered, out);
    if (out.index == no_endpoint) {
        return out;
    }
    // A hash names its host whatever was tried (istio-semantics §7); passthrough has one choice.
    const bool avoid = request.tried != nullptr && out.considered > 1 &&
                       destination.policy.load_balancing != model::LoadBalancing::passthrough &&
                       destination.policy.load_balancing != model::LoadBalancing::consistent_hash;
    while (avoid && out.re_picks < re_picks_max &&
           request.tried->contains(destination.endpoints[out.index].address)) {
        ++out.re_picks;
        out.index = pick_once(destination, request, out.considered, out);
    }
    return out;
}

}  // namespace orlop::decide
