// Gateway and Secret as written: validated, credentials and hosts not yet resolved
// (istio-semantics §14).
#pragma once

#include "daemon/base/ip.h"
#include "daemon/base/tls_terms.h"
#include "daemon/model/object_ref.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

enum class GatewayTlsMode : unsigned char {
    passthrough,
    simple,
    mutual,
    auto_passthrough,
    istio_mutual,
    optional_mutual,
};

struct GatewayTlsSpec {
    GatewayTlsMode mode = GatewayTlsMode::passthrough;
    bool https_redirect = false;
    std::string credential_name;
    std::string server_certificate;  // paths of files on the node
    std::string private_key;
    std::string ca_certificates;
    std::vector<std::string> subject_alt_names;
    TlsVersion version_min = TlsVersion::tls1_2;
    TlsVersion version_max = TlsVersion::tls1_3;
    std::string path;  // "spec.servers[0].tls"
};

enum class GatewayProtocol : unsigned char { http, https, grpc, grpc_web, http2, mongo, tcp, tls };

struct GatewayServerSpec {
    struct Host {
        std::string ns;    // of the VirtualServices that may bind: `*` any, `.` the Gateway's own
        std::string name;  // lower-case, `*.suffix` or `*`
    };
    std::uint16_t port = 0;
    std::string port_name;
    GatewayProtocol protocol = GatewayProtocol::http;
    std::optional<IpAddress> bind;
    std::string name;
    std::vector<Host> hosts;
    std::optional<GatewayTlsSpec> tls;
    std::string path;  // "spec.servers[0]"
    model::ObjectRefPtr source;
};

struct GatewaySpec {
    model::Labels selector;  // empty: every gateway
    std::vector<GatewayServerSpec> servers;
};

// The entries of a Secret that make TLS credentials; PEM texts. The tree of a Secret is not kept
// and nothing prints one.
struct SecretSpec {
    std::string certificate;  // tls.crt or cert
    std::string private_key;  // tls.key or key
    std::string roots;        // ca.crt or cacert
};

}  // namespace orlop::control
