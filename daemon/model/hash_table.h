// HashTable: which endpoint a consistentHash key belongs to (istio-semantics §7).
//
// A ring (ketama: points of every endpoint on a circle of 64-bit hashes, the next one serves) or a
// Maglev table. Built once per set of endpoints by control/compile, immutable, shared by the cores.
// The same set gives the same table on every node. An endpoint that may not be used is passed over
// by walking on, so that the keys of the others stay where they are.
//
//     HashTablePtr table = HashTable::build(hash, endpoints);
//     std::size_t index = table->find(hash_of_key, [&](std::size_t i) { return usable(i); });
#pragma once

#include "daemon/base/ip.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace orlop::model {

struct ConsistentHash;
struct Endpoint;

class HashTable {
public:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    static std::shared_ptr<const HashTable> build(const ConsistentHash& hash,
                                                  std::span<const Endpoint> endpoints);

    // `usable(index)`; none when no endpoint is.
    template <class Usable> std::size_t find(std::uint64_t hash, Usable usable) const {
        const std::size_t size = owners_.size();
        const std::size_t start = size == 0 ? 0 : place_of(hash);
        for (std::size_t step = 0; step < size; ++step) {
            const std::uint32_t owner = owners_[(start + step) % size];
            if (usable(owner)) {
                return owner;
            }
        }
        return none;
    }
    std::size_t size() const { return owners_.size(); }
    bool serves(const ConsistentHash& hash, std::span<const Endpoint> endpoints) const;

private:
    std::size_t place_of(std::uint64_t hash) const;

    std::uint64_t wanted_size_ = 0;
    std::vector<SocketAddress> addresses_;  // of the endpoints it was built for, and their weights
    std::vector<std::uint32_t> weights_;
    std::vector<std::uint64_t> points_;  // ring: sorted; empty for Maglev
    std::vector<std::uint32_t> owners_;  // ring: parallel to `points_`; Maglev: by slot
};
using HashTablePtr = std::shared_ptr<const HashTable>;

}  // namespace orlop::model
