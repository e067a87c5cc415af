#include "mtls/svid.h"

#include "daemon/base/limits.h"
#include "mtls/openssl.h"

#include <fmt/core.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>

#include <algorithm>

namespace orlop::mtls {
namespace {

Digest fingerprint_of(const std::vector<Owned<x509_st>>& chain) {
    std::vector<std::vector<std::uint8_t>> encoded;
    for (const auto& certificate : chain) {
        encoded.push_back(certificate_der(*certificate));
    }
    std::vector<std::span<const std::uint8_t>> parts(encoded.begin(), encoded.end());
    return digest_parts(parts);
}

}  // namespace

Result<Svid> make_svid(std::vector<Owned<x509_st>> chain, Owned<evp_pkey_st> key) {
    auto identity = leaf_identity(*chain.front());
    if (!identity) {
        return fail(ErrorKind::invalid_input, "SVID: " + identity.error().detail);
    }
    auto material = std::make_shared<SvidMaterial>();
    material->identity = std::move(*identity);
    material->not_before = not_before_of(*chain.front());
    material->not_after = not_after_of(*chain.front());
    for (const auto& certificate : chain) {
        material->not_after = std::min(material->not_after, not_after_of(*certificate));
    }
    material->fingerprint = fingerprint_of(chain);
    material->chain = std::move(chain);
    material->key = std::move(key);
    return Svid(std::move(material));
}

Result<Svid> Svid::from_pem(std::string_view chain_pem, std::string_view key_pem) {
    auto chain = parse_certificates(chain_pem, "SVID chain", limits::tls_chain_certificates_max);
    if (!chain) {
        return std::unexpected(chain.error());
    }
    auto key = parse_private_key(key_pem, "SVID key");
    if (!key) {
        return std::unexpected(key.error());
    }
    bool fits = X509_check_private_key(chain->front().get(), key->get()) == 1;
    auto svid = make_svid(std::move(*chain), std::move(*key));
    if (svid && !fits) {
        openssl_reason();
        return fail(ErrorKind::invalid_input,
                    fmt::format("SVID of {}: the private key does not belong to the certificate; "
                                "take both from the same issue",
                                svid->identity().to_string()));
    }
    return svid;
}

const SpiffeId& Svid::identity() const {
    return material_->identity;
}
WallTime Svid::not_before() const {
    return material_->not_before;
}
WallTime Svid::not_after() const {
    return material_->not_after;
}
const Digest& Svid::fingerprint() const {
    return material_->fingerprint;
}
std::string Svid::key_pem() const {
    return private_key_pem(*material_->key);
}

std::string Svid::serial_hex() const {
    const ASN1_INTEGER* serial = X509_get0_serialNumber(material_->chain.front().get());
    BIGNUM* number = ASN1_INTEGER_to_BN(serial, nullptr);
    char* text = number != nullptr ? BN_bn2hex(number) : nullptr;
    std::string hex = text != nullptr ? text : "";
    OPENSSL_free(text);
    BN_free(number);
    return hex;
}

std::string Svid::chain_pem() const {
    std::string text;
    for (const auto& certificate : material_->chain) {
        text += certificate_pem(*certificate);
    }
    return text;
}

WallTime Svid::renew_at(double jitter) const {
    auto life = std::chrono::duration<double>(not_after() - not_before());
    auto wait = life * (0.5 + std::clamp(jitter, -0.1, 0.1));
    return not_before() + std::chrono::duration_cast<WallTime::duration>(wait);
}

}  // namespace orlop::mtls
