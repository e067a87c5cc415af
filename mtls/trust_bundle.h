// TrustBundle: whom we believe. Root certificates per trust domain, and aliases of our own domain.
//
// Immutable, shared by all cores. A peer's bundle is chosen by the trust domain of its SPIFFE ID
// before its chain is looked at, so a root of domain B can never vouch for domain A. Several roots
// of one domain may overlap while a root is rotated. An alias (Istio trustDomainAliases) equals the
// local domain: it is checked against the local roots unless it has roots of its own.
//
//     auto bundle = TrustBundle::create({.local_domain = "cluster.local",
//                                        .aliases = {"old-td"},
//                                        .roots = {{"cluster.local", ca.roots_pem()}}});
#pragma once

#include "daemon/base/error.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::mtls {

struct TrustBundleContents;  // OpenSSL objects; mtls/openssl.h

struct TrustDomainRoots {
    std::string trust_domain;
    std::string roots_pem;  // one or more CA certificates
};

struct TrustBundleOptions {
    std::string local_domain = "cluster.local";
    std::vector<std::string> aliases;
    std::vector<TrustDomainRoots> roots;  // several entries of one domain are joined
};

class TrustBundle {
public:
    // Refuses an empty bundle, text that is not PEM certificates, and a root that is not a CA.
    static Result<std::shared_ptr<const TrustBundle>> create(const TrustBundleOptions& options);
    explicit TrustBundle(std::unique_ptr<const TrustBundleContents> contents);
    ~TrustBundle();
    TrustBundle(const TrustBundle&) = delete;
    TrustBundle& operator=(const TrustBundle&) = delete;

    const std::string& local_domain() const;
    bool trusts(std::string_view trust_domain) const;
    // Equal, or both in {local domain, aliases}.
    bool same_domain(std::string_view a, std::string_view b) const;
    std::size_t root_count() const;
    // SHA-256 over domains, aliases and roots: equal bundles have equal fingerprints.
    const std::array<std::uint8_t, 32>& fingerprint() const;

    const TrustBundleContents& contents() const { return *contents_; }

private:
    std::unique_ptr<const TrustBundleContents> contents_;
};

}  // namespace orlop::mtls
