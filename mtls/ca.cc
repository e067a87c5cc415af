#include "mtls/ca.h"

#include "daemon/base/limits.h"
#include "mtls/ca_files.h"
#include "mtls/certificate_builder.h"
#include "mtls/openssl.h"

#include <fmt/core.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <fcntl.h>

namespace orlop::mtls {
namespace {

constexpr const char* root_file = "root-cert.pem";
constexpr const char* key_file = "ca-key.pem";
constexpr const char* issuer_file = "ca-cert.pem";
constexpr const char* chain_file = "cert-chain.pem";

Result<void> check_issuer(X509* issuer,
                          EVP_PKEY* key,
                          const std::string& certificate_path,
                          const std::string& key_path,
                          WallTime now) {
    bool is_ca = (X509_get_extension_flags(issuer) & (EXFLAG_CA | EXFLAG_INVALID)) == EXFLAG_CA;
    if (!is_ca || (X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN) == 0) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: not a CA certificate that may sign; workloads would be "
                                "refused by every peer",
                                certificate_path));
    }
    if (X509_check_private_key(issuer, key) != 1) {
        openssl_reason();
        return fail(ErrorKind::invalid_input,
                    fmt::format("{} does not belong to {}; restore both from one backup, or move "
                                "both away to start a new CA (every peer must then learn its root)",
                                key_path,
                                certificate_path));
    }
    if (now > not_after_of(*issuer) || now < not_before_of(*issuer)) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: valid from {} to {}, and it is {}; check the clock, or "
                                "replace the CA",
                                certificate_path,
                                format_time(not_before_of(*issuer)),
                                format_time(not_after_of(*issuer)),
                                format_time(now)));
    }
    return {};
}

Result<Owned<evp_pkey_st>> read_key(int directory, const std::string& path, Secrecy secrecy) {
    auto pem = read_file(directory, path, key_file, secrecy);
    if (!pem) {
        return std::unexpected(pem.error());
    }
    auto key = parse_private_key(*pem, fmt::format("{}/{}", path, key_file));
    OPENSSL_cleanse(pem->data(), pem->size());
    return key;
}

Result<Owned<evp_pkey_st>> create_key(int directory, const std::string& path) {
    auto key = generate_key();
    if (!key) {
        return key;
    }
    std::string pem = private_key_pem(**key);
    auto written = write_file(directory, path, key_file, pem, 0600);
    OPENSSL_cleanse(pem.data(), pem.size());
    if (!written) {
        return std::unexpected(written.error());
    }
    return key;
}

Result<Owned<x509_st>> fresh_root(EVP_PKEY& key, std::string_view organisation, WallTime now) {
    return make_root(key, organisation, {now - clock_skew_allowed, now + ca_ttl});
}

CertificateAuthority self_signed(Owned<evp_pkey_st> key, Owned<x509_st> root) {
    auto material = std::make_shared<CaMaterial>();
    material->roots_pem = certificate_pem(*root);
    material->not_after = not_after_of(*root);
    material->key = std::move(key);
    material->issuer = std::move(root);
    return CertificateAuthority(std::move(material));
}

// What follows the leaf on the wire: the issuer and what lies between it and a root. Istio's
// cert-chain.pem starts with ca-cert.pem and often ends with the root, which peers hold already.
std::vector<Owned<x509_st>> intermediates_of(X509* issuer, std::vector<Owned<x509_st>> listed) {
    std::vector<Owned<x509_st>> kept;
    if (X509_self_signed(issuer, 0) != 1) {
        kept.emplace_back(X509_dup(issuer));
    }
    for (auto& certificate : listed) {
        if (X509_self_signed(certificate.get(), 0) != 1 &&
            X509_cmp(certificate.get(), issuer) != 0) {
            kept.push_back(std::move(certificate));
        }
    }
    return kept;
}

struct PathDeleter {
    void operator()(X509_STORE_CTX* path) const noexcept { X509_STORE_CTX_free(path); }
};

