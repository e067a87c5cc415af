// Who is the peer? One function from a certificate chain to a SpiffeId or a precise refusal.
//
// Order (each step has its PeerRefusal): the leaf parses, is no CA and may not sign certificates,
// has digitalSignature and the extended key usage of its role; it has exactly one URI SAN, which
// SpiffeId::parse accepts (length-aware: a NUL never ends it); its trust domain is in the bundle;
// the chain reaches a root of that domain through the certificates the peer sent, valid at `now`;
// the identity is one we expect. No revocation: lives are short.
//
// VerdictCache remembers positive verdicts on chains, since checking signatures is most of the
// price of a handshake. Its key is SHA-256 over bundle fingerprint, role and the whole chain as
// sent; an entry ends with the earliest certificate. Expectation and time are checked every time.
// Bounded by limits::tls_verdicts_max. One per core; not thread-safe.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "mtls/trust_bundle.h"

#include <array>
#include <cstdint>
#include <expected>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace orlop::mtls {

enum class PeerRole : unsigned char { client, server };  // what the peer is

enum class RefusalReason : unsigned char {
    no_certificate,
    malformed,       // not DER, or bytes after it
    chain_too_long,  // limits::tls_chain_certificates_max
    leaf_is_ca,
    leaf_may_sign,       // keyUsage keyCertSign or cRLSign
    key_usage_missing,   // no keyUsage with digitalSignature
    extended_key_usage,  // absent, or not for this role
    uri_san_missing,
    uri_san_many,
    not_a_spiffe_id,
    trust_domain_unknown,
    not_yet_valid,
    expired,
    untrusted_chain,  // no path to a root of the peer's trust domain, or a bad signature
    unexpected_identity,
};
std::string_view refusal_name(RefusalReason reason);  // stable, for metric labels and logs

struct PeerRefusal {
    RefusalReason reason;
    std::string detail;      // names the certificate's identity or file and what to check
    Error to_error() const;  // ErrorKind::unauthenticated, context "<name>: <detail>"
};

struct PeerIdentity {
    SpiffeId id;
    WallTime valid_until;  // earliest end in its chain
};

// Whom the caller expects. Trust-domain aliases of the bundle are treated as equal.
class ExpectedPeer {
public:
    static ExpectedPeer any();  // any identity of a trust domain in the bundle
    static ExpectedPeer exactly(SpiffeId id);
    static ExpectedPeer one_of(std::vector<SpiffeId> ids);  // empty: nobody
    bool accepts(const SpiffeId& id, const TrustBundle& bundle) const;
    std::string describe() const;

private:
    std::shared_ptr<const std::vector<SpiffeId>> ids_;  // null: any
};

class VerdictCache {
public:
    using Key = std::array<std::uint8_t, 32>;
    explicit VerdictCache(std::size_t entries_max);
    const PeerIdentity* find(const Key& key, WallTime now);  // valid until the next call
    void insert(const Key& key, PeerIdentity identity);
    std::size_t size() const { return entries_.size(); }
    std::uint64_t hits() const { return hits_; }
    std::uint64_t misses() const { return misses_; }

private:
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };
    using Entry = std::pair<Key, PeerIdentity>;
    std::size_t entries_max_;
    std::list<Entry> entries_;  // most recently used first
    std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key_;
    std::uint64_t hits_ = 0;
    std::uint64_t misses_ = 0;
};

struct PeerCheck {
    const TrustBundle* bundle;
    PeerRole role;
    const ExpectedPeer* expected;
    WallTime now;
    VerdictCache* cache = nullptr;  // optional
};

// `chain_der`: leaf first, one DER certificate each, as sent by the peer.
std::expected<PeerIdentity, PeerRefusal>
verify_peer(std::span<const std::span<const std::uint8_t>> chain_der, const PeerCheck& check);

}  // namespace orlop::mtls
