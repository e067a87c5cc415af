// TlsIdentity: one workload identity's TLS on one core, and the two ways to use it.
//
// Wraps mtls::TlsContext so that rooms that may not know OpenSSL can hold one. Built anywhere,
// then owned by one core. Connections made from it keep it alive; rotation means a new one. The
// context itself, tens of KB, is made for the first handshake: most pods of a node have none for
// long.
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "daemon/base/tls_terms.h"
#include "daemon/net/connector.h"
#include "daemon/net/tls_stream.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace orlop::mtls {
class TlsContext;
}

namespace orlop::net {

class TlsIdentity {
public:
    using Context = std::shared_ptr<mtls::TlsContext>;
    using Maker = std::function<Result<Context>()>;  // called on the owning core

    explicit TlsIdentity(Context context) : context_(std::move(context)) {}
    explicit TlsIdentity(Maker make) : make_(std::move(make)) {}
    // Fails as the maker does; the next call tries again.
    Result<Context> context() const;

private:
    mutable Context context_;
    mutable Maker make_;
};
using TlsIdentityPtr = std::shared_ptr<const TlsIdentity>;

// Whom the server must be: exactly `expected`.
// Errors: unauthenticated with the reason, timed_out, reset, invalid_input. The inner stream is
// closed on failure.
runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_connect(std::unique_ptr<Stream> inner,
                                                              const TlsIdentity& identity,
                                                              const SpiffeId& expected,
                                                              std::string resumption_key);
// Any peer of a known trust domain; ask peer_of() who it is.
runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_accept(std::unique_ptr<Stream> inner,
                                                             const TlsIdentity& identity);

// TLS with peers outside the mesh, by a context of make_tls(): the same errors.
Result<std::shared_ptr<const TlsIdentity>> make_tls(const TlsTermsPtr& terms);
struct TlsBounds {
    Duration timeout{};              // zero or less: limits::tls_handshake_ms_max
    Interrupt* interrupt = nullptr;  // ends the handshake as cancelled
};
runtime::Task<Result<std::unique_ptr<TlsStream>>>
tls_originate(std::unique_ptr<Stream> inner, TlsIdentityPtr identity, TlsBounds bounds);

std::optional<SpiffeId> peer_of(const TlsStream& stream);
bool was_resumed(const TlsStream& stream);
std::string_view alpn_of(const TlsStream& stream);  // empty: none was agreed on

}  // namespace orlop::net
