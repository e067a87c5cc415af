// A short list of algorithms for OpenSSL 3.0 to search. Private to mtls.
//
// To parse the public key of a peer's certificate OpenSSL 3.0 walks every decoder and key type of
// every provider, with locks, allocations and string comparisons at each step; that was more than
// half of a handshake. This library context holds a built-in provider that answers with the
// default provider's own algorithms, but only those that TLS 1.3 between meshes needs.
// Figures are in README.md.
#pragma once

struct ossl_lib_ctx_st;

namespace orlop::mtls {

// Process-wide, made at the first call, never freed; safe from any thread. Null when OpenSSL does
// not allow it: null is also OpenSSL's default context, where everything works, only slower.
ossl_lib_ctx_st* lean_library();
// Whether lean_library() makes ephemeral keys as ephemeral_keys.h says, or else as OpenSSL does.
bool has_ephemeral_keys();

}  // namespace orlop::mtls
