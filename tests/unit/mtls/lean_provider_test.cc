// What lean_provider.h puts in place of the default provider's algorithms gives the same results.
#include "mtls/key_schedule.h"
#include "mtls/lean_provider.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::mtls {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(std::string_view text) {
    Bytes bytes;
    for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
        bytes.push_back(
            static_cast<std::uint8_t>(std::stoi(std::string(text.substr(at, 2)), nullptr, 16)));
    }
    return bytes;
}

// Bytes that differ from place to place and from seed to seed.
Bytes some_bytes(std::size_t count, std::uint8_t seed) {
    Bytes bytes(count);
    for (std::size_t at = 0; at < count; ++at) {
        bytes[at] = static_cast<std::uint8_t>(seed + 37 * at);
    }
    return bytes;
}

struct Derivation {
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    std::string digest = "SHA256";
    std::optional<Bytes> key;
    std::optional<Bytes> salt;
    std::string label;
    Bytes data;
    std::size_t size = 32;
};

// Nothing: refused.
std::optional<Bytes> derive(OSSL_LIB_CTX* library, Derivation wish) {
    std::vector<OSSL_PARAM> parameters{
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &wish.mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, wish.digest.data(), 0)};
    auto add = [&](const char* name, void* data, std::size_t size) {
        parameters.push_back(OSSL_PARAM_construct_octet_string(name, data, size));
    };
    std::string prefix = "tls13 ";
    add(OSSL_KDF_PARAM_PREFIX, prefix.data(), prefix.size());
    add(OSSL_KDF_PARAM_LABEL, wish.label.data(), wish.label.size());
    if (wish.key) {
        add(OSSL_KDF_PARAM_KEY, wish.key->data(), wish.key->size());
    }
    if (wish.salt) {
        add(OSSL_KDF_PARAM_SALT, wish.salt->data(), wish.salt->size());
    }
    if (!wish.data.empty()) {
        add(OSSL_KDF_PARAM_DATA, wish.data.data(), wish.data.size());
    }
    parameters.push_back(OSSL_PARAM_construct_end());
    EVP_KDF* kind = EVP_KDF_fetch(library, OSSL_KDF_NAME_TLS1_3_KDF, nullptr);
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kind);
    Bytes out(wish.size);
    bool done = EVP_KDF_derive(context, out.data(), out.size(), parameters.data()) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kind);
    ERR_clear_error();
    return done ? std::optional(out) : std::nullopt;
}

TEST(KeySchedule, gives_the_secrets_of_rfc_8448) {
    OSSL_LIB_CTX* library = lean_library();
    ASSERT_NE(library, nullptr);
    Derivation step{.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .label = "derived"};
    auto early = derive(library, step);
    EXPECT_EQ(early, from_hex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"));
    step.salt = early;
    step.key = from_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
    auto handshake = derive(library, step);
    EXPECT_EQ(handshake,
              from_hex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"));
    step.salt = handshake;
    step.key.reset();
    EXPECT_EQ(derive(library, step),
              from_hex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"));
}

TEST(KeySchedule, agrees_with_openssl_for_every_size) {
    struct Digest {
        const char* name;
        std::size_t bytes;
    };
    for (const Digest& digest : {Digest{"SHA256", 32}, Digest{"SHA384", 48}}) {
        for (std::size_t size : {1U, 12U, 16U, 32U, 33U, 48U, 64U, 200U, 255U * 32U}) {
            for (std::size_t context : {0U, 32U, 48U, 200U}) {
                Derivation wish{.digest = digest.name,
                                .key = some_bytes(digest.bytes, static_cast<std::uint8_t>(size)),
                                .label = "c hs traffic",
                                .data = some_bytes(context, 3),
                                .size = size};
                auto expected = derive(nullptr, wish);
                ASSERT_TRUE(expected.has_value());
                EXPECT_EQ(derive(lean_library(), wish), expected)
                    << digest.name << " " << size << " " << context;
            }
        }
        Derivation step{.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                        .digest = digest.name,
                        .key = some_bytes(66, 1),
                        .salt = some_bytes(digest.bytes, 2),
                        .label = "derived",
                        .size = digest.bytes};
        EXPECT_EQ(derive(lean_library(), step), derive(nullptr, step)) << digest.name;
    }
}

TEST(KeySchedule, refuses_what_it_does_not_know) {
    const Derivation good{.key = some_bytes(32, 1), .label = "key"};
    ASSERT_TRUE(derive(lean_library(), good).has_value());
    auto refused = [&](auto change) {
        Derivation wish = good;
        change(wish);
        return !derive(lean_library(), wish).has_value();
    };
    EXPECT_TRUE(refused([](Derivation& wish) { wish.digest = "SHA512"; }));
    EXPECT_TRUE(
        refused([](Derivation& wish) { wish.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND; }));
    EXPECT_TRUE(refused([](Derivation& wish) { wish.key.reset(); }));
    EXPECT_TRUE(refused([](Derivation& wish) { wish.label.assign(250, 'x'); }));
    EXPECT_TRUE(refused([](Derivation& wish) { wish.data.assign(256, 0); }));
    EXPECT_TRUE(refused([](Derivation& wish) { wish.size = 255 * 32 + 1; }));
    EXPECT_TRUE(refused([](Derivation& wish) {
        wish.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
        wish.salt = some_bytes(31, 1);
    }));
}

Bytes raw(EVP_PKEY* key, int (*get)(const EVP_PKEY*, unsigned char*, std::size_t*)) {
    Bytes bytes(32);
    std::size_t size = bytes.size();
    return get(key, bytes.data(), &size) == 1 && size == bytes.size() ? bytes : Bytes();
}

TEST(EphemeralKeys, have_the_public_key_that_openssl_computes) {
    ASSERT_TRUE(has_ephemeral_keys());
    Bytes last;
    for (int turn = 0; turn < 50; ++turn) {
        EVP_PKEY* ours = EVP_PKEY_Q_keygen(lean_library(), nullptr, "X25519");
        ASSERT_NE(ours, nullptr);
        Bytes secret = raw(ours, EVP_PKEY_get_raw_private_key);
        ASSERT_EQ(secret.size(), 32U);
        EXPECT_NE(secret, last);
        EXPECT_EQ(secret.front() & 7, 0);
        EXPECT_EQ(secret.back() & 0xc0, 0x40);
        EVP_PKEY* theirs = EVP_PKEY_new_raw_private_key_ex(
            nullptr, "X25519", nullptr, secret.data(), secret.size());
        EXPECT_EQ(raw(ours, EVP_PKEY_get_raw_public_key), raw(theirs, EVP_PKEY_get_raw_public_key));
        EVP_PKEY_free(theirs);
        EVP_PKEY_free(ours);
        last = secret;
    }
}

}  // namespace
}  // namespace orlop::mtls
