#include "daemon/model/hash_table.h"

#include "daemon/base/limits.h"
#include "daemon/model/destination.h"

#include <algorithm>
#include <cmath>

namespace orlop::model {

namespace {

constexpr std::uint32_t nobody = static_cast<std::uint32_t>(-1);

std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

std::uint64_t hash_of(const SocketAddress& address, std::uint64_t salt) {
    std::uint64_t hash = 0xcbf29ce484222325ull ^ address.port;
    for (const std::uint8_t byte : address.ip.bytes()) {
        hash = (hash ^ byte) * 0x100000001b3ull;
    }
    return mix(mix(hash) + salt * 0x9e3779b97f4a7c15ull);
}

std::uint32_t weight_of(const Endpoint& endpoint) {
    return std::max<std::uint32_t>(endpoint.weight, 1);
}

struct Point {
    std::uint64_t at;
    std::uint32_t owner;
};

// Every endpoint has points in proportion to its weight, the lightest at least one, all together
// at least the wanted size. An endpoint's points depend on itself only: others keep theirs.
std::vector<Point> ring_points(std::uint64_t wanted, std::span<const Endpoint> endpoints) {
    double total = 0;
    for (const Endpoint& endpoint : endpoints) {
        total += weight_of(endpoint);
    }
    const double size = static_cast<double>(std::min(wanted, limits::hash_table_entries_max));
    std::vector<Point> points;
    for (std::uint32_t i = 0; i < endpoints.size(); ++i) {
        const double share = weight_of(endpoints[i]) / total * size;
        const auto count = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share)));
        for (std::uint64_t n = 0; n < count; ++n) {
            points.push_back({hash_of(endpoints[i].address, n + 1), i});
        }
    }
    std::ranges::sort(points, [](const Point& a, const Point& b) {
        return a.at != b.at ? a.at < b.at : a.owner < b.owner;
    });
    return points;
}

// Maglev (Eisenbud et al., NSDI 2016, §3.4), each endpoint taking turns in proportion to its
// weight.
std::vector<std::uint32_t> maglev_slots(std::uint64_t size, std::span<const Endpoint> endpoints) {
    struct Walk {
        std::uint64_t at;
        std::uint64_t step;
        double credit;
    };
    std::vector<Walk> walks;
    std::uint32_t heaviest = 1;
    for (const Endpoint& endpoint : endpoints) {
        walks.push_back({hash_of(endpoint.address, 1) % size,
                         hash_of(endpoint.address, 2) % (size - 1) + 1,
                         0.0});
        heaviest = std::max(heaviest, weight_of(endpoint));
    }
    std::vector<std::uint32_t> slots(size, nobody);
    std::uint64_t filled = 0;
    while (filled < size) {
        for (std::uint32_t i = 0; i < walks.size() && filled < size; ++i) {
            Walk& walk = walks[i];
            walk.credit += static_cast<double>(weight_of(endpoints[i])) / heaviest;
            if (walk.credit < 1.0) {
                continue;
            }
            walk.credit -= 1.0;
            while (slots[walk.at] != nobody) {  // ends: size is prime, a slot is free
                walk.at = (walk.at + walk.step) % size;
            }
            slots[walk.at] = i;
            ++filled;
        }
    }
    return slots;
}

}  // namespace

HashTablePtr HashTable::build(const ConsistentHash& hash, std::span<const Endpoint> endpoints) {
    auto table = std::make_shared<HashTable>();
    table->wanted_size_ = hash.table_size;
    for (const Endpoint& endpoint : endpoints) {
        table->addresses_.push_back(endpoint.address);
        table->weights_.push_back(endpoint.weight);
    }
    if (endpoints.empty()) {
        return table;
    }
    if (hash.table == ConsistentHash::Table::maglev) {
        bool fits = hash.table_size >= 2 && hash.table_size <= limits::hash_table_entries_max;
        table->owners_ =
            maglev_slots(fits ? hash.table_size : limits::maglev_size_largest, endpoints);
        return table;
    }
    for (const Point& point : ring_points(hash.table_size, endpoints)) {
        table->points_.push_back(point.at);
        table->owners_.push_back(point.owner);
    }
    return table;
}

bool HashTable::serves(const ConsistentHash& hash, std::span<const Endpoint> endpoints) const {
    const bool maglev = points_.empty() && !owners_.empty();
    if (wanted_size_ != hash.table_size || addresses_.size() != endpoints.size() ||
        (!endpoints.empty() && maglev != (hash.table == ConsistentHash::Table::maglev))) {
        return false;
    }
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        if (endpoints[i].address != addresses_[i] || endpoints[i].weight != weights_[i]) {
            return false;
        }
    }
    return true;
}

std::size_t HashTable::place_of(std::uint64_t hash) const {
    if (points_.empty()) {
        return hash % owners_.size();
    }
    auto next = std::ranges::lower_bound(points_, hash);
    return next == points_.end() ? 0 : static_cast<std::size_t>(next - points_.begin());
}

}  // namespace orlop::model
