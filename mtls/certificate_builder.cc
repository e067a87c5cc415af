#include "mtls/certificate_builder.h"

#include <fmt/core.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace orlop::mtls {
namespace {

std::unexpected<Error> openssl_failure(std::string_view what) {
    return fail(ErrorKind::internal, fmt::format("{}: {}", what, openssl_reason()));
}

enum class Critical : int { no = 0, yes = 1 };

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

// Tells apart roots of one name while they overlap; a plug-in issuer may lack the key id it needs.
bool add_authority_key_id(X509* certificate, X509* issuer) {
    return X509_get0_subject_key_id(issuer) == nullptr ||
           add_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
}

// As a structure, never through OpenSSL's configuration syntax, where a comma starts another SAN.
bool add_uri_san(X509* certificate, std::string_view uri, Critical critical) {
    std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(sk_GENERAL_NAME_new_null(),
                                                                        GENERAL_NAMES_free);
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    if (names == nullptr || name == nullptr || text == nullptr ||
        ASN1_STRING_set(text, uri.data(), static_cast<int>(uri.size())) != 1 ||
        sk_GENERAL_NAME_push(names.get(), name) <= 0) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    return X509_add1_ext_i2d(certificate,
                             NID_subject_alt_name,
                             names.get(),
                             static_cast<int>(critical),
                             X509V3_ADD_DEFAULT) == 1;
}

bool set_random_serial(X509* certificate) {
    std::unique_ptr<BIGNUM, decltype(&BN_free)> number(BN_new(), BN_free);
    return number != nullptr &&
           BN_rand(number.get(), 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_validity(X509* certificate, const Validity& validity) {
    using std::chrono::system_clock;
    return ASN1_TIME_set(X509_getm_notBefore(certificate),
                         system_clock::to_time_t(validity.not_before)) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(certificate),
                         system_clock::to_time_t(validity.not_after)) != nullptr;
}

// X509_set_pubkey looks through all encoders of OpenSSL for a key of a provider, which takes 0.3 ms
// and more, most of the time of issuing. What comes out for P-256 is known. The certificate then
// has no key object of its own until it is parsed.
bool set_public_key(X509* certificate, EVP_PKEY* key) {
    char group[32] = "";
    if (EVP_PKEY_is_a(key, "EC") != 1 ||
        EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1 ||
        std::string_view(group) != SN_X9_62_prime256v1) {
        return X509_set_pubkey(certificate, key) == 1;
    }
    unsigned char* point = nullptr;
    int size = static_cast<int>(EVP_PKEY_get1_encoded_public_key(key, &point));
    bool set = size > 0 && X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(certificate),
                                                  OBJ_nid2obj(NID_X9_62_id_ecPublicKey),
                                                  V_ASN1_OBJECT,
                                                  OBJ_nid2obj(NID_X9_62_prime256v1),
                                                  point,
                                                  size) == 1;
    if (!set) {
        OPENSSL_free(point);
    }
    return set;
}

bool start_certificate(X509* certificate, const Validity& validity) {
    return certificate != nullptr && X509_set_version(certificate, X509_VERSION_3) == 1 &&
           set_random_serial(certificate) && set_validity(certificate, validity);
}

bool sign(X509* certificate, EVP_PKEY* key) {
    bool own_digest = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
    return X509_sign(certificate, key, own_digest ? nullptr : EVP_sha256()) > 0;
}

bool add_name(X509_NAME* name, const char* field, std::string_view value) {
    return X509_NAME_add_entry_by_txt(name,
                                      field,
                                      MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()),
                                      -1,
                                      0) == 1;
}

}  // namespace

Result<Owned<evp_pkey_st>> generate_key() {
    Owned<evp_pkey_st> key(EVP_EC_gen("P-256"));
    if (key == nullptr) {
        return openssl_failure("generating an ECDSA P-256 key");
    }
    return key;
}

Result<Owned<x509_st>>
make_root(evp_pkey_st& key, std::string_view organisation, const Validity& validity) {
    Owned<x509_st> root(X509_new());
    X509* it = root.get();
    bool made = start_certificate(it, validity) && X509_set_pubkey(it, &key) == 1 &&
                add_name(X509_get_subject_name(it), "O", organisation.substr(0, 64)) &&
                add_name(X509_get_subject_name(it), "CN", "orlop root") &&
                X509_set_issuer_name(it, X509_get_subject_name(it)) == 1 &&
                add_extension(it, it, NID_basic_constraints, "critical,CA:TRUE") &&
                add_extension(it, it, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                add_extension(it, it, NID_subject_key_identifier, "hash") && sign(it, &key);
    if (!made) {
        return openssl_failure("making the root certificate");
    }
    return root;
}

Result<Owned<x509_st>>
make_leaf(const LeafRequest& request, x509_st& issuer, evp_pkey_st& issuer_key) {
    Owned<x509_st> leaf(X509_new());
    X509* it = leaf.get();
    bool made = start_certificate(it, request.validity) && set_public_key(it, request.key) &&
                X509_set_issuer_name(it, X509_get_subject_name(&issuer)) == 1 &&
                add_extension(it, &issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(it, &issuer, NID_key_usage, "critical,digitalSignature") &&
                add_extension(it, &issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
                add_authority_key_id(it, &issuer) && add_uri_san(it, request.uri, Critical::yes) &&
                sign(it, &issuer_key);
    if (!made) {
        return openssl_failure(fmt::format("signing the certificate of {}", request.uri));
    }
    return leaf;
}

}  // namespace orlop::mtls
