#include "mtls/lean_ciphers.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <array>
#include <cstddef>
#include <string_view>

namespace orlop::mtls {
namespace {

constexpr std::size_t nonce_bytes = 12;

// One cipher's functions: the provider's, but for the two that stand in front of the same two.
struct Front {
    std::string_view name;
    std::vector<OSSL_DISPATCH> functions;
    OSSL_FUNC_cipher_get_ctx_params_fn* get = nullptr;
    OSSL_FUNC_cipher_set_ctx_params_fn* set = nullptr;
};

std::array<Front, 3>& fronts() {
    static std::array<Front, 3> all{
        Front{"AES-128-GCM"}, Front{"AES-256-GCM"}, Front{"ChaCha20-Poly1305"}};
    return all;
}

bool asks_nonce_length_only(const OSSL_PARAM* parameters) {
    return parameters[0].key != nullptr && parameters[1].key == nullptr &&
           std::string_view(parameters[0].key) == OSSL_CIPHER_PARAM_IVLEN;
}

template <std::size_t Which> int get(void* context, OSSL_PARAM* parameters) {
    if (asks_nonce_length_only(parameters)) {
        return OSSL_PARAM_set_size_t(parameters, nonce_bytes);
    }
    return fronts()[Which].get(context, parameters);
}

template <std::size_t Which> int set(void* context, const OSSL_PARAM* parameters) {
    const OSSL_PARAM* length = OSSL_PARAM_locate_const(parameters, OSSL_CIPHER_PARAM_IVLEN);
    std::size_t wanted = nonce_bytes;
    if (length != nullptr &&
        (OSSL_PARAM_get_size_t(length, &wanted) != 1 || wanted != nonce_bytes)) {
        return 0;
    }
    return fronts()[Which].set(context, parameters);
}

template <std::size_t Which> void put_in_front(OSSL_ALGORITHM& cipher) {
    Front& front = fronts()[Which];
    for (const OSSL_DISPATCH* each = cipher.implementation; each->function_id != 0; ++each) {
        OSSL_DISPATCH ours = *each;
        if (each->function_id == OSSL_FUNC_CIPHER_GET_CTX_PARAMS) {
            front.get = OSSL_FUNC_cipher_get_ctx_params(each);
            ours.function = reinterpret_cast<void (*)()>(get<Which>);
        } else if (each->function_id == OSSL_FUNC_CIPHER_SET_CTX_PARAMS) {
            front.set = OSSL_FUNC_cipher_set_ctx_params(each);
            ours.function = reinterpret_cast<void (*)()>(set<Which>);
        }
        front.functions.push_back(ours);
    }
    front.functions.push_back({0, nullptr});
    cipher.implementation = front.functions.data();
}

}  // namespace

void answer_nonce_length(std::vector<OSSL_ALGORITHM>& ciphers) {
    for (OSSL_ALGORITHM& cipher : ciphers) {
        std::string_view names = cipher.algorithm_names != nullptr ? cipher.algorithm_names : "";
        std::string_view name = names.substr(0, names.find(':'));
        if (name == fronts()[0].name) {
            put_in_front<0>(cipher);
        } else if (name == fronts()[1].name) {
            put_in_front<1>(cipher);
        } else if (name == fronts()[2].name) {
            put_in_front<2>(cipher);
        }
    }
}

}  // namespace orlop::mtls
