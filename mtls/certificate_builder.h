// Makes the certificates this room signs: CA roots and workload leaves. Private to mtls.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "mtls/openssl.h"

namespace orlop::mtls {

struct Validity {
    WallTime not_before;
    WallTime not_after;
};

Result<Owned<evp_pkey_st>> generate_key();  // ECDSA P-256

// Self-signed: CA:TRUE, keyCertSign and cRLSign, subject O=<organisation>, CN=orlop root.
Result<Owned<x509_st>>
make_root(evp_pkey_st& key, std::string_view organisation, const Validity& validity);

struct LeafRequest {
    std::string_view uri;  // the only SAN; critical, as the subject is empty (RFC 5280 §4.1.2.6)
    evp_pkey_st* key;
    Validity validity;
};
Result<Owned<x509_st>>
make_leaf(const LeafRequest& request, x509_st& issuer, evp_pkey_st& issuer_key);

}  // namespace orlop::mtls
