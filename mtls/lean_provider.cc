#include "mtls/lean_provider.h"

#include "mtls/ephemeral_keys.h"
#include "mtls/key_schedule.h"
#include "mtls/lean_ciphers.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string_view>
#include <vector>

namespace orlop::mtls {
namespace {

using Names = std::initializer_list<std::string_view>;

// What context.cc offers, what TLS 1.3 derives with, and what X.509 signatures need. OpenSSL makes
// an object of every algorithm of an operation that is asked for once, and later walks all of them
// to parse a key, so that those nobody uses are not free.
constexpr Names key_types{"EC", "RSA", "RSA-PSS", "X25519", "ED25519", "HMAC"};
constexpr Names digests{"SHA2-256", "SHA2-384", "SHA2-512", "SHA1"};  // SHA1: fingerprints only
constexpr Names ciphers{"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
constexpr Names macs{"HMAC"};
constexpr Names exchanges{"ECDH", "X25519"};
constexpr Names signatures{"ECDSA", "ED25519", "RSA", "HMAC"};

struct Algorithms {
    OSSL_PROVIDER* full = nullptr;
    std::map<int, std::vector<OSSL_ALGORITHM>> by_operation;
    bool ephemeral_keys = false;
};

Algorithms& algorithms() {
    static Algorithms chosen;
    return chosen;
}

bool has_name(const OSSL_ALGORITHM& algorithm, Names wanted) {
    std::string_view names = algorithm.algorithm_names;  // "EC:id-ecPublicKey:1.2.840.10045.2.1"
    return std::ranges::find(wanted, names.substr(0, names.find(':'))) != wanted.end();
}

bool decodes_public_key(const OSSL_ALGORITHM& algorithm) {
    std::string_view properties = algorithm.property_definition;
    return properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos &&
           properties.find("input=der") != std::string_view::npos;
}

template <class Wanted> void choose(int operation, Wanted wanted) {
    std::vector<OSSL_ALGORITHM>& chosen = algorithms().by_operation[operation];
    int no_cache = 0;
    const OSSL_ALGORITHM* each =
        OSSL_PROVIDER_query_operation(algorithms().full, operation, &no_cache);
    for (; each != nullptr && each->algorithm_names != nullptr; ++each) {
        if (wanted(*each)) {
            chosen.push_back(*each);
        }
    }
    chosen.push_back({});  // ends the list
}

void choose_names(int operation, Names names) {
    choose(operation, [&](const OSSL_ALGORITHM& each) { return has_name(each, names); });
}

// Ours, and the others of the operation are not needed.
void add_own(int operation, const char* name, const OSSL_DISPATCH* functions) {
    algorithms().by_operation[operation] = {{name, "provider=orlop-lean", functions, nullptr}, {}};
}

OSSL_ALGORITHM* find(int operation, std::string_view name) {
    for (OSSL_ALGORITHM& each : algorithms().by_operation[operation]) {
        if (each.algorithm_names != nullptr && has_name(each, {name})) {
            return &each;
        }
    }
    return nullptr;
}

void generate_our_way() {
    OSSL_ALGORITHM* keys = find(OSSL_OP_KEYMGMT, "X25519");
    const OSSL_ALGORITHM* exchange = find(OSSL_OP_KEYEXCH, "X25519");
    if (keys == nullptr || exchange == nullptr) {
        return;
    }
    const OSSL_DISPATCH* ours =
        ephemeral_key_functions(keys->implementation,
                                exchange->implementation,
                                OSSL_PROVIDER_get0_provider_ctx(algorithms().full));
    algorithms().ephemeral_keys = ours != nullptr;
    keys->implementation = ours != nullptr ? ours : keys->implementation;
}

void choose_all() {
    choose_names(OSSL_OP_DIGEST, digests);
    choose_names(OSSL_OP_CIPHER, ciphers);
    answer_nonce_length(algorithms().by_operation[OSSL_OP_CIPHER]);
    choose_names(OSSL_OP_MAC, macs);
    choose_names(OSSL_OP_KEYMGMT, key_types);
    choose_names(OSSL_OP_KEYEXCH, exchanges);
    choose_names(OSSL_OP_SIGNATURE, signatures);
    generate_our_way();
    add_own(OSSL_OP_KDF, OSSL_KDF_NAME_TLS1_3_KDF, key_schedule_functions());
    choose(OSSL_OP_RAND, [](const OSSL_ALGORITHM&) { return true; });
    choose(OSSL_OP_DECODER, [](const OSSL_ALGORITHM& each) {
        return has_name(each, key_types) && decodes_public_key(each);
    });
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
    *no_cache = 0;
    auto chosen = algorithms().by_operation.find(operation);
    return chosen != algorithms().by_operation.end() ? chosen->second.data() : nullptr;
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
    choose_all();
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

bool has_ephemeral_keys() {
    return lean_library() != nullptr && algorithms().ephemeral_keys;
}

}  // namespace orlop::mtls
