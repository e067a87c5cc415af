#include "mtls/context.h"

#include "daemon/base/limits.h"
#include "mtls/lean_provider.h"
#include "mtls/openssl.h"
#include "mtls/session_hooks.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstring>

namespace orlop::mtls {

Result<std::string> encode_alpn(const std::vector<std::string>& names) {
    std::string wire;
    for (const auto& name : names) {
        if (name.empty() || name.size() > 255) {
            return fail(ErrorKind::invalid_input, "ALPN: a name must have 1 to 255 bytes");
        }
        wire += static_cast<char>(name.size());
        wire += name;
    }
    return wire;
}

int select_alpn(SSL*,
                const unsigned char** chosen,
                unsigned char* chosen_size,
                const unsigned char* offered,
                unsigned offered_size,
                void* context_parts) {
    const auto& ours = static_cast<ContextParts*>(context_parts)->alpn_wire;
    unsigned char* name = nullptr;
    int found = SSL_select_next_proto(&name,
                                      chosen_size,
                                      reinterpret_cast<const unsigned char*>(ours.data()),
                                      static_cast<unsigned>(ours.size()),
                                      offered,
                                      offered_size);
    *chosen = name;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

namespace {

std::unexpected<Error> openssl_failure(const Svid& svid, std::string_view what) {
    return fail(
        ErrorKind::internal,
        fmt::format(
            "TLS context of {}: {}: {}", svid.identity().to_string(), what, openssl_reason()));
}

// Deep copies: the reference counts of an Svid's objects would be shared with the other cores.
bool use_svid(SSL_CTX* tls, const SvidMaterial& material) {
    Owned<evp_pkey_st> key(EVP_PKEY_dup(material.key.get()));
    Owned<x509_st> leaf(X509_dup(material.chain.front().get()));
    if (key == nullptr || leaf == nullptr || SSL_CTX_use_certificate(tls, leaf.get()) != 1 ||
        SSL_CTX_use_PrivateKey(tls, key.get()) != 1) {
        return false;
    }
    for (std::size_t at = 1; at < material.chain.size(); ++at) {
        Owned<x509_st> intermediate(X509_dup(material.chain[at].get()));
        if (intermediate == nullptr || SSL_CTX_add1_chain_cert(tls, intermediate.get()) != 1) {
            return false;
        }
    }
    return true;
}

bool set_protocol(SSL_CTX* tls) {
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // Both ends know TLS 1.3: no fake ChangeCipherSpec records for middleboxes.
    SSL_CTX_clear_options(tls, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    // NO_AUTO_CHAIN: else OpenSSL searches a chain for our own leaf in every handshake.
    SSL_CTX_set_mode(tls,
                     SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_max_cert_list(tls, limits::tls_certificate_list_bytes_max);
    SSL_CTX_set_max_early_data(tls, 0);
    SSL_CTX_set_recv_max_early_data(tls, 0);
    // P-256 leaves are ours; the others let peers of other meshes in (Istio issues RSA-2048, and
    // rsa_pkcs1 only counts for signatures inside certificates, RFC 8446 §4.2.3).
    constexpr const char* signatures =
        "ecdsa_secp256r1_sha256:ed25519:ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:"
        "rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384";
    return SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(tls, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(tls,
                                    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                    "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set1_groups_list(tls, "X25519:P-256") == 1 &&
           SSL_CTX_set1_sigalgs_list(tls, signatures) == 1;
}

// Sessions resume only under the very same identity, certificate, trust and policy.
Digest session_scope(const ContextOptions& options) {
    std::uint8_t generation[sizeof options.policy_generation];
    std::memcpy(generation, &options.policy_generation, sizeof generation);
    const std::array<std::span<const std::uint8_t>, 3> parts{
        options.svid.fingerprint(), options.bundle->fingerprint(), generation};
    return digest_parts(parts);
}

bool set_resumption(SSL_CTX* client, SSL_CTX* server, const Digest& scope) {
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, store_client_session);
    // Stateful tickets: the whole peer chain stays here and is checked again on resumption, and
    // nothing an old key could open ever leaves the process.
    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(server, limits::tls_server_sessions_max);
    SSL_CTX_set_timeout(client, limits::tls_session_lifetime_s);
    SSL_CTX_set_timeout(server, limits::tls_session_lifetime_s);
    return SSL_CTX_set_num_tickets(server, 1) == 1 &&
           SSL_CTX_set_session_id_context(server, scope.data(), scope.size()) == 1;
}

bool configure(ContextParts& parts) {
    SSL_CTX* client = parts.client.get();
    SSL_CTX* server = parts.server.get();
    for (SSL_CTX* tls : {client, server}) {
        if (!set_protocol(tls) || !use_svid(tls, parts.options.svid.material())) {
            return false;
        }
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        SSL_CTX_set_cert_verify_callback(tls, verify_peer_in_handshake, nullptr);
        SSL_CTX_set_msg_callback(tls, count_message);
    }
    SSL_CTX_set_alpn_select_cb(server, select_alpn, &parts);
    // Returns 0 for success, unlike its neighbours.
    bool alpn =
        SSL_CTX_set_alpn_protos(client,
                                reinterpret_cast<const unsigned char*>(parts.alpn_wire.data()),
                                static_cast<unsigned>(parts.alpn_wire.size())) == 0;
    return alpn && set_resumption(client, server, session_scope(parts.options));
}

}  // namespace

ssl_session_st* ClientSessions::find(const std::string& key) {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) {
        return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second.get();
}

void ClientSessions::insert(const std::string& key, Owned<ssl_session_st> session) {
    erase(key);
    if (entries_.size() == limits::tls_client_sessions_max) {
        by_key_.erase(entries_.back().first);
        entries_.pop_back();
    }
    entries_.emplace_front(key, std::move(session));
    by_key_.emplace(key, entries_.begin());
}

void ClientSessions::erase(const std::string& key) {
    auto found = by_key_.find(key);
    if (found != by_key_.end()) {
        entries_.erase(found->second);
        by_key_.erase(found);
    }
}

Result<std::shared_ptr<TlsContext>> TlsContext::create(ContextOptions options) {
    if (options.bundle == nullptr) {
        return fail(ErrorKind::invalid_input, "TLS context: no trust bundle");
    }
    auto alpn = encode_alpn(options.alpn);
    if (!alpn || alpn->empty()) {
        return alpn ? fail(ErrorKind::invalid_input, "TLS context: no ALPN name")
                    : std::unexpected(alpn.error());
    }
    if (options.verdicts == nullptr) {
        options.verdicts = std::make_shared<VerdictCache>(limits::tls_verdicts_max);
    }
    ERR_clear_error();
    auto parts = std::make_unique<ContextParts>(
        ContextParts{std::move(options), std::move(*alpn), nullptr, nullptr, {}, nullptr});
    parts->client.reset(SSL_CTX_new_ex(lean_library(), nullptr, TLS_client_method()));
    parts->server.reset(SSL_CTX_new_ex(lean_library(), nullptr, TLS_server_method()));
    if (parts->client == nullptr || parts->server == nullptr || !configure(*parts)) {
        return openssl_failure(parts->options.svid, "OpenSSL refused a setting");
    }
    return std::make_shared<TlsContext>(std::move(parts));
}

TlsContext::TlsContext(std::unique_ptr<ContextParts> parts) : parts_(std::move(parts)) {}
TlsContext::~TlsContext() = default;

const Svid& TlsContext::svid() const {
    return parts_->options.svid;
}
const TrustBundle& TlsContext::bundle() const {
    return *parts_->options.bundle;
}
std::uint64_t TlsContext::policy_generation() const {
    return parts_->options.policy_generation;
}
std::size_t TlsContext::client_sessions() const {
    return parts_->client_sessions.size();
}

bool TlsContext::outdated_by(const Svid& svid,
                             const TrustBundle& bundle,
                             std::uint64_t generation) const {
    return svid.fingerprint() != this->svid().fingerprint() ||
           bundle.fingerprint() != this->bundle().fingerprint() ||
           generation != policy_generation();
}

}  // namespace orlop::mtls
