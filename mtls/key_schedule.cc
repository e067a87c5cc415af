#include "mtls/key_schedule.h"

// The plain functions: EVP's would bring back the lookups that this file is there to avoid.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace orlop::mtls {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t digest_bytes_max = SHA384_DIGEST_LENGTH;

template <class State, auto Start, auto Add, auto Finish, std::size_t Size, std::size_t BlockSize>
struct Digest {
    static constexpr std::size_t bytes = Size;
    static constexpr std::size_t block_bytes = BlockSize;
    State state;
    void start() { Start(&state); }
    void add(Bytes data) { Add(&state, data.data(), data.size()); }
    void finish(std::uint8_t* out) { Finish(out, &state); }
};
using Sha256 = Digest<SHA256_CTX,
                      SHA256_Init,
                      SHA256_Update,
                      SHA256_Final,
                      SHA256_DIGEST_LENGTH,
                      SHA256_CBLOCK>;
using Sha384 = Digest<SHA512_CTX,
                      SHA384_Init,
                      SHA384_Update,
                      SHA384_Final,
                      SHA384_DIGEST_LENGTH,
                      SHA512_CBLOCK>;

// A secret or a digest; wiped when it goes.
struct Secret {
    std::array<std::uint8_t, digest_bytes_max> bytes{};
    ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    Bytes first(std::size_t count) const { return Bytes(bytes).first(count); }
};

// RFC 2104.
template <class Hash> class Hmac {
public:
    explicit Hmac(Bytes key) {
        if (key.size() > Hash::block_bytes) {
            hash_.start();
            hash_.add(key);
            hash_.finish(pad_.data());
        } else if (!key.empty()) {
            std::memcpy(pad_.data(), key.data(), key.size());
        }
        start_with(0x36);
    }
    ~Hmac() {
        OPENSSL_cleanse(pad_.data(), pad_.size());
        OPENSSL_cleanse(&hash_, sizeof hash_);
    }
    Hmac(const Hmac&) = delete;
    Hmac& operator=(const Hmac&) = delete;

    void add(Bytes data) { hash_.add(data); }
    void finish(Secret& out) {
        hash_.finish(out.bytes.data());
        start_with(0x36 ^ 0x5c);
        hash_.add(out.first(Hash::bytes));
        hash_.finish(out.bytes.data());
    }

private:
    void start_with(std::uint8_t mask) {
        for (std::uint8_t& byte : pad_) {
            byte ^= mask;
        }
        hash_.start();
        hash_.add(pad_);
    }

    Hash hash_;
    std::array<std::uint8_t, Hash::block_bytes> pad_{};
};

struct Wish {
    int mode = -1;
    std::string_view digest;
    std::optional<Bytes> key;
    std::optional<Bytes> salt;
    Bytes prefix;
    Bytes label;
    Bytes data;
};

// HkdfLabel of RFC 8446 §7.1: two bytes of length, then two vectors of at most 255 bytes.
bool fits_label(const Wish& wish, std::size_t size) {
    return wish.prefix.size() + wish.label.size() <= 255 && wish.data.size() <= 255 &&
           size <= 0xffff;
}

// RFC 5869 §2.3 with HkdfLabel as its info.
template <class Hash>
bool expand(Bytes secret, const Wish& wish, Bytes context, std::span<std::uint8_t> out) {
    if (!fits_label(wish, out.size()) || out.size() > 255 * Hash::bytes) {
        return false;
    }
    const std::uint8_t head[] = {static_cast<std::uint8_t>(out.size() >> 8),
                                 static_cast<std::uint8_t>(out.size()),
                                 static_cast<std::uint8_t>(wish.prefix.size() + wish.label.size())};
    const auto context_bytes = static_cast<std::uint8_t>(context.size());
    Secret block;
    for (std::uint8_t number = 1; !out.empty(); ++number) {
        Hmac<Hash> mac(secret);
        mac.add(number == 1 ? Bytes() : block.first(Hash::bytes));
        mac.add(head);
        mac.add(wish.prefix);
        mac.add(wish.label);
        mac.add(std::span(&context_bytes, 1));
        mac.add(context);
        mac.add(std::span(&number, 1));
        mac.finish(block);
        std::size_t size = std::min(out.size(), Hash::bytes);
        std::memcpy(out.data(), block.bytes.data(), size);
        out = out.subspan(size);
    }
    return true;
}

