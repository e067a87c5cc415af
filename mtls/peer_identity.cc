#include "mtls/peer_identity.h"

#include "daemon/base/limits.h"
#include "mtls/openssl.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>

namespace orlop::mtls {
namespace {

using Verdict = std::expected<PeerIdentity, PeerRefusal>;

std::unexpected<PeerRefusal> refuse(RefusalReason reason, std::string detail) {
    return std::unexpected(PeerRefusal{reason, std::move(detail)});
}

// Peers choose these bytes and logs print them: only visible ASCII passes, and not much of it.
std::string printable(std::string_view bytes) {
    constexpr std::size_t shown_max = 200;
    std::string text;
    for (unsigned char byte : bytes.substr(0, shown_max)) {
        text += byte > 0x20 && byte < 0x7f ? std::string(1, static_cast<char>(byte))
                                           : fmt::format("\\x{:02x}", byte);
    }
    return bytes.size() > shown_max ? text + "..." : text;
}

std::expected<void, PeerRefusal> check_leaf_usage(X509* leaf, PeerRole role) {
    std::uint32_t flags = X509_get_extension_flags(leaf);
    if ((flags & EXFLAG_INVALID) != 0) {
        openssl_reason();
        return refuse(RefusalReason::malformed, "an extension of the leaf does not parse");
    }
    if ((flags & EXFLAG_CA) != 0) {
        return refuse(RefusalReason::leaf_is_ca,
                      "the leaf has basicConstraints CA:TRUE; a workload must present a leaf");
    }
    std::uint32_t usage = X509_get_key_usage(leaf);
    if (usage != UINT32_MAX && (usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0) {
        return refuse(RefusalReason::leaf_may_sign,
                      "the leaf's keyUsage allows signing certificates or CRLs");
    }
    if (usage == UINT32_MAX || (usage & KU_DIGITAL_SIGNATURE) == 0) {
        return refuse(RefusalReason::key_usage_missing,
                      "the leaf's keyUsage lacks digitalSignature");
    }
    std::uint32_t extended = X509_get_extended_key_usage(leaf);
    std::uint32_t wanted = role == PeerRole::client ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
    if (extended == UINT32_MAX || (extended & wanted) == 0) {
        return refuse(RefusalReason::extended_key_usage,
                      fmt::format("the leaf's extendedKeyUsage lacks {}",
                                  role == PeerRole::client ? "clientAuth" : "serverAuth"));
    }
    return {};
}

std::expected<void, PeerRefusal> check_leaf_times(X509* leaf, WallTime now) {
    if (now < not_before_of(*leaf)) {
        return refuse(RefusalReason::not_yet_valid,
                      fmt::format("the leaf is valid from {}, and it is {}; compare the clocks",
                                  format_time(not_before_of(*leaf)),
                                  format_time(now)));
    }
    if (now > not_after_of(*leaf)) {
        return refuse(RefusalReason::expired,
                      fmt::format("the leaf ended {}, and it is {}; does its node still renew?",
                                  format_time(not_after_of(*leaf)),
                                  format_time(now)));
    }
    return {};
}

PeerRefusal chain_refusal(X509_STORE_CTX* path, const SpiffeId& id) {
    int code = X509_STORE_CTX_get_error(path);
    RefusalReason reason = RefusalReason::untrusted_chain;
    if (code == X509_V_ERR_CERT_HAS_EXPIRED) {
        reason = RefusalReason::expired;
    } else if (code == X509_V_ERR_CERT_NOT_YET_VALID) {
        reason = RefusalReason::not_yet_valid;
    } else if (code == X509_V_ERR_CERT_CHAIN_TOO_LONG) {
        reason = RefusalReason::chain_too_long;
    }
    return PeerRefusal{reason,
                       fmt::format("{}: {} at depth {}; compare the issuer with the roots "
                                   "of trust domain {}",
                                   id.to_string(),
                                   X509_verify_cert_error_string(code),
                                   X509_STORE_CTX_get_error_depth(path),
                                   id.trust_domain)};
}

struct PathDeleter {
    void operator()(X509_STORE_CTX* path) const noexcept { X509_STORE_CTX_free(path); }
};

void set_path_rules(X509_STORE_CTX* path, const PeerCheck& check) {
    X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(path);
    X509_VERIFY_PARAM_set_time(rules, std::chrono::system_clock::to_time_t(check.now));
    X509_VERIFY_PARAM_set_depth(rules, static_cast<int>(limits::tls_chain_certificates_max));
    X509_VERIFY_PARAM_set_auth_level(rules, 2);  // 112 bits: no RSA-1024, no SHA-1
    // With a purpose OpenSSL also checks the extended key usage of every intermediate.
    X509_VERIFY_PARAM_set_purpose(
        rules, check.role == PeerRole::client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
}

// Returns the earliest end of the path that was found.
std::expected<WallTime, PeerRefusal>
check_path(std::span<x509_st* const> chain, const SpiffeId& id, const PeerCheck& check) {
    X509_STORE* roots = store_for(check.bundle->contents(), id.trust_domain);
    if (roots == nullptr) {
        return refuse(RefusalReason::trust_domain_unknown,
                      fmt::format("{}: trust domain {} is neither {} nor an alias nor federated; "
                                  "check trustDomainAliases",
                                  id.to_string(),
                                  id.trust_domain,
                                  check.bundle->local_domain()));
    }
    std::unique_ptr<X509_STORE_CTX, PathDeleter> path(X509_STORE_CTX_new());
    Owned<stack_st_X509> sent(sk_X509_new_null());
    for (x509_st* certificate : chain.subspan(1)) {
        sk_X509_push(sent.get(), certificate);
    }
    if (path == nullptr || sent == nullptr ||
        X509_STORE_CTX_init(path.get(), roots, chain.front(), sent.get()) != 1) {
        return refuse(RefusalReason::untrusted_chain, openssl_reason());
    }
    set_path_rules(path.get(), check);
    bool found = X509_verify_cert(path.get()) == 1;
    ERR_clear_error();
    if (!found) {
        return std::unexpected(chain_refusal(path.get(), id));
    }
    WallTime valid_until = WallTime::max();
    STACK_OF(X509)* used = X509_STORE_CTX_get0_chain(path.get());
    for (int at = 0; at < sk_X509_num(used); ++at) {
        valid_until = std::min(valid_until, not_after_of(*sk_X509_value(used, at)));
    }
    return valid_until;
}

Verdict check_chain(std::span<x509_st* const> chain, const PeerCheck& check) {
    if (auto usage = check_leaf_usage(chain.front(), check.role); !usage) {
        return std::unexpected(usage.error());
    }
    auto id = leaf_identity(*chain.front());
    if (!id) {
        return std::unexpected(id.error());
    }
    if (auto times = check_leaf_times(chain.front(), check.now); !times) {
        return std::unexpected(times.error());
    }
    auto valid_until = check_path(chain, *id, check);
    if (!valid_until) {
        return std::unexpected(valid_until.error());
    }
    return PeerIdentity{std::move(*id), *valid_until};
}

VerdictCache::Key verdict_key(std::span<x509_st* const> chain, const PeerCheck& check) {
    std::array<std::vector<std::uint8_t>, limits::tls_chain_certificates_max> encoded;
    std::array<std::span<const std::uint8_t>, limits::tls_chain_certificates_max + 2> parts;
    std::uint8_t role = static_cast<std::uint8_t>(check.role);
    parts[0] = check.bundle->fingerprint();
    parts[1] = std::span(&role, 1);
    for (std::size_t at = 0; at < chain.size(); ++at) {
        encoded[at] = certificate_der(*chain[at]);
        parts[at + 2] = encoded[at];
    }
    return digest_parts(std::span(parts).first(chain.size() + 2));
}

Verdict check_expectation(PeerIdentity peer, const PeerCheck& check) {
    if (!check.expected->accepts(peer.id, *check.bundle)) {
        return refuse(RefusalReason::unexpected_identity,
                      fmt::format("the peer is {}, expected {}; check the callee's service account",
                                  peer.id.to_string(),
                                  check.expected->describe()));
    }
    return peer;
}

}  // namespace

std::string_view refusal_name(RefusalReason reason) {
    switch (reason) {
    case RefusalReason::no_certificate:
        return "no_certificate";
    case RefusalReason::malformed:
        return "malformed";
    case RefusalReason::chain_too_long:
        return "chain_too_long";
    case RefusalReason::leaf_is_ca:
        return "leaf_is_ca";
    case RefusalReason::leaf_may_sign:
        return "leaf_may_sign";
    case RefusalReason::key_usage_missing:
        return "key_usage_missing";
    case RefusalReason::extended_key_usage:
        return "extended_key_usage";
    case RefusalReason::uri_san_missing:
        return "uri_san_missing";
    case RefusalReason::uri_san_many:
        return "uri_san_many";
    case RefusalReason::not_a_spiffe_id:
        return "not_a_spiffe_id";
    case RefusalReason::trust_domain_unknown:
        return "trust_domain_unknown";
    case RefusalReason::not_yet_valid:
        return "not_yet_valid";
    case RefusalReason::expired:
        return "expired";
    case RefusalReason::untrusted_chain:
        return "untrusted_chain";
    case RefusalReason::unexpected_identity:
        return "unexpected_identity";
    }
    return "unknown";
}

Error PeerRefusal::to_error() const {
    return Error{ErrorKind::unauthenticated,
                 fmt::format("peer refused, {}: {}", refusal_name(reason), detail)};
}

ExpectedPeer ExpectedPeer::any() {
    return {};
}

ExpectedPeer ExpectedPeer::exactly(SpiffeId id) {
    return one_of({std::move(id)});
}

ExpectedPeer ExpectedPeer::one_of(std::vector<SpiffeId> ids) {
    ExpectedPeer expected;
    expected.ids_ = std::make_shared<const std::vector<SpiffeId>>(std::move(ids));
    return expected;
}

bool ExpectedPeer::accepts(const SpiffeId& id, const TrustBundle& bundle) const {
    return ids_ == nullptr || std::ranges::any_of(*ids_, [&](const SpiffeId& wanted) {
               return wanted.ns == id.ns && wanted.service_account == id.service_account &&
                      bundle.same_domain(wanted.trust_domain, id.trust_domain);
           });
}

std::string ExpectedPeer::describe() const {
    if (ids_ == nullptr || ids_->empty()) {
        return ids_ == nullptr ? "any identity of a trusted domain" : "nobody";
    }
    std::string first = ids_->front().to_string();
    return ids_->size() == 1 ? first : fmt::format("{} or {} more", first, ids_->size() - 1);
}

std::expected<SpiffeId, PeerRefusal> leaf_identity(x509_st& leaf) {
    int critical = 0;
    std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(&leaf, NID_subject_alt_name, &critical, nullptr)),
        GENERAL_NAMES_free);
    ERR_clear_error();
    if (names == nullptr && critical != -1) {  // -1: absent, -2: twice, else: does not parse
        return refuse(RefusalReason::malformed, "the leaf's subjectAltName does not parse");
    }
    const ASN1_IA5STRING* only = nullptr;
    for (int at = 0; names != nullptr && at < sk_GENERAL_NAME_num(names.get()); ++at) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), at);
        if (name->type != GEN_URI) {
            continue;
        }
        if (only != nullptr) {
            return refuse(RefusalReason::uri_san_many,
                          "the leaf has more than one URI subjectAltName");
        }
        only = name->d.uniformResourceIdentifier;
    }
    if (only == nullptr) {
        return refuse(RefusalReason::uri_san_missing, "the leaf has no URI subjectAltName");
    }
    std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(only)),
                         static_cast<std::size_t>(ASN1_STRING_length(only)));
    auto id = SpiffeId::parse(uri);
    if (!id) {
        return refuse(RefusalReason::not_a_spiffe_id,
                      fmt::format("URI '{}': {}", printable(uri), id.error().context));
    }
    return std::move(*id);
}

