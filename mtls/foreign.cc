// TLS with peers outside the mesh: the certificates and names that TlsTerms give, TLS 1.2 and 1.3.
//
// It uses OpenSSL's default library context: certificates of strangers may have keys and
// signatures that the mesh's own short list (lean_provider.h) leaves out.
#include "daemon/base/limits.h"
#include "mtls/context.h"
#include "mtls/openssl.h"
#include "mtls/session_hooks.h"
#include "mtls/session_parts.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

namespace orlop::mtls {
namespace {

std::unexpected<Error> refuse(const TlsTerms& terms, std::string_view what) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {}", terms.label, what));
}

int protocol_number(TlsVersion version) {
    return version == TlsVersion::tls1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

bool set_foreign_protocol(SSL_CTX* tls, const TlsTerms& terms) {
    SSL_CTX_set_options(tls,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                            SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(tls,
                     SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_max_cert_list(tls, limits::tls_certificate_list_bytes_max);
    // Nothing is resumed: a peer's certificate is judged in every handshake.
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_num_tickets(tls, 0) == 1 &&
           SSL_CTX_set_min_proto_version(tls, protocol_number(terms.version_min)) == 1 &&
           SSL_CTX_set_max_proto_version(tls, protocol_number(terms.version_max)) == 1 &&
           SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") == 1;
}

Result<void> use_certificate(SSL_CTX* tls, const TlsTerms& terms) {
    if (terms.certificates.empty() && terms.private_key.empty()) {
        return {};
    }
    auto chain =
        parse_certificates(terms.certificates, "certificate", limits::tls_chain_certificates_max);
    if (!chain) {
        return refuse(terms, chain.error().context);
    }
    auto key = parse_private_key(terms.private_key, "private key");
    if (!key) {
        return refuse(terms, key.error().context);
    }
    if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
        openssl_reason();
        return refuse(terms, "the private key does not belong to the certificate");
    }
    bool used = SSL_CTX_use_certificate(tls, chain->front().get()) == 1 &&
                SSL_CTX_use_PrivateKey(tls, key->get()) == 1;
    for (std::size_t at = 1; used && at < chain->size(); ++at) {
        used = SSL_CTX_add1_chain_cert(tls, (*chain)[at].get()) == 1;
    }
    return used ? Result<void>() : refuse(terms, "certificate: " + openssl_reason());
}

// Read once: the operating system's list is long, and the same for everybody.
X509_STORE* system_roots() {
    static X509_STORE* const store = [] {
        X509_STORE* made = X509_STORE_new();
        if (made != nullptr) {
            X509_STORE_set_default_paths(made);
        }
        ERR_clear_error();
        return made;
    }();
    return store;
}

Result<void> use_roots(SSL_CTX* tls, const TlsTerms& terms) {
    if (terms.roots.empty()) {
        X509_STORE* store = system_roots();
        if (store == nullptr || X509_STORE_up_ref(store) != 1) {
            return refuse(terms, "the operating system's CA certificates cannot be read");
        }
        SSL_CTX_set_cert_store(tls, store);
        return {};
    }
    auto roots =
        parse_certificates(terms.roots, "CA certificates", limits::tls_roots_per_domain_max);
    if (!roots) {
        return refuse(terms, roots.error().context);
    }
    X509_STORE* store = SSL_CTX_get_cert_store(tls);
    for (const auto& root : *roots) {
        if (X509_STORE_add_cert(store, root.get()) != 1) {
            return refuse(terms, "CA certificates: " + openssl_reason());
        }
        // Clients choose their certificate by the names of the CAs that we believe.
        if (terms.role == TlsRole::server) {
            SSL_CTX_add_client_CA(tls, root.get());
        }
    }
    // What the user lists is trusted as it is: an intermediate needs no root above it.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return {};
}

int verify_mode(const TlsTerms& terms) {
    switch (terms.peer) {
    case TlsPeer::unchecked:
        return SSL_VERIFY_NONE;
    case TlsPeer::optional:
        return SSL_VERIFY_PEER;
    case TlsPeer::required:
        break;
    }
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

// A client that speaks other protocols only is served without ALPN, as Envoy does.
int offer_alpn(SSL* ssl,
               const unsigned char** chosen,
               unsigned char* chosen_size,
               const unsigned char* offered,
               unsigned offered_size,
               void* context_parts) {
    int found = select_alpn(ssl, chosen, chosen_size, offered, offered_size, context_parts);
    return found == SSL_TLSEXT_ERR_OK ? found : SSL_TLSEXT_ERR_NOACK;
}

void use_alpn(ContextParts& parts, SSL_CTX* tls) {
    if (parts.alpn_wire.empty()) {
        return;
    }
    SSL_CTX_set_alpn_select_cb(tls, offer_alpn, &parts);
    SSL_CTX_set_alpn_protos(tls,
                            reinterpret_cast<const unsigned char*>(parts.alpn_wire.data()),
                            static_cast<unsigned>(parts.alpn_wire.size()));
}

// RFC 6125: SANs only, the subject's common name never counts.
bool has_uri(x509_st* certificate, const std::string& wanted) {
    auto* names = static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    bool found = false;
    for (int at = 0; names != nullptr && at < sk_GENERAL_NAME_num(names); ++at) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, at);
        if (name->type != GEN_URI) {
            continue;
        }
        const auto* text =
            reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
        auto size = static_cast<std::size_t>(ASN1_STRING_length(name->d.uniformResourceIdentifier));
        found = found || std::string_view(text, size) == wanted;
    }
    GENERAL_NAMES_free(names);
    return found;
}

bool has_name(x509_st* certificate, const std::string& wanted) {
    constexpr unsigned flags =
        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    return X509_check_host(certificate, wanted.data(), wanted.size(), flags, nullptr) == 1 ||
           X509_check_ip_asc(certificate, wanted.c_str(), 0) == 1 || has_uri(certificate, wanted);
}

RefusalReason reason_of(int code) {
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return RefusalReason::expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return RefusalReason::not_yet_valid;
    case X509_V_ERR_INVALID_PURPOSE:
        return RefusalReason::extended_key_usage;
    default:
        return RefusalReason::untrusted_chain;
    }
}

}  // namespace

