// Certificates as wrong as a test needs them, and two sessions joined in memory.
#pragma once

#include "mtls/ca.h"
#include "mtls/certificate_builder.h"
#include "mtls/context.h"
#include "mtls/session.h"

#include <gtest/gtest.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace orlop::mtls::testing {

inline const WallTime now = std::chrono::system_clock::from_time_t(1'800'000'000);
inline constexpr auto hour = std::chrono::hours(1);

inline SpiffeId identity(const std::string& account, const std::string& domain = "cluster.local") {
    return {domain, "shop", account};
}

inline CertificateAuthority new_ca() {
    return CertificateAuthority::create_in_memory("cluster.local", now).value();
}

inline std::shared_ptr<const TrustBundle> bundle_of(const CertificateAuthority& ca,
                                                    std::vector<std::string> aliases = {},
                                                    const std::string& domain = "cluster.local") {
    return TrustBundle::create({domain, std::move(aliases), {{domain, ca.roots_pem()}}}).value();
}

// One thing at a time may be wrong; the defaults make a good SVID.
struct Craft {
    std::vector<std::string> uris = {"spiffe://cluster.local/ns/shop/sa/cart"};
    const char* basic_constraints = "critical,CA:FALSE";
    const char* key_usage = "critical,digitalSignature";
    const char* extended_key_usage = "serverAuth,clientAuth";
    std::string dns;
    WallTime not_before = now - hour;
    WallTime not_after = now + hour;
};

inline void set_extension(X509* certificate, int nid, const char* value) {
    if (value == nullptr) {
        return;
    }
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    ASSERT_NE(extension, nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

inline void set_names(X509* certificate, const Craft& craft) {
    GENERAL_NAMES* names = sk_GENERAL_NAME_new_null();
    auto add = [&](int type, const std::string& text) {
        GENERAL_NAME* name = GENERAL_NAME_new();
        ASN1_IA5STRING* value = ASN1_IA5STRING_new();
        ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
        GENERAL_NAME_set0_value(name, type, value);
        sk_GENERAL_NAME_push(names, name);
    };
    for (const auto& uri : craft.uris) {
        add(GEN_URI, uri);
    }
    if (!craft.dns.empty()) {
        add(GEN_DNS, craft.dns);
    }
    if (sk_GENERAL_NAME_num(names) != 0) {
        X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT);
    }
    GENERAL_NAMES_free(names);
}

struct Issuer {
    Owned<evp_pkey_st> key;
    Owned<x509_st> certificate;

    std::string pem() const { return certificate_pem(*certificate); }
};

inline Issuer new_issuer(const std::string& name = "root", WallTime not_after = now + 100 * hour) {
    Issuer issuer{generate_key().value(), nullptr};
    issuer.certificate = make_root(*issuer.key, name, {now - hour, not_after}).value();
    return issuer;
}

inline Issuer signed_by(const Issuer& parent, const Craft& craft, const std::string& name = "") {
    Issuer made{generate_key().value(), Owned<x509_st>(X509_new())};
    X509* it = made.certificate.get();
    X509_set_version(it, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(it), 7);
    ASN1_TIME_set(X509_getm_notBefore(it), std::chrono::system_clock::to_time_t(craft.not_before));
    ASN1_TIME_set(X509_getm_notAfter(it), std::chrono::system_clock::to_time_t(craft.not_after));
    X509_set_pubkey(it, made.key.get());
    X509_set_issuer_name(it, X509_get_subject_name(parent.certificate.get()));
    if (!name.empty()) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(it),
                                   "CN",
                                   MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(name.data()),
                                   -1,
                                   -1,
                                   0);
    }
    set_extension(it, NID_basic_constraints, craft.basic_constraints);
    set_extension(it, NID_key_usage, craft.key_usage);
    set_extension(it, NID_ext_key_usage, craft.extended_key_usage);
    set_names(it, craft);
    X509_sign(it, parent.key.get(), EVP_sha256());
    return made;
}

