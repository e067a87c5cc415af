#include "mtls/ephemeral_keys.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <array>
#include <cstdint>
#include <vector>

namespace orlop::mtls {
namespace {

constexpr std::size_t key_bytes = 32;
using KeyBytes = std::array<std::uint8_t, key_bytes>;

// What is called of the default provider.
struct Provider {
    void* context = nullptr;
    OSSL_FUNC_keymgmt_new_fn* new_key = nullptr;
    OSSL_FUNC_keymgmt_free_fn* free_key = nullptr;
    OSSL_FUNC_keymgmt_import_fn* import_key = nullptr;
    OSSL_FUNC_keyexch_newctx_fn* new_exchange = nullptr;
    OSSL_FUNC_keyexch_init_fn* init_exchange = nullptr;
    OSSL_FUNC_keyexch_set_peer_fn* set_peer = nullptr;
    OSSL_FUNC_keyexch_derive_fn* derive = nullptr;
    OSSL_FUNC_keyexch_freectx_fn* free_exchange = nullptr;
    void* base_point = nullptr;  // as if it were somebody's public key

    bool complete() const {
        return new_key != nullptr && free_key != nullptr && import_key != nullptr &&
               new_exchange != nullptr && init_exchange != nullptr && set_peer != nullptr &&
               derive != nullptr && free_exchange != nullptr;
    }
};

Provider& provider() {
    static Provider known;
    return known;
}

template <class Function> void look_up(const OSSL_DISPATCH* functions, int id, Function*& out) {
    for (; functions->function_id != 0; ++functions) {
        if (functions->function_id == id) {
            out = reinterpret_cast<Function*>(functions->function);
        }
    }
}

// Null when out of memory. Given a public key OpenSSL computes none.
void* import_pair(KeyBytes* private_key, KeyBytes& public_key) {
    std::array<OSSL_PARAM, 3> parameters{OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                                           public_key.data(),
                                                                           public_key.size()),
                                         OSSL_PARAM_construct_end(),
                                         OSSL_PARAM_construct_end()};
    int selection = OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
    if (private_key != nullptr) {
        parameters[1] = OSSL_PARAM_construct_octet_string(
            OSSL_PKEY_PARAM_PRIV_KEY, private_key->data(), private_key->size());
        selection = OSSL_KEYMGMT_SELECT_KEYPAIR;
    }
    void* key = provider().new_key(provider().context);
    if (key != nullptr && provider().import_key(key, selection, parameters.data()) != 1) {
        provider().free_key(key);
        key = nullptr;
    }
    return key;
}

bool multiply_base_point(KeyBytes& private_key, KeyBytes& result) {
    const Provider& use = provider();
    KeyBytes unknown{};
    void* key = import_pair(&private_key, unknown);
    void* exchange = key != nullptr ? use.new_exchange(use.context) : nullptr;
    std::size_t size = result.size();
    bool done = exchange != nullptr && use.init_exchange(exchange, key, nullptr) == 1 &&
                use.set_peer(exchange, use.base_point) == 1 &&
                use.derive(exchange, result.data(), &size, result.size()) == 1 &&
                size == result.size();
    if (exchange != nullptr) {
        use.free_exchange(exchange);
    }
    if (key != nullptr) {
        use.free_key(key);
    }
    return done;
}

// What OpenSSL wants to have generated: a pair, or an empty key that it fills with a peer's.
constexpr int pair_wanted = OSSL_KEYMGMT_SELECT_KEYPAIR;
constexpr int nothing_wanted = 0;

void* generation_init(void*, int selection, const OSSL_PARAM*) {
    const int& wanted =
        (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? pair_wanted : nothing_wanted;
    return const_cast<int*>(&wanted);
}

int generation_set(void*, const OSSL_PARAM* parameters) {
    const OSSL_PARAM* group = OSSL_PARAM_locate_const(parameters, OSSL_PKEY_PARAM_GROUP_NAME);
    const char* name = nullptr;
    return group == nullptr || (OSSL_PARAM_get_utf8_string_ptr(group, &name) == 1 &&
                                OPENSSL_strcasecmp(name, "x25519") == 0)
               ? 1
               : 0;
}

const OSSL_PARAM* generation_settable(void*, void*) {
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0), OSSL_PARAM_END};
    return settable;
}

void* generate(void* wanted, OSSL_CALLBACK*, void*) {
    if (*static_cast<const int*>(wanted) != pair_wanted) {
        return provider().new_key(provider().context);
    }
    KeyBytes private_key;
    KeyBytes public_key;
    void* key = nullptr;
    if (RAND_priv_bytes(private_key.data(), static_cast<int>(private_key.size())) == 1) {
        // RFC 7748 §5.
        private_key.front() &= 0xf8;
        private_key.back() = static_cast<std::uint8_t>((private_key.back() & 0x7f) | 0x40);
        if (multiply_base_point(private_key, public_key)) {
            key = import_pair(&private_key, public_key);
        }
    }
    OPENSSL_cleanse(private_key.data(), private_key.size());
    return key;
}

void generation_cleanup(void*) {}

template <class Function> OSSL_DISPATCH entry(int id, Function* function) {
    return {id, reinterpret_cast<void (*)()>(function)};
}

bool is_about_generation(int id) {
    return id == OSSL_FUNC_KEYMGMT_GEN_INIT || id == OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE ||
           id == OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS || id == OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS ||
           id == OSSL_FUNC_KEYMGMT_GEN || id == OSSL_FUNC_KEYMGMT_GEN_CLEANUP;
}

}  // namespace

const OSSL_DISPATCH* ephemeral_key_functions(const OSSL_DISPATCH* key_management,
                                             const OSSL_DISPATCH* key_exchange,
                                             void* provider_context) {
    Provider& use = provider();
    use.context = provider_context;
    look_up(key_management, OSSL_FUNC_KEYMGMT_NEW, use.new_key);
    look_up(key_management, OSSL_FUNC_KEYMGMT_FREE, use.free_key);
    look_up(key_management, OSSL_FUNC_KEYMGMT_IMPORT, use.import_key);
    look_up(key_exchange, OSSL_FUNC_KEYEXCH_NEWCTX, use.new_exchange);
    look_up(key_exchange, OSSL_FUNC_KEYEXCH_INIT, use.init_exchange);
    look_up(key_exchange, OSSL_FUNC_KEYEXCH_SET_PEER, use.set_peer);
    look_up(key_exchange, OSSL_FUNC_KEYEXCH_DERIVE, use.derive);
    look_up(key_exchange, OSSL_FUNC_KEYEXCH_FREECTX, use.free_exchange);
    KeyBytes nine{9};
    use.base_point = use.complete() ? import_pair(nullptr, nine) : nullptr;
    if (use.base_point == nullptr) {
        return nullptr;
    }
    static std::vector<OSSL_DISPATCH> functions;
    for (const OSSL_DISPATCH* each = key_management; each->function_id != 0; ++each) {
        if (!is_about_generation(each->function_id)) {
            functions.push_back(*each);
        }
    }
    functions.push_back(entry(OSSL_FUNC_KEYMGMT_GEN_INIT, generation_init));
    functions.push_back(entry(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, generation_set));
    functions.push_back(entry(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, generation_settable));
    functions.push_back(entry(OSSL_FUNC_KEYMGMT_GEN, generate));
    functions.push_back(entry(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, generation_cleanup));
    functions.push_back({0, nullptr});
    return functions.data();
}

}  // namespace orlop::mtls