int verify_foreign_in_handshake(x509_store_ctx_st* path, void*) {
    auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(path, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto& session = *static_cast<SessionParts*>(SSL_get_app_data(ssl));
    const TlsTerms& terms = *session.context->parts().foreign;
    if (terms.peer == TlsPeer::unchecked) {
        X509_STORE_CTX_set_error(path, X509_V_OK);
        return 1;
    }
    X509_STORE_CTX_set_time(path, 0, std::chrono::system_clock::to_time_t(session.now));
    if (X509_verify_cert(path) != 1) {
        int code = X509_STORE_CTX_get_error(path);
        const char* hint = terms.roots.empty() ? "the operating system's CAs"
                                               : "the CA certificates that are configured";
        session.refusal = PeerRefusal{
            reason_of(code),
            fmt::format(
                "{}: {} (judged by {})", terms.label, X509_verify_cert_error_string(code), hint)};
        return 0;
    }
    x509_st* leaf = X509_STORE_CTX_get0_cert(path);
    bool known = terms.peer_names.empty() ||
                 std::ranges::any_of(terms.peer_names,
                                     [&](const auto& name) { return has_name(leaf, name); });
    if (!known) {
        X509_STORE_CTX_set_error(path, X509_V_ERR_HOSTNAME_MISMATCH);
        session.refusal = PeerRefusal{
            RefusalReason::unexpected_identity,
            fmt::format("{}: the certificate has none of the names [{}]; see subjectAltNames",
                        terms.label,
                        fmt::join(terms.peer_names, ", "))};
        return 0;
    }
    // Only what the mesh's own roots vouch for is an identity of the mesh. A certificate of theirs
    // without a SPIFFE ID is let in as one who has none.
    if (terms.mesh_identity && terms.role == TlsRole::server) {
        if (auto id = leaf_identity(*leaf)) {
            session.peer = PeerIdentity{*std::move(id), not_after_of(*leaf)};
        }
    }
    return 1;
}

Result<std::shared_ptr<TlsContext>> TlsContext::create_foreign(TlsTermsPtr terms) {
    auto alpn = encode_alpn(terms->alpn);
    if (!alpn) {
        return refuse(*terms, alpn.error().context);
    }
    ERR_clear_error();
    auto parts = std::make_unique<ContextParts>(
        ContextParts{{Svid(nullptr)}, std::move(*alpn), nullptr, nullptr, {}, terms});
    bool server = terms->role == TlsRole::server;
    auto& made = server ? parts->server : parts->client;
    made.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
    if (made == nullptr || !set_foreign_protocol(made.get(), *terms)) {
        return refuse(*terms, "OpenSSL refused a setting: " + openssl_reason());
    }
    SSL_CTX* tls = made.get();
    if (server && terms->certificates.empty()) {
        return refuse(*terms, "a server needs a certificate");
    }
    if (auto used = use_certificate(tls, *terms); !used) {
        return std::unexpected(used.error());
    }
    if (terms->peer != TlsPeer::unchecked) {
        if (auto used = use_roots(tls, *terms); !used) {
            return std::unexpected(used.error());
        }
    }
    SSL_CTX_set_verify(tls, verify_mode(*terms), nullptr);
    SSL_CTX_set_cert_verify_callback(tls, verify_foreign_in_handshake, nullptr);
    SSL_CTX_set_msg_callback(tls, count_message);
    use_alpn(*parts, tls);
    return std::make_shared<TlsContext>(std::move(parts));
}

}  // namespace orlop::mtls