Verdict verify_certificates(std::span<x509_st* const> chain, const PeerCheck& check) {
    if (chain.empty()) {
        return refuse(RefusalReason::no_certificate, "the peer sent no certificate");
    }
    if (chain.size() > limits::tls_chain_certificates_max) {
        return refuse(RefusalReason::chain_too_long,
                      fmt::format("{} certificates, at most {}",
                                  chain.size(),
                                  limits::tls_chain_certificates_max));
    }
    if (check.cache == nullptr) {
        auto peer = check_chain(chain, check);
        return peer ? check_expectation(std::move(*peer), check) : std::move(peer);
    }
    auto key = verdict_key(chain, check);
    if (const PeerIdentity* known = check.cache->find(key, check.now)) {
        return check_expectation(*known, check);
    }
    auto peer = check_chain(chain, check);
    if (!peer) {
        return peer;
    }
    check.cache->insert(key, *peer);
    return check_expectation(std::move(*peer), check);
}

Verdict verify_peer(std::span<const std::span<const std::uint8_t>> chain_der,
                    const PeerCheck& check) {
    if (chain_der.size() > limits::tls_chain_certificates_max) {
        return refuse(RefusalReason::chain_too_long,
                      fmt::format("{} certificates, at most {}",
                                  chain_der.size(),
                                  limits::tls_chain_certificates_max));
    }
    std::vector<Owned<x509_st>> owned;
    std::vector<x509_st*> chain;
    for (auto der : chain_der) {
        const unsigned char* at = der.data();
        Owned<x509_st> parsed(der.size() > limits::tls_certificate_list_bytes_max
                                  ? nullptr
                                  : d2i_X509(nullptr, &at, static_cast<long>(der.size())));
        ERR_clear_error();
        if (parsed == nullptr || at != der.data() + der.size()) {
            return refuse(RefusalReason::malformed,
                          fmt::format("certificate {} of {} is not one DER certificate",
                                      owned.size() + 1,
                                      chain_der.size()));
        }
        chain.push_back(parsed.get());
        owned.push_back(std::move(parsed));
    }
    return verify_certificates(chain, check);
}

}  // namespace orlop::mtls
