#include "mtls/lean_provider.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace orlop::mtls {
namespace {

// Key types of certificates and key exchange that context.cc offers, and what TLS 1.3 derives with.
constexpr std::array<std::string_view, 6> key_types{
    "EC", "RSA", "RSA-PSS", "X25519", "ED25519", "HMAC"};

struct Algorithms {
    OSSL_PROVIDER* full = nullptr;
    std::vector<OSSL_ALGORITHM> key_management;
    std::vector<OSSL_ALGORITHM> decoders;
};

Algorithms& algorithms() {
    static Algorithms chosen;
    return chosen;
}

bool is_wanted_type(const OSSL_ALGORITHM& algorithm) {
    std::string_view names = algorithm.algorithm_names;  // "EC:id-ecPublicKey:1.2.840.10045.2.1"
    return std::ranges::find(key_types, names.substr(0, names.find(':'))) != key_types.end();
}

bool decodes_public_key(const OSSL_ALGORITHM& algorithm) {
    std::string_view properties = algorithm.property_definition;
    return properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos &&
           properties.find("input=der") != std::string_view::npos;
}

template <class Wanted>
std::vector<OSSL_ALGORITHM> choose(OSSL_PROVIDER* full, int operation, Wanted wanted) {
    std::vector<OSSL_ALGORITHM> chosen;
    int no_cache = 0;
    const OSSL_ALGORITHM* each = OSSL_PROVIDER_query_operation(full, operation, &no_cache);
    for (; each != nullptr && each->algorithm_names != nullptr; ++each) {
        if (wanted(*each)) {
            chosen.push_back(*each);
        }
    }
    chosen.push_back({});  // ends the list
    return chosen;
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return algorithms().key_management.data();
    case OSSL_OP_DECODER:
        return algorithms().decoders.data();
    case OSSL_OP_ENCODER:
    case OSSL_OP_STORE:
        return nullptr;
    default:
        return OSSL_PROVIDER_query_operation(algorithms().full, operation, no_cache);
    }
}

int get_capabilities(void*, const char* capability, OSSL_CALLBACK* callback, void* argument) {
    return OSSL_PROVIDER_get_capabilities(algorithms().full, capability, callback, argument);
}

int initialise(const OSSL_CORE_HANDLE*,
               const OSSL_DISPATCH*,
               const OSSL_DISPATCH** out,
               void** provider_context) {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(query)},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(get_capabilities)},
        {0, nullptr},
    };
    *out = functions;
    // The algorithms are the default provider's, so they must be given its context.
    *provider_context = OSSL_PROVIDER_get0_provider_ctx(algorithms().full);
    return 1;
}

OSSL_LIB_CTX* make_library() {
    Algorithms& chosen = algorithms();
    chosen.full = OSSL_PROVIDER_load(nullptr, "default");
    OSSL_LIB_CTX* library = chosen.full != nullptr ? OSSL_LIB_CTX_new() : nullptr;
    if (library == nullptr) {
        return nullptr;
    }
    chosen.key_management = choose(chosen.full, OSSL_OP_KEYMGMT, is_wanted_type);
    chosen.decoders = choose(chosen.full, OSSL_OP_DECODER, [](const OSSL_ALGORITHM& each) {
        return is_wanted_type(each) && decodes_public_key(each);
    });
    if (OSSL_PROVIDER_add_builtin(library, "orlop-lean", initialise) != 1 ||
        OSSL_PROVIDER_load(library, "orlop-lean") == nullptr) {
        OSSL_LIB_CTX_free(library);
        library = nullptr;
    }
    ERR_clear_error();
    return library;
}

}  // namespace

ossl_lib_ctx_st* lean_library() {
    static OSSL_LIB_CTX* const library = make_library();
    return library;
}

}  // namespace orlop::mtls
