#include "daemon/control/compile/client_tls.h"

#include <fmt/core.h>

namespace orlop::control {
namespace {

using Mode = model::ClientTls::Mode;

// What the application protocol of the port calls itself inside TLS.
std::vector<std::string> alpn_of(const model::Destination& destination) {
    switch (destination.port.protocol) {
    case model::Protocol::http2:
    case model::Protocol::grpc:
        return {"h2"};
    case model::Protocol::http1:
    case model::Protocol::undeclared:
        if (destination.policy.pool.h2_upgrade) {
            return {"h2"};
        }
        return {"http/1.1"};
    default:
        return {};
    }
}

TlsTerms terms_of(const model::ClientTls& tls, const model::Destination& destination) {
    const model::TrafficPolicy& policy = destination.policy;
    const std::string host = destination.service ? destination.service->host : std::string();
    TlsTerms terms;
    terms.role = TlsRole::client;
    terms.peer = tls.insecure_skip_verify ? TlsPeer::unchecked : TlsPeer::required;
    terms.server_name = tls.sni.empty() ? host : tls.sni;
    if (!tls.insecure_skip_verify) {
        terms.peer_names = tls.subject_alt_names;
        if (terms.peer_names.empty() && !terms.server_name.empty()) {
            terms.peer_names = {terms.server_name};
        }
    }
    if (IpAddress::parse(terms.server_name)) {
        terms.server_name.clear();  // RFC 6066 §3: an address is no server name
    }
    terms.alpn = alpn_of(destination);
    terms.label = policy.source ? policy.source->to_string() : destination.cluster_name;
    return terms;
}

}  // namespace

void originate_tls(Credentials& credentials,
                   FindingSink& findings,
                   const std::string& secret_ns,
                   model::Destination& destination) {
    const auto& policy = destination.policy;
    if (!policy.tls || (policy.tls->mode != Mode::simple && policy.tls->mode != Mode::mutual)) {
        return;
    }
    const model::ClientTls& tls = *policy.tls;
    CredentialNames names;
    names.credential_name = tls.credential_name;
    names.ns = secret_ns.empty() && policy.source ? policy.source->ns : secret_ns;
    names.certificate_file = tls.client_certificate;
    names.private_key_file = tls.private_key;
    names.roots_file = tls.ca_certificates;
    names.path = "spec.trafficPolicy.tls";
    names.source = policy.source;
    TlsTerms terms = terms_of(tls, destination);
    auto filled = credentials.fill(names, terms);
    if (tls.mode == Mode::simple) {  // server authentication only
        terms.certificates.clear();
        terms.private_key.clear();
    } else if (filled && terms.certificates.empty()) {
        filled = fail(ErrorKind::invalid_input,
                      "client certificate and private key are required for mutual TLS");
    }
    auto kept = filled ? credentials.keep(std::move(terms))
                       : Result<TlsTermsPtr>(std::unexpected(filled.error()));
    if (kept) {
        destination.tls = std::move(*kept);
        return;
    }
    destination.broken = kept.error().context;
    findings.warn(
        "ORL031",
        policy.source,
        names.path,
        kept.error().context,
        fmt::format("connections to {} fail until it is right", destination.cluster_name));
}

}  // namespace orlop::control