Result<void> check_reaches_root(const CaMaterial& material,
                                std::string_view roots_pem,
                                const std::string& path,
                                WallTime now) {
    auto roots = parse_certificates(
        roots_pem, fmt::format("{}/{}", path, root_file), limits::tls_roots_per_domain_max);
    if (!roots) {
        return std::unexpected(roots.error());
    }
    Owned<x509_store_st> store(X509_STORE_new());
    for (const auto& root : *roots) {
        X509_STORE_add_cert(store.get(), root.get());
    }
    Owned<stack_st_X509> between(sk_X509_new_null());
    for (const auto& certificate : material.intermediates) {
        sk_X509_push(between.get(), certificate.get());
    }
    std::unique_ptr<X509_STORE_CTX, PathDeleter> check(X509_STORE_CTX_new());
    if (X509_STORE_CTX_init(check.get(), store.get(), material.issuer.get(), between.get()) != 1) {
        return fail(ErrorKind::internal, openssl_reason());
    }
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(check.get()),
                               std::chrono::system_clock::to_time_t(now));
    if (X509_verify_cert(check.get()) != 1) {
        int code = X509_STORE_CTX_get_error(check.get());
        openssl_reason();
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}/{} does not reach {} through {}: {}; generate the four files "
                                "together",
                                path,
                                issuer_file,
                                root_file,
                                chain_file,
                                X509_verify_cert_error_string(code)));
    }
    return {};
}

}  // namespace

Result<CertificateAuthority> CertificateAuthority::load_or_create(const CaDirectory& options,
                                                                  WallTime now) {
    const std::string& path = options.directory;
    auto directory = open_directory(path);
    if (!directory) {
        return std::unexpected(directory.error());
    }
    if (auto locked = lock_directory(directory->get(), path); !locked) {
        return std::unexpected(locked.error());
    }
    bool have_key = file_exists(directory->get(), key_file);
    bool have_root = file_exists(directory->get(), root_file);
    if (have_root && !have_key) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}/{} is missing but {} exists; restore the key, or move the "
                                "certificate away to start a new CA",
                                path,
                                key_file,
                                root_file));
    }
    auto key = have_key ? read_key(directory->get(), path, Secrecy::owner_only)
                        : create_key(directory->get(), path);
    if (!key) {
        return std::unexpected(key.error());
    }
    if (!have_root) {  // also after a crash between the two files: the key is kept
        auto root = fresh_root(**key, options.trust_domain, now);
        if (!root) {
            return std::unexpected(root.error());
        }
        auto pem = certificate_pem(**root);
        if (auto done = write_file(directory->get(), path, root_file, pem, 0644); !done) {
            return std::unexpected(done.error());
        }
        return self_signed(std::move(*key), std::move(*root));
    }
    auto pem = read_file(directory->get(), path, root_file, Secrecy::open);
    if (!pem) {
        return std::unexpected(pem.error());
    }
    std::string root_path = fmt::format("{}/{}", path, root_file);
    auto roots = parse_certificates(*pem, root_path, 1);
    if (!roots) {
        return std::unexpected(roots.error());
    }
    auto fit = check_issuer(
        roots->front().get(), key->get(), root_path, fmt::format("{}/{}", path, key_file), now);
    if (!fit) {
        return std::unexpected(fit.error());
    }
    return self_signed(std::move(*key), std::move(roots->front()));
}

