// Svid: the X.509 identity of one workload: SPIFFE ID, private key, leaf and intermediates.
//
// An immutable value with shared contents: copies are cheap and may cross threads; the key is
// wiped when the last copy goes. from_pem() refuses a key that does not fit the leaf and a leaf
// without exactly one SPIFFE URI SAN. Chains are leaf first, root not included.
//
//     auto svid = ca.issue(id, std::chrono::hours(24), now);
//     sleep_until(svid->renew_at(random_in(-0.01, 0.01)));
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace orlop::mtls {

struct SvidMaterial;  // OpenSSL objects; mtls/openssl.h

class Svid {
public:
    // `chain_pem`: leaf, then intermediates. `key_pem`: PKCS#8 or SEC1, unencrypted.
    static Result<Svid> from_pem(std::string_view chain_pem, std::string_view key_pem);
    explicit Svid(std::shared_ptr<const SvidMaterial> material) : material_(std::move(material)) {}

    const SpiffeId& identity() const;
    WallTime not_before() const;
    WallTime not_after() const;  // earliest end of leaf and intermediates
    std::string serial_hex() const;
    std::string chain_pem() const;
    std::string key_pem() const;  // secret: never log
    // SHA-256 over the chain; differs between any two certificates.
    const std::array<std::uint8_t, 32>& fingerprint() const;

    // Half of life, moved by `jitter` of life (Istio: -0.01 to 0.01; clamped to +-0.1) so that a
    // fleet started together does not renew together.
    WallTime renew_at(double jitter) const;

    const SvidMaterial& material() const { return *material_; }

private:
    std::shared_ptr<const SvidMaterial> material_;
};

}  // namespace orlop::mtls
