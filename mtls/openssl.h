// OpenSSL objects as owners, and the contents behind this room's public types. Private to mtls.
//
// Nothing of OpenSSL's headers is included here; every .cc includes what it calls.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "daemon/base/tls_terms.h"
#include "mtls/context.h"
#include "mtls/peer_identity.h"

#include <array>
#include <cstdint>
#include <expected>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct asn1_string_st;
struct bio_st;
struct evp_pkey_st;
struct ossl_lib_ctx_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;
struct stack_st_X509;
struct x509_st;
struct x509_store_st;

namespace orlop::mtls {

struct OpensslDeleter {
    void operator()(bio_st* object) const noexcept;
    void operator()(evp_pkey_st* object) const noexcept;
    void operator()(ssl_ctx_st* object) const noexcept;
    void operator()(ssl_session_st* object) const noexcept;
    void operator()(ssl_st* object) const noexcept;
    void operator()(stack_st_X509* borrowed_certificates) const noexcept;
    void operator()(x509_st* object) const noexcept;
    void operator()(x509_store_st* object) const noexcept;
};
template <class T> using Owned = std::unique_ptr<T, OpensslDeleter>;
using Digest = std::array<std::uint8_t, 32>;

struct SvidMaterial {
    SpiffeId identity;
    Owned<evp_pkey_st> key;
    std::vector<Owned<x509_st>> chain;  // leaf first
    WallTime not_before;
    WallTime not_after;
    Digest fingerprint;
};

struct TrustBundleContents {
    std::string local_domain;
    std::vector<std::string> aliases;
    std::map<std::string, Owned<x509_store_st>, std::less<>> stores;  // by trust domain
    std::size_t root_count = 0;
    Digest fingerprint{};
};

struct CaMaterial {
    Owned<evp_pkey_st> key;
    Owned<x509_st> issuer;
    std::vector<Owned<x509_st>> intermediates;  // sent after the leaf; empty under a root
    std::string roots_pem;
    WallTime not_after;
};

// The client's resumable sessions, most recently used first.
class ClientSessions {
public:
    ssl_session_st* find(const std::string& key);  // borrowed until the next call
    void insert(const std::string& key, Owned<ssl_session_st> session);
    void erase(const std::string& key);
    std::size_t size() const { return entries_.size(); }

private:
    using Entry = std::pair<std::string, Owned<ssl_session_st>>;
    std::list<Entry> entries_;
    std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

struct ContextParts {
    ContextOptions options;
    std::string alpn_wire;  // RFC 7301 §3.1: length-prefixed names
    Owned<ssl_ctx_st> client;
    Owned<ssl_ctx_st> server;
    ClientSessions client_sessions;
    TlsTermsPtr foreign;  // not the mesh's own protocol: `options` is not used then
};

// The last errors of this thread as text, queue emptied; "no detail" when there is none.
std::string openssl_reason();

// All certificates in `pem` in order; `what` names the file or field in errors. At least one, at
// most `count_max`.
Result<std::vector<Owned<x509_st>>>
parse_certificates(std::string_view pem, std::string_view what, std::size_t count_max);
// Never asks for a passphrase: an encrypted key is an error.
Result<Owned<evp_pkey_st>> parse_private_key(std::string_view pem, std::string_view what);
std::string certificate_pem(const x509_st& certificate);
std::string private_key_pem(const evp_pkey_st& key);
std::vector<std::uint8_t> certificate_der(const x509_st& certificate);

// The key must be known to be the leaf's. The leaf need not have been parsed: a copy has its key
// object, which it may lack itself (certificate_builder.cc).
Result<Svid> make_svid(std::vector<Owned<x509_st>> chain, Owned<evp_pkey_st> key);

// A time that cannot be read counts as never valid.
WallTime not_before_of(const x509_st& certificate);
WallTime not_after_of(const x509_st& certificate);
std::string format_time(WallTime time);

// SHA-256 over parts, each preceded by its length so that no two lists of parts are confused.
Digest digest_parts(std::span<const std::span<const std::uint8_t>> parts);

// The SPIFFE ID in the leaf's only URI SAN.
std::expected<SpiffeId, PeerRefusal> leaf_identity(x509_st& leaf);

// As verify_peer, on parsed certificates; `chain` is leaf first.
std::expected<PeerIdentity, PeerRefusal> verify_certificates(std::span<x509_st* const> chain,
                                                             const PeerCheck& check);

// Domain whose roots judge `trust_domain`: its own, or the local one for an alias; null: unknown.
x509_store_st* store_for(const TrustBundleContents& contents, std::string_view trust_domain);

}  // namespace orlop::mtls