// One step of the schedule: from the last secret (none: the first step) and what is new.
template <class Hash> bool extract(const Wish& wish, std::span<std::uint8_t> out) {
    if (out.size() != Hash::bytes || (wish.salt && wish.salt->size() != Hash::bytes)) {
        return false;
    }
    Secret salt;
    if (wish.salt) {
        Secret nothing;  // the digest of no messages
        Hash hash;
        hash.start();
        hash.finish(nothing.bytes.data());
        if (!expand<Hash>(*wish.salt,
                          wish,
                          nothing.first(Hash::bytes),
                          std::span(salt.bytes).first(Hash::bytes))) {
            return false;
        }
    }
    const Secret zeros;
    Hmac<Hash> mac(salt.first(wish.salt ? Hash::bytes : 0));
    mac.add(wish.key ? *wish.key : zeros.first(Hash::bytes));
    Secret secret;
    mac.finish(secret);
    std::memcpy(out.data(), secret.bytes.data(), out.size());
    return true;
}

template <class Hash> bool derive_with(const Wish& wish, std::span<std::uint8_t> out) {
    switch (wish.mode) {
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
        return extract<Hash>(wish, out);
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
        return wish.key && expand<Hash>(*wish.key, wish, wish.data, out);
    default:
        return false;
    }
}

Wish read_parameters(const OSSL_PARAM* parameters) {
    Wish wish;
    for (const OSSL_PARAM* each = parameters; each != nullptr && each->key != nullptr; ++each) {
        std::string_view name = each->key;
        Bytes bytes(static_cast<const std::uint8_t*>(each->data),
                    each->data != nullptr ? each->data_size : 0);
        if (name == OSSL_KDF_PARAM_MODE) {
            OSSL_PARAM_get_int(each, &wish.mode);
        } else if (name == OSSL_KDF_PARAM_DIGEST) {
            wish.digest = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
        } else if (name == OSSL_KDF_PARAM_KEY && each->data != nullptr) {
            wish.key = bytes;
        } else if (name == OSSL_KDF_PARAM_SALT && each->data != nullptr) {
            wish.salt = bytes;
        } else if (name == OSSL_KDF_PARAM_PREFIX) {
            wish.prefix = bytes;
        } else if (name == OSSL_KDF_PARAM_LABEL) {
            wish.label = bytes;
        } else if (name == OSSL_KDF_PARAM_DATA) {
            wish.data = bytes;
        }
    }
    return wish;
}

int derive(void*, unsigned char* out, std::size_t size, const OSSL_PARAM parameters[]) {
    Wish wish = read_parameters(parameters);
    if (wish.digest == "SHA2-256" || wish.digest == "SHA256") {
        return derive_with<Sha256>(wish, {out, size}) ? 1 : 0;
    }
    if (wish.digest == "SHA2-384" || wish.digest == "SHA384") {
        return derive_with<Sha384>(wish, {out, size}) ? 1 : 0;
    }
    return 0;
}

// Nothing is kept between calls, but OpenSSL asks for an object.
void* new_context(void*) {
    static char nothing;
    return &nothing;
}
void free_context(void*) {}

template <class Function> OSSL_DISPATCH entry(int id, Function* function) {
    return {id, reinterpret_cast<void (*)()>(function)};
}

}  // namespace

const OSSL_DISPATCH* key_schedule_functions() {
    static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_KDF_NEWCTX, new_context),
                                              entry(OSSL_FUNC_KDF_FREECTX, free_context),
                                              entry(OSSL_FUNC_KDF_DERIVE, derive),
                                              {0, nullptr}};
    return functions;
}

}  // namespace orlop::mtls
