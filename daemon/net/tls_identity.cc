#include "daemon/net/tls_identity.h"

#include "daemon/base/limits.h"
#include "mtls/context.h"

#include <algorithm>

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

template <class Options>
Result<mtls::TlsSession>
open_session(Result<mtls::TlsSession> (*open)(std::shared_ptr<mtls::TlsContext>, Options),
             const TlsIdentity& identity,
             Options options) {
    auto context = identity.context();
    if (!context) {
        return std::unexpected(context.error());
    }
    return open(std::move(*context), std::move(options));
}

}  // namespace

Result<TlsIdentity::Context> TlsIdentity::context() const {
    if (context_ == nullptr && make_) {
        auto made = make_();
        if (!made) {
            return made;
        }
        context_ = std::move(*made);
        make_ = nullptr;
    }
    return context_;
}

runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_connect(std::unique_ptr<Stream> inner,
                                                              const TlsIdentity& identity,
                                                              const SpiffeId& expected,
                                                              std::string resumption_key) {
    mtls::ClientOptions options{mtls::ExpectedPeer::exactly(expected),
                                std::move(resumption_key),
                                std::chrono::system_clock::now()};
    auto session = open_session(&mtls::TlsSession::client, identity, std::move(options));
    co_return co_await shake_hands(std::move(inner), std::move(session));
}

runtime::Task<Result<std::unique_ptr<TlsStream>>> tls_accept(std::unique_ptr<Stream> inner,
                                                             const TlsIdentity& identity) {
    mtls::ServerOptions options{mtls::ExpectedPeer::any(), std::chrono::system_clock::now()};
    auto session = open_session(&mtls::TlsSession::server, identity, std::move(options));
    co_return co_await shake_hands(std::move(inner), std::move(session));
}

Result<std::shared_ptr<const TlsIdentity>> make_tls(const TlsTermsPtr& terms) {
    auto context = mtls::TlsContext::create_foreign(terms);
    if (!context) {
        return std::unexpected(context.error());
    }
    return std::make_shared<const TlsIdentity>(std::move(*context));
}

namespace {

// Ends a handshake that nobody waits for any more.
struct Cutter {
    Stream& stream;
    static void on_interrupt(void* self) {
        static_cast<Cutter*>(self)->stream.abort(Error{
            ErrorKind::cancelled, "the connection is not wanted any more", Side::internal, 0});
    }
};

}  // namespace

runtime::Task<Result<std::unique_ptr<TlsStream>>>
tls_originate(std::unique_ptr<Stream> inner, TlsIdentityPtr identity, TlsBounds bounds) {
    mtls::ClientOptions options{
        mtls::ExpectedPeer::any(), std::string(), std::chrono::system_clock::now()};
    auto session = open_session(&mtls::TlsSession::client, *identity, std::move(options));
    if (!session) {
        co_await inner->close(Closing::reset);
        co_return std::unexpected(session.error());
    }
    Cutter cutter{*inner};
    if (bounds.interrupt != nullptr) {
        bounds.interrupt->hook(&Cutter::on_interrupt, &cutter);
        if (bounds.interrupt->fired()) {
            Cutter::on_interrupt(&cutter);
        }
    }
    Duration most = std::chrono::milliseconds(limits::tls_handshake_ms_max);
    Duration wait =
        bounds.timeout > Duration::zero() ? std::min<Duration>(bounds.timeout, most) : most;
    auto tls = std::make_unique<TlsStream>(std::move(inner), std::move(*session));
    auto shaken = co_await tls->handshake(wait);
    if (bounds.interrupt != nullptr) {
        bounds.interrupt->unhook();
    }
    if (!shaken) {
        co_await tls->close(Closing::orderly);
        co_return std::unexpected(shaken.error());
    }
    co_return std::move(tls);
}

std::string_view alpn_of(const TlsStream& stream) {
    return stream.session().alpn();
}

std::optional<SpiffeId> peer_of(const TlsStream& stream) {
    const auto& peer = stream.session().peer();
    return peer ? std::optional(peer->id) : std::nullopt;
}

bool was_resumed(const TlsStream& stream) {
    return stream.session().resumed();
}

}  // namespace orlop::net
