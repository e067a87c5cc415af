#include "mtls/trust_bundle.h"

#include "daemon/base/limits.h"
#include "mtls/openssl.h"

#include <fmt/core.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <set>

namespace orlop::mtls {
namespace {

// A root must be able to anchor a chain, else every peer of its domain would be refused later
// with a reason that points at the peer.
Result<void> check_root(X509* root, std::string_view what) {
    bool is_ca = (X509_get_extension_flags(root) & (EXFLAG_CA | EXFLAG_INVALID)) == EXFLAG_CA;
    if (!is_ca || (X509_get_key_usage(root) & KU_KEY_CERT_SIGN) == 0) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: a certificate is no CA that may sign; give the mesh's root, "
                                "not a leaf",
                                what));
    }
    if (X509_self_signed(root, 1) != 1) {
        openssl_reason();
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: a certificate is not self-signed; give the root, not an "
                                "intermediate",
                                what));
    }
    return {};
}

std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Result<void> add_roots(TrustBundleContents& contents,
                       const TrustDomainRoots& domain,
                       std::set<std::vector<std::uint8_t>>& encoded) {
    std::string what = fmt::format("trust bundle of {}", domain.trust_domain);
    auto roots = parse_certificates(domain.roots_pem, what, limits::tls_roots_per_domain_max);
    if (!roots) {
        return std::unexpected(roots.error());
    }
    auto& store = contents.stores[domain.trust_domain];
    if (store == nullptr) {
        store.reset(X509_STORE_new());
    }
    for (const auto& root : *roots) {
        if (auto fit = check_root(root.get(), what); !fit) {
            return fit;
        }
        auto der = certificate_der(*root);
        der.insert(der.begin(), domain.trust_domain.begin(), domain.trust_domain.end());
        if (!encoded.insert(std::move(der)).second) {
            continue;
        }
        if (X509_STORE_add_cert(store.get(), root.get()) != 1) {
            return fail(ErrorKind::internal, fmt::format("{}: {}", what, openssl_reason()));
        }
        ++contents.root_count;
    }
    return {};
}

Digest fingerprint_of(const TrustBundleContents& contents,
                      const std::set<std::vector<std::uint8_t>>& encoded) {
    std::vector<std::span<const std::uint8_t>> parts{bytes_of(contents.local_domain)};
    for (const auto& alias : contents.aliases) {
        parts.push_back(bytes_of(alias));
    }
    parts.push_back({});  // no alias is empty: ends their list
    for (const auto& root : encoded) {
        parts.push_back(root);
    }
    return digest_parts(parts);
}

bool is_local(const TrustBundleContents& contents, std::string_view domain) {
    return domain == contents.local_domain ||
           std::ranges::find(contents.aliases, domain) != contents.aliases.end();
}

}  // namespace

Result<std::shared_ptr<const TrustBundle>> TrustBundle::create(const TrustBundleOptions& options) {
    auto contents = std::make_unique<TrustBundleContents>();
    contents->local_domain = options.local_domain;
    contents->aliases = options.aliases;
    std::ranges::sort(contents->aliases);
    if (options.local_domain.empty() ||
        std::ranges::find(options.aliases, "") != options.aliases.end()) {
        return fail(ErrorKind::invalid_input,
                    "trust bundle: a trust domain or alias is empty; check MeshConfig trustDomain "
                    "and trustDomainAliases");
    }
    std::set<std::vector<std::uint8_t>> encoded;
    for (const auto& domain : options.roots) {
        if (auto added = add_roots(*contents, domain, encoded); !added) {
            return std::unexpected(added.error());
        }
    }
    if (contents->root_count == 0) {
        return fail(ErrorKind::invalid_input,
                    "trust bundle: no root certificate; nobody could be trusted");
    }
    contents->fingerprint = fingerprint_of(*contents, encoded);
    return std::make_shared<const TrustBundle>(std::move(contents));
}

TrustBundle::TrustBundle(std::unique_ptr<const TrustBundleContents> contents)
    : contents_(std::move(contents)) {}
TrustBundle::~TrustBundle() = default;

const std::string& TrustBundle::local_domain() const {
    return contents_->local_domain;
}
std::size_t TrustBundle::root_count() const {
    return contents_->root_count;
}
const Digest& TrustBundle::fingerprint() const {
    return contents_->fingerprint;
}

bool TrustBundle::trusts(std::string_view trust_domain) const {
    return store_for(*contents_, trust_domain) != nullptr;
}

bool TrustBundle::same_domain(std::string_view a, std::string_view b) const {
    return a == b || (is_local(*contents_, a) && is_local(*contents_, b));
}

x509_store_st* store_for(const TrustBundleContents& contents, std::string_view trust_domain) {
    auto own = contents.stores.find(trust_domain);
    if (own == contents.stores.end() && is_local(contents, trust_domain)) {
        own = contents.stores.find(contents.local_domain);
    }
    return own == contents.stores.end() ? nullptr : own->second.get();
}

}  // namespace orlop::mtls
