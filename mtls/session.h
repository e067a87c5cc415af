// TlsSession: one TLS 1.3 connection as a machine of bytes: no socket, no clock, no thread.
//
// Two calls move everything, both into buffers of the caller:
//   receive(encrypted, plaintext)  bytes from the network in, application bytes out
//   send(plaintext, encrypted)     application bytes in, bytes for the network out
// Each returns how much of its input it consumed and how much output it produced. receive() also
// drives the handshake, so after every receive() drain with send({}, buffer) while has_output().
// Inside, at most one partial record of input and limits::tls_pending_output_bytes_max of output
// are held; records are passed to OpenSSL whole. A record is only made when `encrypted` has room
// for it, so give send() at least 16 KB + 64 for full records. In the steady state neither call
// allocates; release_idle_buffers() gives back about 34 KB when a connection falls quiet.
//
// Failure: the first error stays; every later receive() repeats it. An alert may still be waiting:
// drain it with send({}, ...) before closing. Kinds: unauthenticated (we refused the peer, see
// refusal(); or its alert says it refused our certificate), limit_exceeded, invalid_input (TLS
// protocol), unsupported (no TLS 1.3), reset (another fatal alert of the peer, or
// transport_ended() before close_notify: truncation).
//
// A client is established one flight before the server has judged the client's certificate: a
// refusal then arrives as a fatal alert on a later receive().
//
// Movable; owned by the context's core; keeps the context alive.
//
//     auto session = TlsSession::client(context, {.expected = ExpectedPeer::exactly(callee),
//                                                 .resumption_key = address, .now = wall_now});
//     session->send({}, out);                       // ClientHello
//     while (session->handshaking()) { ...write out, read in...; session->receive(in, {}); ... }
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/identity.h"
#include "mtls/context.h"
#include "mtls/peer_identity.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace orlop::mtls {

struct SessionParts;  // mtls/session.cc

// Room for one full record and its framing.
inline constexpr std::size_t tls_record_room_bytes = 16 * 1024 + 64;

struct ClientOptions {
    ExpectedPeer expected = ExpectedPeer::any();
    // Sessions are resumed only under the same key: peer address and expected identity.
    // Empty: never resume.
    std::string resumption_key;
    WallTime now;  // validity of certificates is judged at this time
};

struct ServerOptions {
    ExpectedPeer expected = ExpectedPeer::any();
    WallTime now;
};

struct Transfer {
    std::size_t consumed = 0;
    std::size_t produced = 0;
};

class TlsSession {
public:
    static Result<TlsSession> client(std::shared_ptr<TlsContext> context, ClientOptions options);
    static Result<TlsSession> server(std::shared_ptr<TlsContext> context, ServerOptions options);
    TlsSession(TlsSession&&) noexcept;
    TlsSession& operator=(TlsSession&&) noexcept;
    ~TlsSession();

    // Consumes all of `encrypted` unless `plaintext` fills up first; then call again with the rest
    // (an empty input also yields what is already decrypted). While handshaking `plaintext` may be
    // empty; application bytes that arrive early wait until asked for.
    Result<Transfer> receive(std::span<const std::uint8_t> encrypted,
                             std::span<std::uint8_t> plaintext);
    // Writes waiting output first, then encrypts. Consumes nothing while handshaking.
    Result<Transfer> send(std::span<const std::uint8_t> plaintext,
                          std::span<std::uint8_t> encrypted);
    bool has_output() const;
    bool has_plaintext() const;  // decrypted bytes wait: call receive({}, ...) before sleeping

    // Queues our close_notify (RFC 8446 §6.1): we send no more, the peer still may. Idempotent.
    void close_notify();
    // The transport reached its end: ok after the peer's close_notify, else Error reset.
    Result<void> transport_ended();

    bool handshaking() const;
    bool established() const;  // handshake done and no failure; also after a half-close
    bool peer_closed() const;  // close_notify received
    const std::optional<Error>& error() const;
    const std::optional<PeerRefusal>& refusal() const;  // set when we refused the peer

    // After the handshake, also on resumption (where they are checked anew); empty before.
    const std::optional<PeerIdentity>& peer() const;
    bool resumed() const;
    std::string_view alpn() const;  // as negotiated; empty before

    void release_idle_buffers();  // when quiet: frees record buffers until the next byte

private:
    explicit TlsSession(std::unique_ptr<SessionParts> parts);
    std::unique_ptr<SessionParts> parts_;
};

}  // namespace orlop::mtls
