// Ephemeral X25519 key pairs for the key exchange of TLS 1.3, for OpenSSL. Private to mtls.
//
// OpenSSL 3.0 computes the public key by portable code over a table of the base point, but the
// shared secret by a Montgomery ladder in assembly, which takes a quarter less time. A public key
// is the ladder's result for the base point (RFC 7748 §6.1), so that is how it is made here. All
// arithmetic and both operations are the default provider's.
#pragma once

struct ossl_dispatch_st;

namespace orlop::mtls {

// The default provider's key management of X25519 with another way to generate. The arguments are
// its functions and its context, which outlive every key. Null when a function is missing.
const ossl_dispatch_st* ephemeral_key_functions(const ossl_dispatch_st* key_management,
                                                const ossl_dispatch_st* key_exchange,
                                                void* provider_context);

}  // namespace orlop::mtls
