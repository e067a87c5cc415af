// TlsStream: a Stream of plaintext over mtls::TlsSession over another Stream.
//
// handshake() must be awaited once before use; it fails with the session's precise reason and
// leaves the alert for the peer on the wire. Everything runs on the loop of the inner stream.
//
//     TlsStream tls(std::move(tcp), std::move(session));
//     if (auto shaken = co_await tls.handshake(timeout); !shaken) { ...; co_await tls.close(...); }
#pragma once

#include "daemon/net/stream.h"
#include "daemon/runtime/scope.h"
#include "mtls/session.h"

#include <cstdint>
#include <memory>
#include <span>

namespace orlop::net {

class TlsStream final : public Stream {
public:
    TlsStream(std::unique_ptr<Stream> inner, mtls::TlsSession session);
    ~TlsStream() override;

    runtime::Task<Result<void>> handshake(Duration timeout);
    const mtls::TlsSession& session() const { return session_; }

    void shutdown_write() override;  // sends close_notify
    runtime::Task<void> close(Closing closing) override;

private:
    void start_receive() override;
    void start_send() override;
    void cancel_operations() override;
    bool receive_in_flight() const override { return filling_; }
    bool send_in_flight() const override { return draining_; }

    static runtime::Task<void> fill(TlsStream* self);
    static runtime::Task<void> drain(TlsStream* self);
    static runtime::Task<void> flush(TlsStream* self);
    runtime::Task<Result<void>> shake();
    std::span<std::uint8_t> take_room();
    runtime::Task<Result<void>> write_out(std::size_t bytes);
    runtime::Task<Result<void>> flush_pending();
    void flush_soon();
    static void on_handshake_deadline(void* self);
    static void on_close_deadline(void* self);

    std::unique_ptr<Stream> inner_;
    mtls::TlsSession session_;
    runtime::Scope scope_;
    std::unique_ptr<std::uint8_t[]> out_;
    bool filling_ = false;
    bool draining_ = false;
    bool writing_ = false;  // someone writes on inner_
    bool flush_waits_ = false;
    bool timed_out_ = false;
    runtime::Event write_free_;
};

}  // namespace orlop::net