inline Craft intermediate_craft() {
    Craft craft;
    craft.uris.clear();
    craft.basic_constraints = "critical,CA:TRUE";
    craft.key_usage = "critical,keyCertSign";
    craft.extended_key_usage = nullptr;
    return craft;
}

inline std::expected<PeerIdentity, PeerRefusal>
verify(std::vector<const x509_st*> chain,
       const TrustBundle& bundle,
       const ExpectedPeer& expected = ExpectedPeer::any(),
       PeerRole role = PeerRole::client,
       VerdictCache* cache = nullptr,
       WallTime at = now) {
    std::vector<std::vector<std::uint8_t>> encoded;
    for (const auto* certificate : chain) {
        encoded.push_back(certificate_der(*certificate));
    }
    std::vector<std::span<const std::uint8_t>> spans(encoded.begin(), encoded.end());
    return verify_peer(spans, {&bundle, role, &expected, at, cache});
}

inline std::string reason(const std::expected<PeerIdentity, PeerRefusal>& verdict) {
    return verdict ? "accepted" : std::string(refusal_name(verdict.error().reason));
}

inline std::shared_ptr<TlsContext> context_of(const Svid& svid,
                                              std::shared_ptr<const TrustBundle> bundle,
                                              std::uint64_t generation = 1) {
    ContextOptions options{svid, std::move(bundle), {"h2"}, generation, nullptr};
    return TlsContext::create(std::move(options)).value();
}

using Bytes = std::vector<std::uint8_t>;

inline Bytes drain(TlsSession& session) {
    Bytes all;
    std::uint8_t buffer[4096];
    while (session.has_output()) {
        auto sent = session.send({}, buffer);
        all.insert(all.end(), buffer, buffer + sent.value().produced);
    }
    return all;
}

// Feeds `bytes` in pieces and returns the plaintext that came out; stops at an error.
inline Bytes
feed(TlsSession& session, std::span<const std::uint8_t> bytes, std::size_t piece = SIZE_MAX) {
    Bytes plain;
    std::uint8_t buffer[20'000];
    while (!bytes.empty()) {
        auto part = bytes.first(std::min(piece, bytes.size()));
        auto got = session.receive(part, buffer);
        if (!got) {
            return plain;
        }
        plain.insert(plain.end(), buffer, buffer + got->produced);
        EXPECT_TRUE(got->consumed != 0 || got->produced != 0);
        bytes = bytes.subspan(got->consumed);
    }
    while (session.has_plaintext()) {
        auto got = session.receive({}, buffer);
        plain.insert(plain.end(), buffer, buffer + got.value().produced);
    }
    return plain;
}

inline void shake_hands(TlsSession& client, TlsSession& server, std::size_t piece = SIZE_MAX) {
    for (int flight = 0; flight < 6; ++flight) {
        feed(server, drain(client), piece);
        feed(client, drain(server), piece);
    }
}

inline TlsSession client_of(const std::shared_ptr<TlsContext>& context,
                            ExpectedPeer expected = ExpectedPeer::any(),
                            std::string key = "") {
    return TlsSession::client(context, {std::move(expected), std::move(key), now}).value();
}
inline TlsSession server_of(const std::shared_ptr<TlsContext>& context,
                            ExpectedPeer expected = ExpectedPeer::any()) {
    return TlsSession::server(context, {std::move(expected), now}).value();
}

inline Bytes seal(TlsSession& session, std::span<const std::uint8_t> plain) {
    Bytes all;
    Bytes buffer(tls_record_room_bytes);
    while (!plain.empty() || session.has_output()) {
        auto sent = session.send(plain, buffer).value();
        all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<long>(sent.produced));
        plain = plain.subspan(sent.consumed);
    }
    return all;
}

inline Bytes bytes_of(std::string_view text) {
    return {text.begin(), text.end()};
}

}  // namespace orlop::mtls::testing
