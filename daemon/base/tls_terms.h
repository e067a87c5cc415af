// TlsTerms: what one end of a TLS connection outside the mesh's own protocol shows and demands, as
// plain values: a gateway's server, or a caller that a DestinationRule tells to speak TLS.
//
// Compiled by control, carried by the Snapshot, turned into OpenSSL contexts (mtls) by the node.
// Immutable and shared. The private key is here as text: never print a TlsTerms, print `label`.
#pragma once

#include "daemon/base/identity.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace orlop {

enum class TlsRole : unsigned char { server, client };
enum class TlsPeer : unsigned char { unchecked, optional, required };
enum class TlsVersion : unsigned char { tls1_2, tls1_3 };

struct TlsTerms {
    TlsRole role = TlsRole::server;
    TlsPeer peer = TlsPeer::unchecked;
    std::string certificates;  // PEM, leaf first; empty: shows none
    std::string private_key;   // PEM, secret
    std::string roots;         // PEM; empty: those of the operating system
    // One of these must be in the peer's certificate (DNS name, URI or address); empty: any name.
    std::vector<std::string> peer_names;
    std::string server_name;        // clients: SNI; empty: none sent
    std::vector<std::string> alpn;  // in order of preference; empty: not spoken
    TlsVersion version_min = TlsVersion::tls1_2;
    TlsVersion version_max = TlsVersion::tls1_3;
    // Shows this identity of the mesh and believes its roots: the node fills in the texts above.
    std::optional<SpiffeId> mesh_identity;
    std::string label;  // "Gateway shop/web (gw.yaml:7)", for errors
    std::string key;    // equal terms have equal keys; reveals nothing
};
using TlsTermsPtr = std::shared_ptr<const TlsTerms>;

// The key of terms whose other members are set.
std::string tls_terms_key(const TlsTerms& terms);

}  // namespace orlop
