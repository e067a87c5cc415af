#include "mtls/session.h"

#include "daemon/base/limits.h"
#include "mtls/openssl.h"
#include "mtls/session_hooks.h"
#include "mtls/session_parts.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

namespace orlop::mtls {
namespace {

// RFC 8446 §5.2: header, inner content type, AEAD tag.
constexpr std::size_t record_overhead_bytes = 5 + 1 + 16;
static_assert(limits::tls_record_bytes_max + record_overhead_bytes <= tls_record_room_bytes);
static_assert(limits::tls_pending_output_bytes_max >= 2 * tls_record_room_bytes,
              "one record cut by a full buffer must fit beside a flight of the handshake");

// RFC 8446 §5.5 allows about 2^24.5 records of AES-GCM under one key.
constexpr std::uint64_t records_per_key_max = 1ULL << 23;

}  // namespace

// ---- OpenSSL's view of our buffers

namespace {

SessionParts& parts_of(BIO* bio) {
    return *static_cast<SessionParts*>(BIO_get_data(bio));
}
SessionParts& parts_of(const SSL* ssl) {
    return *static_cast<SessionParts*>(SSL_get_app_data(ssl));
}

int read_input(BIO* bio, char* out, std::size_t size, std::size_t* got) {
    SessionParts& parts = parts_of(bio);
    BIO_clear_retry_flags(bio);
    *got = std::min(size, parts.input.size());
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    if (parts.over_limit(*got)) {
        *got = 0;
        return 0;
    }
    std::memcpy(out, parts.input.data(), *got);
    parts.input = parts.input.subspan(*got);
    return 1;
}

int write_output(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
    SessionParts& parts = parts_of(bio);
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (parts.pending.size() - parts.pending_sent + size > limits::tls_pending_output_bytes_max) {
        parts.limit_reached = "tls_pending_output_bytes_max";
        return 0;
    }
    parts.append_output({reinterpret_cast<const std::uint8_t*>(data), size});
    *written = size;
    return 1;
}

long control(BIO*, int command, long, void*) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// Made once and never changed: OpenSSL has only 128 BIO types for a process.
BIO_METHOD* buffer_method() {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* made =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "orlop buffers");
        if (made != nullptr) {
            BIO_meth_set_read_ex(made, read_input);
            BIO_meth_set_write_ex(made, write_output);
            BIO_meth_set_ctrl(made, control);
        }
        return made;
    }();
    return method;
}

// The peer's own alert, or what OpenSSL disliked, as an Error.
Error describe_failure(unsigned long code, std::string_view text) {
    int reason = ERR_GET_REASON(code);
    if (reason > SSL_AD_REASON_OFFSET) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        bool about_identity =
            (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
            alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
            alert == SSL_AD_CERTIFICATE_REQUIRED;
        return about_identity
                   ? Error{ErrorKind::unauthenticated,
                           fmt::format("the peer refused our certificate: {}; see its log", text)}
                   : Error{ErrorKind::reset, fmt::format("the peer ended TLS: {}", text)};
    }
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_VERSION_NUMBER) {
        return {ErrorKind::unsupported,
                fmt::format("the peer offers no TLS version that we take: {}", text)};
    }
    return {ErrorKind::invalid_input, fmt::format("TLS: {}", text)};
}

}  // namespace

// ---- Hooks

int verify_peer_in_handshake(x509_store_ctx_st* path, void*) {
    auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(path, SSL_get_ex_data_X509_STORE_CTX_idx()));
    SessionParts& parts = parts_of(ssl);
    auto peer =
        parts.check_peer(X509_STORE_CTX_get0_cert(path), X509_STORE_CTX_get0_untrusted(path));
    if (!peer) {
        int code = X509_V_ERR_CERT_REJECTED;
        if (peer.error().reason == RefusalReason::expired) {
            code = X509_V_ERR_CERT_HAS_EXPIRED;
        } else if (peer.error().reason == RefusalReason::untrusted_chain) {
            code = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
        }
        X509_STORE_CTX_set_error(path, code);
        parts.refusal = std::move(peer.error());
        return 0;
    }
    parts.peer = std::move(*peer);
    X509_STORE_CTX_set_error(path, X509_V_OK);
    return 1;
}

