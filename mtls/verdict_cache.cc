#include "mtls/peer_identity.h"

#include <cstring>

namespace orlop::mtls {

std::size_t VerdictCache::KeyHash::operator()(const Key& key) const noexcept {
    std::size_t hash;  // the key is a SHA-256 already
    std::memcpy(&hash, key.data(), sizeof hash);
    return hash;
}

VerdictCache::VerdictCache(std::size_t entries_max) : entries_max_(entries_max) {}

const PeerIdentity* VerdictCache::find(const Key& key, WallTime now) {
    auto found = by_key_.find(key);
    if (found != by_key_.end() && found->second->second.valid_until < now) {
        entries_.erase(found->second);
        by_key_.erase(found);
        found = by_key_.end();
    }
    if (found == by_key_.end()) {
        ++misses_;
        return nullptr;
    }
    ++hits_;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->second;
}

void VerdictCache::insert(const Key& key, PeerIdentity identity) {
    if (entries_max_ == 0 || by_key_.contains(key)) {
        return;
    }
    if (entries_.size() == entries_max_) {
        by_key_.erase(entries_.back().first);
        entries_.pop_back();
    }
    entries_.emplace_front(key, std::move(identity));
    by_key_.emplace(key, entries_.begin());
}

}  // namespace orlop::mtls
