// Certificates: the SVIDs of this node's workloads, issued, renewed and handed to every core.
//
// A node holds keys only of service accounts whose pods it runs. Renewal happens at half of a
// certificate's life with jitter; new connections use the new one, old ones keep theirs. Control
// thread.
#pragma once

#include "daemon/app/core_set.h"
#include "daemon/app/options.h"
#include "daemon/base/tls_terms.h"
#include "daemon/model/snapshot.h"
#include "mtls/ca.h"
#include "mtls/trust_bundle.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace orlop::app {

struct CertificateStatus {
    std::string identity;
    std::string serial;
    WallTime not_before;
    WallTime not_after;
    WallTime renew_at;
};

class Certificates {
public:
    static Result<std::unique_ptr<Certificates>>
    open(const DaemonOptions& options, const std::string& trust_domain, CoreSet& cores);

    // Issues what `wanted` misses, drops what it no longer names, renews what is due.
    void ensure(const std::set<SpiffeId>& wanted, const model::MeshConfig& mesh);
    void renew_due();
    void renew_all();
    // Fills terms that show a mesh identity; false while there is no certificate for it.
    bool fill(TlsTerms& terms) const;
    std::vector<CertificateStatus> status() const;
    WallTime ca_not_after() const { return ca_.not_after(); }

private:
    struct Held {
        mtls::Svid svid;
        WallTime renew_at;
    };
    Certificates(mtls::CertificateAuthority ca, CoreSet& cores, int ttl_seconds)
        : ca_(std::move(ca)), cores_(cores), ttl_seconds_(ttl_seconds) {}
    Result<void> issue(const SpiffeId& id);
    void hand_out(const SpiffeId& id, const mtls::Svid& svid);
    Result<void> follow_trust(const model::MeshConfig& mesh);

    mtls::CertificateAuthority ca_;
    CoreSet& cores_;
    int ttl_seconds_;
    std::shared_ptr<const mtls::TrustBundle> bundle_;
    std::string bundle_key_;
    std::uint64_t generation_ = 0;
    std::map<SpiffeId, Held> held_;
};

}  // namespace orlop::app