Result<CertificateAuthority> CertificateAuthority::load_plugin(const std::string& path,
                                                               WallTime now) {
    UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) {
        return fail_errno(errno, fmt::format("{}: cannot open the directory of CA files", path));
    }
    auto material = std::make_shared<CaMaterial>();
    auto key = read_key(directory.get(), path, Secrecy::not_for_others);
    if (!key) {
        return std::unexpected(key.error());
    }
    material->key = std::move(*key);
    std::array<std::string, 3> texts;
    std::array<std::vector<Owned<x509_st>>, 3> lists;
    constexpr std::array names{issuer_file, chain_file, root_file};
    for (std::size_t at = 0; at < names.size(); ++at) {
        auto text = read_file(directory.get(), path, names[at], Secrecy::open);
        if (!text) {
            return std::unexpected(text.error());
        }
        auto list = parse_certificates(
            *text, fmt::format("{}/{}", path, names[at]), limits::tls_roots_per_domain_max);
        if (!list) {
            return std::unexpected(list.error());
        }
        texts[at] = std::move(*text);
        lists[at] = std::move(*list);
    }
    material->issuer = std::move(lists[0].front());
    std::string issuer_path = fmt::format("{}/{}", path, issuer_file);
    auto fit = check_issuer(material->issuer.get(),
                            material->key.get(),
                            issuer_path,
                            fmt::format("{}/{}", path, key_file),
                            now);
    if (!fit) {
        return std::unexpected(fit.error());
    }
    material->intermediates = intermediates_of(material->issuer.get(), std::move(lists[1]));
    if (material->intermediates.size() >= limits::tls_chain_certificates_max) {
        return fail(ErrorKind::limit_exceeded,
                    fmt::format("{}/{}: more than {} intermediates",
                                path,
                                chain_file,
                                limits::tls_chain_certificates_max - 1));
    }
    if (auto reach = check_reaches_root(*material, texts[2], path, now); !reach) {
        return std::unexpected(reach.error());
    }
    material->not_after = not_after_of(*material->issuer);
    for (const auto& certificate : material->intermediates) {
        material->not_after = std::min(material->not_after, not_after_of(*certificate));
    }
    material->roots_pem = std::move(texts[2]);
    return CertificateAuthority(std::move(material));
}

Result<CertificateAuthority> CertificateAuthority::create_in_memory(std::string_view trust_domain,
                                                                    WallTime now) {
    auto key = generate_key();
    if (!key) {
        return std::unexpected(key.error());
    }
    auto root = fresh_root(**key, trust_domain, now);
    if (!root) {
        return std::unexpected(root.error());
    }
    return self_signed(std::move(*key), std::move(*root));
}

Result<Svid>
CertificateAuthority::issue(const SpiffeId& id, std::chrono::seconds ttl, WallTime now) const {
    std::string uri = id.to_string();
    auto parsed = SpiffeId::parse(uri);  // fields set by hand may hold anything, `/` included
    if (!parsed || *parsed != id) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("cannot issue for '{}': not a workload "
                                "identity",
                                uri));
    }
    if (ttl <= std::chrono::seconds(0) || ttl > svid_ttl_max) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("certificate lifetime of {} s: must be 1 s to {} s (90 days)",
                                ttl.count(),
                                svid_ttl_max.count()));
    }
    Validity validity{now - clock_skew_allowed, std::min(now + ttl, material_->not_after)};
    if (validity.not_after <= now) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("cannot issue for {}: the CA ended {}; replace it",
                                uri,
                                format_time(material_->not_after)));
    }
    validity.not_before = std::max(validity.not_before, not_before_of(*material_->issuer));
    auto key = generate_key();
    if (!key) {
        return std::unexpected(key.error());
    }
    auto leaf = make_leaf({uri, key->get(), validity}, *material_->issuer, *material_->key);
    if (!leaf) {
        return std::unexpected(leaf.error());
    }
    std::vector<Owned<x509_st>> chain;
    chain.push_back(std::move(*leaf));
    for (const auto& certificate : material_->intermediates) {
        X509_up_ref(certificate.get());
        chain.emplace_back(certificate.get());
    }
    return make_svid(std::move(chain), std::move(*key));
}

std::string CertificateAuthority::roots_pem() const {
    return material_->roots_pem;
}
WallTime CertificateAuthority::not_after() const {
    return material_->not_after;
}

}  // namespace orlop::mtls
