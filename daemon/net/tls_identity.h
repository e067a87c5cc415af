// TlsIdentity: one workload identity's TLS on one core, and the two ways to use it.
//
// Wraps mtls::TlsContext so that rooms that may not know OpenSSL can hold one. Built anywhere,
// then owned by one core. Connections made from it keep it alive; rotation means a new one.
#pragma once

#include "daemon/base/identity.h"
#include "daemon/net/tls_stream.h"

#include <memory>
#include <optional>
#include <string>

namespace orlop::mtls {
class TlsContext;
}

namespace orlop::net {

class TlsIdentity {
public:
    explicit TlsIdentity(std::shared_ptr<mtls::TlsContext> context)
        : context_(std::move(context)) {}
    const std::shared_ptr<mtls::TlsContext>& context() const { return context_; }

private:
    std::shared_ptr<mtls::TlsContext> context_;
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
std::optional<SpiffeId> peer_of(const TlsStream& stream);
bool was_resumed(const TlsStream& stream);

}  // namespace orlop::net
