#include "mtls/lean_ciphers.h"
#include "mtls/lean_provider.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <array>
#include <memory>
#include <string>

namespace orlop::mtls {
namespace {

using Cipher = std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)>;
using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
using Block = std::array<unsigned char, 32>;

struct Sealed {
    Block bytes{};
    std::array<unsigned char, 16> tag{};
    bool operator==(const Sealed&) const = default;
};

// The same bytes with the algorithm of `library`, in the order of calls of a TLS record.
Sealed seal(OSSL_LIB_CTX* library, const char* name) {
    Cipher cipher(EVP_CIPHER_fetch(library, name, nullptr), &EVP_CIPHER_free);
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    Block key{1, 2, 3}, text{4, 5, 6};
    std::array<unsigned char, 12> nonce{7, 8, 9};
    std::array<unsigned char, 5> header{23, 3, 3, 0, 48};
    Sealed sealed;
    int length = 0;
    EXPECT_EQ(EVP_CipherInit_ex(context.get(), cipher.get(), nullptr, key.data(), nullptr, 1), 1);
    EXPECT_EQ(EVP_CIPHER_CTX_get_iv_length(context.get()), 12);
    EXPECT_EQ(EVP_CipherInit_ex(context.get(), nullptr, nullptr, nullptr, nonce.data(), 1), 1);
    EXPECT_EQ(EVP_CipherUpdate(context.get(), nullptr, &length, header.data(), header.size()), 1);
    EXPECT_EQ(
        EVP_CipherUpdate(context.get(), sealed.bytes.data(), &length, text.data(), text.size()), 1);
    EXPECT_EQ(EVP_CipherFinal_ex(context.get(), sealed.bytes.data() + length, &length), 1);
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(
                  context.get(), EVP_CTRL_AEAD_GET_TAG, sealed.tag.size(), sealed.tag.data()),
              1);
    return sealed;
}

class LeanCiphers : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Of_tls_1_3,
                         LeanCiphers,
                         testing::Values("AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"),
                         [](const auto& info) {
                             std::string name = info.param;
                             std::erase(name, '-');
                             return name;
                         });

TEST_P(LeanCiphers, seal_as_the_default_provider_does) {
    ASSERT_NE(lean_library(), nullptr);
    EXPECT_EQ(seal(lean_library(), GetParam()), seal(nullptr, GetParam()));
}

TEST_P(LeanCiphers, refuse_a_nonce_of_another_length) {
    Cipher cipher(EVP_CIPHER_fetch(lean_library(), GetParam(), nullptr), &EVP_CIPHER_free);
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    ASSERT_EQ(EVP_EncryptInit_ex2(context.get(), cipher.get(), nullptr, nullptr, nullptr), 1);
    auto set_length = [&](std::size_t length) {
        std::array parameters{OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &length),
                              OSSL_PARAM_construct_end()};
        return EVP_CIPHER_CTX_set_params(context.get(), parameters.data());
    };
    EXPECT_EQ(set_length(12), 1);
    EXPECT_EQ(set_length(8), 0);
    EXPECT_EQ(set_length(16), 0);
    EXPECT_EQ(EVP_CIPHER_CTX_get_iv_length(context.get()), 12);
}

TEST_P(LeanCiphers, answer_every_other_question_as_before) {
    Cipher cipher(EVP_CIPHER_fetch(lean_library(), GetParam(), nullptr), &EVP_CIPHER_free);
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    ASSERT_EQ(EVP_EncryptInit_ex2(context.get(), cipher.get(), nullptr, nullptr, nullptr), 1);
    std::size_t nonce = 0, key = 0;
    std::array both{OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_KEYLEN, &key),
                    OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &nonce),
                    OSSL_PARAM_construct_end()};
    ASSERT_EQ(EVP_CIPHER_CTX_get_params(context.get(), both.data()), 1);
    EXPECT_EQ(nonce, 12u);
    EXPECT_EQ(key, static_cast<std::size_t>(EVP_CIPHER_get_key_length(cipher.get())));
}

}  // namespace
}  // namespace orlop::mtls
