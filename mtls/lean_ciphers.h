// The ciphers of TLS 1.3 with their most frequent question answered at once. Private to mtls.
//
// OpenSSL 3.0 asks a cipher for the length of its nonce twice per record, and the default provider
// compares the question with the name of each of its eight parameters, one by one. In TLS 1.3 the
// answer is always 12 (RFC 8446 §5.3).
#pragma once

#include <vector>

struct ossl_algorithm_st;

namespace orlop::mtls {

// Puts shorter ways into those of `ciphers` (of the default provider) that are used as AEAD by TLS
// 1.3. Other lengths of nonce than 12 are refused from then on. Once per process.
void answer_nonce_length(std::vector<ossl_algorithm_st>& ciphers);

}  // namespace orlop::mtls
