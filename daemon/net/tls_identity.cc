#include "daemon/net/tls_identity.h"

#include "daemon/base/limits.h"
#include "mtls/context.h"

namespace orlop::net {
namespace {

runtime::Task<Result<std::unique_ptr<TlsStream>>> shake_hands(std::unique_ptr<Stream> inner,
                                                              Result<mtls::TlsSession> session) {
    if (!session) {
        co_await inner->close(Closing::reset);
        co_return std::unexpected(session.error());
    }
    auto tls = std::make_unique<TlsStream>(std::move(inner), std::move(*session));
    auto shaken = co_await tls->handshake(std::chrono::milliseconds(limits::tls_handshake_ms_max));
    if (!shaken) {
        co_await tls->close(Closing::orderly);
        co_return std::unexpected(shaken.error());
    }
    co_return std::move(tls);
}

}  // namespace

runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_connect(std::unique_ptr<Stream> inner,
                                                              const TlsIdentity& identity,
                                                              const SpiffeId& expected,
                                                              std::string resumption_key) {
    mtls::ClientOptions options{mtls::ExpectedPeer::exactly(expected),
                                std::move(resumption_key),
                                std::chrono::system_clock::now()};
    auto session = mtls::TlsSession::client(identity.context(), std::move(options));
    co_return co_await shake_hands(std::move(inner), std::move(session));
}

runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_accept(std::unique_ptr<Stream> inner,
                                                             const TlsIdentity& identity) {
    mtls::ServerOptions options{mtls::ExpectedPeer::any(), std::chrono::system_clock::now()};
    auto session = mtls::TlsSession::server(identity.context(), std::move(options));
    co_return co_await shake_hands(std::move(inner), std::move(session));
}

std::optional<SpiffeId> peer_of(const TlsStream& stream) {
    const auto& peer = stream.session().peer();
    return peer ? std::optional(peer->id) : std::nullopt;
}

bool was_resumed(const TlsStream& stream) {
    return stream.session().resumed();
}

}  // namespace orlop::net
