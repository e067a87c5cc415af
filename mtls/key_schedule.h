// The key schedule of TLS 1.3 (RFC 8446 §7.1) as a key derivation for OpenSSL. Private to mtls.
//
// The default provider's own "TLS13-KDF" looks its digest up by name, under locks and with
// allocations, for each of the forty secrets of a handshake; SHA-256 of so few bytes costs a tenth
// of that. This one serves SHA-256 and SHA-384, the digests of the cipher suites of TLS 1.3.
#pragma once

struct ossl_dispatch_st;

namespace orlop::mtls {

// Takes the parameters of the default provider's "TLS13-KDF" (EVP_KDF-TLS13_KDF(7)), at
// EVP_KDF_derive() only.
const ossl_dispatch_st* key_schedule_functions();

}  // namespace orlop::mtls
