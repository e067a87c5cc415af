// CertificateAuthority: signs the SVIDs of this node's workloads.
//
// Two origins. load_or_create(): a self-signed ECDSA P-256 root in a directory (root-cert.pem,
// ca-key.pem of mode 0600), made once, atomically, and reused; two processes starting at once end
// with the same root. load_plugin(): files under Istio's `cacerts` names (ca-cert.pem, ca-key.pem,
// root-cert.pem, cert-chain.pem). Control thread only; issuing takes a signature, no I/O. A key
// file readable by others, or one that does not fit its certificate, is refused with its remedy.
//
//     auto ca = CertificateAuthority::load_or_create({.directory = dir}, wall_now);
//     auto svid = ca->issue(SpiffeId{"cluster.local", "shop", "cart"}, svid_ttl_default, wall_now);
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "mtls/svid.h"

#include <chrono>
#include <memory>
#include <string>

namespace orlop::mtls {

struct CaMaterial;  // OpenSSL objects; mtls/openssl.h

inline constexpr std::chrono::seconds svid_ttl_default = std::chrono::hours(24);
inline constexpr std::chrono::seconds svid_ttl_max = std::chrono::hours(24 * 90);
inline constexpr std::chrono::seconds ca_ttl = std::chrono::hours(24 * 3650);
// Leaves start in the past so that a peer whose clock lags a little accepts a fresh one.
inline constexpr std::chrono::seconds clock_skew_allowed = std::chrono::minutes(2);

struct CaDirectory {
    std::string directory;                       // created with mode 0700 when missing
    std::string trust_domain = "cluster.local";  // organisation name of a new root, nothing else
};

class CertificateAuthority {
public:
    static Result<CertificateAuthority> load_or_create(const CaDirectory& options, WallTime now);
    static Result<CertificateAuthority> load_plugin(const std::string& directory, WallTime now);
    // For tests and the lab: a fresh root that is never written to disk.
    static Result<CertificateAuthority> create_in_memory(std::string_view trust_domain,
                                                         WallTime now);

    // 0 < ttl <= svid_ttl_max; cut to the end of the issuer's own validity.
    Result<Svid> issue(const SpiffeId& id, std::chrono::seconds ttl, WallTime now) const;

    std::string roots_pem() const;  // for TrustBundle
    WallTime not_after() const;     // earliest end of the issuing chain

    explicit CertificateAuthority(std::shared_ptr<const CaMaterial> material)
        : material_(std::move(material)) {}

private:
    std::shared_ptr<const CaMaterial> material_;
};

}  // namespace orlop::mtls
