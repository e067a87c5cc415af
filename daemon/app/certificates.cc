#include "daemon/app/certificates.h"

#include "daemon/base/log.h"
#include "mtls/context.h"

#include <random>

namespace orlop::app {
namespace {

double renewal_jitter() {
    static std::mt19937 generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(-0.01, 0.01)(generator);
}

}  // namespace

Result<std::unique_ptr<Certificates>>
Certificates::open(const DaemonOptions& options, const std::string& trust_domain, CoreSet& cores) {
    auto now = std::chrono::system_clock::now();
    auto ca = options.ca_plugin_dir.empty()
                  ? mtls::CertificateAuthority::load_or_create({options.ca_dir, trust_domain}, now)
                  : mtls::CertificateAuthority::load_plugin(options.ca_plugin_dir, now);
    if (!ca) {
        return std::unexpected(ca.error());
    }
    return std::unique_ptr<Certificates>(
        new Certificates(std::move(*ca), cores, options.svid_ttl_seconds));
}

Result<void> Certificates::follow_trust(const model::MeshConfig& mesh) {
    std::string key = mesh.trust_domain;
    for (const auto& alias : mesh.trust_domain_aliases) {
        key += "|" + alias;
    }
    if (bundle_ && key == bundle_key_) {
        return {};
    }
    mtls::TrustBundleOptions options;
    options.local_domain = mesh.trust_domain;
    options.aliases = mesh.trust_domain_aliases;
    options.roots.push_back({mesh.trust_domain, ca_.roots_pem()});
    auto bundle = mtls::TrustBundle::create(options);
    if (!bundle) {
        return std::unexpected(bundle.error());
    }
    bundle_ = *bundle;
    bundle_key_ = key;
    ++generation_;
    for (const auto& [id, held] : held_) {
        hand_out(id, held.svid);
    }
    return {};
}

void Certificates::ensure(const std::set<SpiffeId>& wanted, const model::MeshConfig& mesh) {
    if (auto followed = follow_trust(mesh); !followed) {
        log_line(LogLevel::error, "app", "trust bundle: {}", followed.error().context);
        return;
    }
    for (auto held = held_.begin(); held != held_.end();) {
        if (wanted.contains(held->first)) {
            ++held;
            continue;
        }
        cores_.tell_all([id = held->first](proxy::ProxyCore& core) { core.remove_identity(id); });
        held = held_.erase(held);
    }
    for (const SpiffeId& id : wanted) {
        if (held_.contains(id)) {
            continue;
        }
        if (auto issued = issue(id); !issued) {
            log_line(LogLevel::error,
                     "app",
                     "no certificate for {}: {}",
                     id.to_string(),
                     issued.error().context);
        }
    }
}

Result<void> Certificates::issue(const SpiffeId& id) {
    auto svid = ca_.issue(id, std::chrono::seconds(ttl_seconds_), std::chrono::system_clock::now());
    if (!svid) {
        return std::unexpected(svid.error());
    }
    hand_out(id, *svid);
    // Half of the life that is left: the certificate's own start lies in the past, for peers whose
    // clocks are behind, which would have a short-lived one renewed all the time.
    auto now = std::chrono::system_clock::now();
    auto left = std::chrono::duration<double>(svid->not_after() - now);
    auto wait = left * (0.5 + renewal_jitter());
    auto renew_at = now + std::chrono::duration_cast<WallTime::duration>(wait);
    held_.insert_or_assign(id, Held{std::move(*svid), renew_at});
    return {};
}

// One context per core, since contexts are not shared between threads; each core makes its own when
// it has a handshake of this identity.
void Certificates::hand_out(const SpiffeId& id, const mtls::Svid& svid) {
    auto make = [svid, bundle = bundle_, generation = generation_] {
        return mtls::TlsContext::create({svid, bundle, {"h2"}, generation, nullptr});
    };
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        cores_.tell(i,
                    [id, identity = std::make_shared<const net::TlsIdentity>(make)](
                        proxy::ProxyCore& core) { core.set_identity(id, identity); });
    }
}

bool Certificates::fill(TlsTerms& terms) const {
    auto held = terms.mesh_identity ? held_.find(*terms.mesh_identity) : held_.end();
    if (held == held_.end()) {
        return false;
    }
    terms.certificates = held->second.svid.chain_pem();
    terms.private_key = held->second.svid.key_pem();
    terms.roots = ca_.roots_pem();
    return true;
}

void Certificates::renew_due() {
    auto now = std::chrono::system_clock::now();
    std::vector<SpiffeId> due;
    for (const auto& [id, held] : held_) {
        if (held.renew_at <= now) {
            due.push_back(id);
        }
    }
    for (const SpiffeId& id : due) {
        if (auto issued = issue(id); !issued) {
            log_line(LogLevel::error,
                     "app",
                     "renewal of {} failed, trying again soon: {}",
                     id.to_string(),
                     issued.error().context);
        } else {
            log_line(LogLevel::info, "app", "renewed the certificate of {}", id.to_string());
        }
    }
}

void Certificates::renew_all() {
    for (auto& [id, held] : held_) {
        held.renew_at = {};
    }
    renew_due();
}

std::vector<CertificateStatus> Certificates::status() const {
    std::vector<CertificateStatus> out;
    for (const auto& [id, held] : held_) {
        out.push_back({id.to_string(),
                       held.svid.serial_hex(),
                       held.svid.not_before(),
                       held.svid.not_after(),
                       held.renew_at});
    }
    return out;
}

}  // namespace orlop::app