int store_client_session(ssl_st* ssl, ssl_session_st* session) {
    SessionParts& parts = parts_of(ssl);
    if (parts.resumption_key.empty() || !parts.peer || parts.phase == Phase::failed) {
        return 0;
    }
    auto left =
        std::chrono::duration_cast<std::chrono::seconds>(parts.peer->valid_until - parts.now);
    SSL_SESSION_set_timeout(session,
                            std::min<long>(SSL_SESSION_get_timeout(session), left.count()));
    parts.context->parts().client_sessions.insert(parts.resumption_key,
                                                  Owned<ssl_session_st>(session));
    return 1;
}

void count_message(
    int written, int, int content_type, const void*, std::size_t, ssl_st* ssl, void*) {
    if (written != 0 || content_type != SSL3_RT_HANDSHAKE) {
        return;
    }
    SessionParts& parts = parts_of(ssl);
    parts.post_handshake_messages += parts.handshake_done ? 1 : 0;
}

// ---- The machine

std::expected<PeerIdentity, PeerRefusal> SessionParts::check_peer(x509_st* leaf,
                                                                  stack_st_X509* sent) {
    std::array<x509_st*, limits::tls_chain_certificates_max + 1> chain{};
    std::size_t count = 0;
    if (leaf != nullptr) {
        chain[count++] = leaf;
    }
    // `sent` may start with the leaf itself.
    for (int at = 0; leaf != nullptr && at < sk_X509_num(sent) && count < chain.size(); ++at) {
        x509_st* certificate = sk_X509_value(sent, at);
        if (certificate != leaf) {
            chain[count++] = certificate;
        }
    }
    return verify_certificates(std::span(chain).first(count),
                               {.bundle = &context->bundle(),
                                .role = peer_role,
                                .expected = &expected,
                                .now = now,
                                .cache = context->parts().options.verdicts.get()});
}

