// ShardTable: a hash table of which a new generation copies only the shards that it changes.
//
// A shard is a small open-addressing index over densely packed entries, shared by pointer between
// copies of the table; Edit clones a shard before its first change. `Traits` says what the key of
// an entry is and how it is hashed.
//
// Lifetime: a table is a value; look-ups are const, allocate nothing and are safe from any thread.
// Editing is for the one thread that owns the copy being edited.
//
//     Table next = snapshot_table;                  // a pointer per shard
//     Table::Edit(next).put({address, workload});   // one shard is copied
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace orlop::model {

template <class Entry, class Traits> class ShardTable {
    static constexpr std::size_t entries_per_shard = 64;  // aimed at
    static constexpr std::size_t shards_max = 1u << 14;

    struct Shard {
        std::vector<std::uint16_t> index;  // 1 + position in `entries`; 0: nobody
        std::vector<Entry> entries;
    };

public:
    template <class Key> const Entry* find(const Key& key) const {
        if (shards_.empty()) {
            return nullptr;
        }
        std::size_t hash = Traits::hash(key);
        const Shard* shard = shards_[shard_of(hash)].get();
        return shard == nullptr ? nullptr : find_in(*shard, key, hash);
    }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    // In no order that means anything.
    template <class Visit> void each(Visit visit) const {
        for (const auto& shard : shards_) {
            for (std::size_t i = 0; shard != nullptr && i < shard->entries.size(); ++i) {
                visit(shard->entries[i]);
            }
        }
    }

    class Edit {
    public:
        explicit Edit(ShardTable& table) : table_(table), own_(table.shards_.size()) {}
        // Room for as many entries in all; worth calling before many are put.
        void expect(std::size_t entries) {
            std::size_t wanted = std::bit_ceil(entries / entries_per_shard + 1);
            resize(std::min(wanted, shards_max));
        }
        template <class Key> const Entry* find(const Key& key) const { return table_.find(key); }
        void put(Entry entry) {  // adds, or takes the place of the entry with this key
            grow();
            const auto& key = Traits::key(entry);
            std::size_t hash = Traits::hash(key);
            Shard& shard = own(shard_of(hash));
            if (const Entry* known = find_in(shard, key, hash)) {
                shard.entries[static_cast<std::size_t>(known - shard.entries.data())] =
                    std::move(entry);
                return;
            }
            shard.entries.push_back(std::move(entry));
            ++table_.size_;
            if (2 * shard.entries.size() > shard.index.size()) {
                reindex(shard);
            } else {
                place(shard, hash, shard.entries.size());
            }
        }
        template <class Key> bool erase(const Key& key) {
            if (table_.find(key) == nullptr) {
                return false;
            }
            std::size_t hash = Traits::hash(key);
            Shard& shard = own(shard_of(hash));
            const Entry* known = find_in(shard, key, hash);
            auto at = known - shard.entries.data();
            std::swap(shard.entries[static_cast<std::size_t>(at)], shard.entries.back());
            shard.entries.pop_back();
            reindex(shard);
            --table_.size_;
            return true;
        }

    private:
        std::size_t shard_of(std::size_t hash) const { return table_.shard_of(hash); }
        Shard& own(std::size_t number) {
            auto& shard = table_.shards_[number];
            if (!own_[number]) {
                shard = shard ? std::make_shared<Shard>(*shard) : std::make_shared<Shard>();
                own_[number] = true;
            }
            return *shard;
        }
        void grow() {
            if (table_.shards_.empty() ||
                (table_.size_ >= 4 * entries_per_shard * table_.shards_.size() &&
                 table_.shards_.size() < shards_max)) {
                expect(2 * table_.size_ + 1);
            }
        }
        void resize(std::size_t shards) {
            std::vector<std::shared_ptr<Shard>> before = std::exchange(table_.shards_, {});
            table_.shards_.resize(shards);
            table_.size_ = 0;
            own_.assign(shards, false);
            for (const auto& shard : before) {
                for (std::size_t i = 0; shard != nullptr && i < shard->entries.size(); ++i) {
                    put(shard->entries[i]);
                }
            }
        }
        static void place(Shard& shard, std::size_t hash, std::size_t number) {
            std::size_t mask = shard.index.size() - 1;
            std::size_t at = hash & mask;
            while (shard.index[at] != 0) {
                at = (at + 1) & mask;
            }
            shard.index[at] = static_cast<std::uint16_t>(number);
        }
        static void reindex(Shard& shard) {
            std::size_t wanted = std::bit_ceil(2 * shard.entries.size() + 2);
            shard.index.assign(wanted, 0);
            for (std::size_t i = 0; i < shard.entries.size(); ++i) {
                place(shard, Traits::hash(Traits::key(shard.entries[i])), i + 1);
            }
        }

        ShardTable& table_;
        std::vector<bool> own_;  // shards that nobody else holds yet
    };

private:
    std::size_t shard_of(std::size_t hash) const { return (hash >> 32) & (shards_.size() - 1); }
    template <class Key>
    static const Entry* find_in(const Shard& shard, const Key& key, std::size_t hash) {
        if (shard.index.empty()) {
            return nullptr;
        }
        std::size_t mask = shard.index.size() - 1;
        for (std::size_t at = hash & mask; shard.index[at] != 0; at = (at + 1) & mask) {
            const Entry& entry = shard.entries[shard.index[at] - 1u];
            if (Traits::key(entry) == key) {
                return &entry;
            }
        }
        return nullptr;
    }

    std::vector<std::shared_ptr<Shard>> shards_;  // a power of two, or none
    std::size_t size_ = 0;
};

}  // namespace orlop::model
