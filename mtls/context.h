// TlsContext: what all sessions of one workload identity share on one core.
//
// Built from Svid + TrustBundle + policy generation and never changed: rotation means a new
// context for new connections, while live sessions keep theirs by shared_ptr. TLS 1.3 only, mutual
// authentication both ways, X25519 then P-256, no early data, no renegotiation, SNI neither sent
// nor read. Session tickets are stateful and belong to the context, under a session id context
// of identity, SVID, bundle and policy generation: none outlives any of these. Both caches of
// sessions (server's, and the client's by resumption key) are bounded and die with the context.
// Owned by one core; not thread-safe. Control work (create) may run on another thread first.
//
//     auto context = TlsContext::create({.svid = svid, .bundle = bundle, .alpn = {"h2"},
//                                        .policy_generation = generation});
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/tls_terms.h"
#include "mtls/peer_identity.h"
#include "mtls/svid.h"
#include "mtls/trust_bundle.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace orlop::mtls {

struct ContextParts;  // OpenSSL objects; mtls/openssl.h

struct ContextOptions {
    Svid svid;
    std::shared_ptr<const TrustBundle> bundle;
    std::vector<std::string> alpn = {"h2"};  // in order of preference; a peer offering none fails
    std::uint64_t policy_generation = 0;
    // Shared by the contexts of one core; null: an own one.
    std::shared_ptr<VerdictCache> verdicts;
};

class TlsContext {
public:
    static Result<std::shared_ptr<TlsContext>> create(ContextOptions options);
    // For peers outside the mesh: TLS 1.2 or 1.3 with ordinary certificates and names, one role.
    // Terms with a mesh_identity must have been filled in. Errors name what is wrong with them.
    static Result<std::shared_ptr<TlsContext>> create_foreign(TlsTermsPtr terms);
    explicit TlsContext(std::unique_ptr<ContextParts> parts);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    const Svid& svid() const;
    const TrustBundle& bundle() const;
    std::uint64_t policy_generation() const;
    std::size_t client_sessions() const;  // resumable sessions held now
    // True when a context for these inputs would differ: time to build a new one.
    bool outdated_by(const Svid& svid, const TrustBundle& bundle, std::uint64_t generation) const;

    ContextParts& parts() { return *parts_; }

private:
    std::unique_ptr<ContextParts> parts_;
};

}  // namespace orlop::mtls