// A session freed without its close_notify would take its ticket along, though nothing is wrong
// with the ticket when a transport merely broke.
SessionParts::~SessionParts() {
    if (handshake_done && (!error || error->kind == ErrorKind::reset)) {
        SSL_set_shutdown(ssl.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
}

bool SessionParts::over_limit(std::size_t incoming) {
    if (phase == Phase::handshaking) {
        handshake_bytes += incoming;
        if (handshake_bytes > limits::tls_handshake_bytes_max) {
            limit_reached = "tls_handshake_bytes_max";
        }
    } else if (post_handshake_messages >
               limits::tls_post_handshake_messages_max + (plaintext_bytes >> 20)) {
        limit_reached = "tls_post_handshake_messages_max";
    }
    return !limit_reached.empty();
}

void SessionParts::fail_with(Error reason) {
    if (!error) {
        error = std::move(reason);
        error->side = peer_role == PeerRole::client ? Side::downstream : Side::upstream;
    }
    phase = Phase::failed;
    // A ticket that led to a failed handshake or a refusal is not tried again. A server that
    // refuses a resumed client can send no alert any more: the bytes just end, before the first.
    bool ticket_in_doubt = !handshake_done || error->kind == ErrorKind::unauthenticated ||
                           (plaintext_bytes == 0 && SSL_session_reused(ssl.get()) == 1);
    if (!resumption_key.empty() && ticket_in_doubt) {
        context->parts().client_sessions.erase(resumption_key);
    }
}

void SessionParts::fail_from_openssl() {
    unsigned long code = ERR_peek_error();
    std::string text = openssl_reason();
    if (!limit_reached.empty()) {
        fail_with({ErrorKind::limit_exceeded, fmt::format("TLS: {} reached", limit_reached)});
    } else if (refusal) {
        fail_with(refusal->to_error());
    } else if (ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        refusal = PeerRefusal{RefusalReason::no_certificate,
                              "the peer sent no client certificate; is it in the mesh?"};
        fail_with(refusal->to_error());
    } else {
        fail_with(describe_failure(code, text));
    }
}

// A resumed session skipped the certificate messages: the chain kept with it is judged again, at
// the time and by the expectation of now.
void SessionParts::finish_handshake() {
    handshake_done = true;
    if (context->parts().foreign) {
        phase = Phase::established;  // ALPN and the peer's certificate are as its terms ask
        return;
    }
    if (SSL_session_reused(ssl.get()) == 1) {
        auto again =
            check_peer(SSL_get0_peer_certificate(ssl.get()), SSL_get_peer_cert_chain(ssl.get()));
        if (!again) {
            refusal = std::move(again.error());
            fail_with(refusal->to_error());
            return;
        }
        peer = std::move(*again);
    }
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl.get(), &name, &size);
    if (size == 0) {
        fail_with({ErrorKind::invalid_input, "TLS: the peer negotiated no ALPN protocol"});
        return;
    }
    assert(peer.has_value());
    phase = Phase::established;
}

SessionParts::Step SessionParts::advance_handshake() {
    ERR_clear_error();
    int result = SSL_do_handshake(ssl.get());
    if (result == 1) {
        finish_handshake();
        return phase == Phase::failed ? Step::failed : Step::progress;
    }
    if (SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ && limit_reached.empty()) {
        return Step::needs_input;
    }
    fail_from_openssl();
    return Step::failed;
}

// SSL_get_error wants an empty queue; ERR_clear_error goes through all of its slots even then.
static void forget_errors() {
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

SessionParts::Step SessionParts::decrypt(std::span<std::uint8_t> plaintext, std::size_t& produced) {
    forget_errors();
    std::uint8_t first = 0;
    std::size_t got = 0;
    // Without room a peek still handles tickets and key updates, and stops at application bytes.
    int result = plaintext.empty()
                     ? SSL_peek_ex(ssl.get(), &first, 1, &got)
                     : SSL_read_ex(ssl.get(), plaintext.data(), plaintext.size(), &got);
    if (result == 1) {
        if (plaintext.empty()) {
            return Step::needs_room;
        }
        produced += got;
        plaintext_bytes += got;
        return Step::progress;
    }
    switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
        return Step::needs_input;
    case SSL_ERROR_ZERO_RETURN:
        phase = Phase::peer_closed;
        return Step::closed;
    default:
        fail_from_openssl();
        return Step::failed;
    }
}

void SessionParts::append_output(std::span<const std::uint8_t> bytes) {
    if (pending.empty()) {
        std::size_t direct = std::min(bytes.size(), room.size());
        if (direct != 0) {
            std::memcpy(room.data(), bytes.data(), direct);
        }
        room = room.subspan(direct);
        bytes = bytes.subspan(direct);
    }
    pending.insert(pending.end(), bytes.begin(), bytes.end());
}

std::size_t SessionParts::flush_pending(std::span<std::uint8_t> encrypted) {
    std::size_t size = std::min(encrypted.size(), pending.size() - pending_sent);
    if (size != 0) {
        std::memcpy(encrypted.data(), pending.data() + pending_sent, size);
    }
    pending_sent += size;
    if (pending_sent == pending.size()) {
        pending.clear();
        pending_sent = 0;
    }
    return size;
}

// ---- TlsSession

TlsSession::TlsSession(std::unique_ptr<SessionParts> parts) : parts_(std::move(parts)) {}
TlsSession::TlsSession(TlsSession&&) noexcept = default;
TlsSession& TlsSession::operator=(TlsSession&&) noexcept = default;
TlsSession::~TlsSession() = default;

namespace {

Result<void> attach_tls(SessionParts& parts, ssl_ctx_st* tls) {
    parts.ssl.reset(SSL_new(tls));
    BIO* bio = BIO_new(buffer_method());
    if (parts.ssl == nullptr || bio == nullptr) {
        BIO_free(bio);
        return fail(ErrorKind::internal, "TLS session: " + openssl_reason());
    }
    BIO_set_data(bio, &parts);
    BIO_set_init(bio, 1);
    SSL_set_bio(parts.ssl.get(), bio, bio);
    SSL_set_app_data(parts.ssl.get(), &parts);
    return {};
}

}  // namespace

Result<TlsSession> TlsSession::client(std::shared_ptr<TlsContext> context, ClientOptions options) {
    auto parts = std::make_unique<SessionParts>();
    parts->context = std::move(context);
    parts->peer_role = PeerRole::server;
    parts->expected = std::move(options.expected);
    parts->resumption_key = std::move(options.resumption_key);
    parts->now = options.now;
    ContextParts& shared = parts->context->parts();
    if (auto attached = attach_tls(*parts, shared.client.get()); !attached) {
        return std::unexpected(attached.error());
    }
    SSL_set_connect_state(parts->ssl.get());
    if (shared.foreign && !shared.foreign->server_name.empty()) {
        SSL_set_tlsext_host_name(parts->ssl.get(), shared.foreign->server_name.c_str());
    }
    ssl_session_st* known = parts->resumption_key.empty()
                                ? nullptr
                                : shared.client_sessions.find(parts->resumption_key);
    if (known != nullptr) {
        SSL_set_session(parts->ssl.get(), known);
    }
    if (parts->advance_handshake() == SessionParts::Step::failed) {  // queues the ClientHello
        return std::unexpected(*parts->error);
    }
    return TlsSession(std::move(parts));
}

Result<TlsSession> TlsSession::server(std::shared_ptr<TlsContext> context, ServerOptions options) {
    auto parts = std::make_unique<SessionParts>();
    parts->context = std::move(context);
    parts->peer_role = PeerRole::client;
    parts->expected = std::move(options.expected);
    parts->now = options.now;
    if (auto attached = attach_tls(*parts, parts->context->parts().server.get()); !attached) {
        return std::unexpected(attached.error());
    }
    SSL_set_accept_state(parts->ssl.get());
    return TlsSession(std::move(parts));
}

Result<Transfer> TlsSession::receive(std::span<const std::uint8_t> encrypted,
                                     std::span<std::uint8_t> plaintext) {
    SessionParts& parts = *parts_;
    Transfer done;
    using Step = SessionParts::Step;
    while (!parts.error && parts.phase != Phase::peer_closed) {
        // Phase 1: let OpenSSL see whole records only, in place where they arrived whole.
        auto offer = parts.framer.offer(encrypted.subspan(done.consumed));
        done.consumed += offer.copied;
        if (offer.malformed) {
            parts.fail_with({ErrorKind::invalid_input,
                             "TLS: bytes that are no TLS record; does the peer speak plaintext?"});
            break;
        }
        if (parts.phase == Phase::established && offer.records.empty() &&
            SSL_pending(parts.ssl.get()) == 0) {
            break;  // SSL_read would only say so, at the price of a small record
        }
        // Phase 2: one step of the handshake, or one record.
        parts.input = offer.records;
        Step step = parts.phase == Phase::handshaking
                        ? parts.advance_handshake()
                        : parts.decrypt(plaintext.subspan(done.produced), done.produced);
        // Phase 3: account for what was read, and forget the caller's buffer.
        std::size_t read = offer.records.size() - parts.input.size();
        done.consumed += parts.framer.consumed(read);
        parts.input = {};
        bool all_taken = done.consumed == encrypted.size() && !parts.framer.has_whole_record();
        if (step == Step::needs_room || (step == Step::needs_input && (all_taken || read == 0))) {
            break;
        }
        if (step == Step::progress && done.produced == plaintext.size() && !plaintext.empty()) {
            break;
        }
    }
    if (parts.error) {
        return std::unexpected(*parts.error);
    }
    if (parts.phase == Phase::peer_closed) {
        done.consumed = encrypted.size();  // RFC 8446 §6.1: what follows a close_notify is ignored
    }
    return done;
}

Result<Transfer> TlsSession::send(std::span<const std::uint8_t> plaintext,
                                  std::span<std::uint8_t> encrypted) {
    SessionParts& parts = *parts_;
    Transfer done;
    done.produced = parts.flush_pending(encrypted);
    if (plaintext.empty() || parts.phase == Phase::handshaking || has_output()) {
        return done;
    }
    if (parts.error || parts.notified_close) {
        return parts.error ? std::unexpected(*parts.error)
                           : fail(ErrorKind::closed, "TLS: send after our close_notify");
    }
    parts.room = encrypted.subspan(done.produced);
    while (done.consumed < plaintext.size() && parts.room.size() > record_overhead_bytes) {
        if (parts.records_under_key == records_per_key_max) {
            SSL_key_update(parts.ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
            parts.records_under_key = 0;
        }
        std::size_t size = std::min({plaintext.size() - done.consumed,
                                     limits::tls_record_bytes_max,
                                     parts.room.size() - record_overhead_bytes});
        std::size_t written = 0;
        forget_errors();
        if (SSL_write_ex(parts.ssl.get(), plaintext.data() + done.consumed, size, &written) != 1) {
            parts.fail_from_openssl();
            break;
        }
        done.consumed += written;
        ++parts.records_under_key;
    }
    done.produced = encrypted.size() - parts.room.size();
    parts.room = {};
    if (parts.error) {
        return std::unexpected(*parts.error);
    }
    return done;
}

bool TlsSession::has_output() const {
    return parts_->pending.size() > parts_->pending_sent;
}

bool TlsSession::has_plaintext() const {
    return parts_->phase == Phase::established &&
           (SSL_pending(parts_->ssl.get()) > 0 || parts_->framer.has_whole_record());
}

void TlsSession::close_notify() {
    SessionParts& parts = *parts_;
    if (parts.notified_close || !parts.handshake_done || parts.error) {
        return;
    }
    parts.notified_close = true;
    ERR_clear_error();
    SSL_shutdown(parts.ssl.get());
    ERR_clear_error();
}

Result<void> TlsSession::transport_ended() {
    SessionParts& parts = *parts_;
    if (parts.phase == Phase::peer_closed) {
        return {};
    }
    parts.fail_with({ErrorKind::reset,
                     parts.handshake_done
                         ? "TLS: the peer's bytes ended without close_notify; they may be cut short"
                         : "TLS: the connection ended during the handshake"});
    return std::unexpected(*parts.error);
}

bool TlsSession::handshaking() const {
    return parts_->phase == Phase::handshaking;
}
bool TlsSession::established() const {
    return parts_->phase == Phase::established || parts_->phase == Phase::peer_closed;
}
bool TlsSession::peer_closed() const {
    return parts_->phase == Phase::peer_closed;
}
const std::optional<Error>& TlsSession::error() const {
    return parts_->error;
}
const std::optional<PeerRefusal>& TlsSession::refusal() const {
    return parts_->refusal;
}

const std::optional<PeerIdentity>& TlsSession::peer() const {
    static const std::optional<PeerIdentity> nobody;
    return parts_->handshake_done && !parts_->refusal ? parts_->peer : nobody;
}

bool TlsSession::resumed() const {
    return parts_->handshake_done && SSL_session_reused(parts_->ssl.get()) == 1;
}

std::string_view TlsSession::alpn() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if (parts_->handshake_done) {
        SSL_get0_alpn_selected(parts_->ssl.get(), &name, &size);
    }
    return {reinterpret_cast<const char*>(name), size};
}

void TlsSession::release_idle_buffers() {
    SessionParts& parts = *parts_;
    // Records reach OpenSSL whole, so nothing half-read lies in its buffer between calls.
    if (parts.handshake_done && SSL_has_pending(parts.ssl.get()) == 0) {
        SSL_free_buffers(parts.ssl.get());
    }
    parts.framer.release_idle();
    if (parts.pending.empty()) {
        std::vector<std::uint8_t>().swap(parts.pending);
    }
}

}  // namespace orlop::mtls
