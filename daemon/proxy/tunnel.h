// Tunnel: one HTTP/2 connection whose streams are net::Streams. With TunnelStream it is HBONE,
// CONNECT streams over mutual TLS; with MessageStream (h2_message.h) its streams are ordinary
// requests.
//
// Both roles. serve() runs the connection until it ends; it must be spawned once, into a scope
// that outlives the tunnel. Streams hold the tunnel by shared_ptr and may outlive the transport:
// they then fail. Output of one loop turn is gathered into few TLS records.
//
// Lifetime: shared_ptr. One core.
#pragma once

#include "daemon/base/block_pool.h"
#include "daemon/codec/h2/session.h"
#include "daemon/codec/h2/translate.h"
#include "daemon/net/tls_identity.h"
#include "daemon/runtime/event.h"
#include "daemon/runtime/scope.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace orlop::proxy {

class Tunnel;

class TunnelStream : public net::Stream, public InBlocks {
public:
    // `id` none: the stream is opened later, see adopt().
    TunnelStream(std::shared_ptr<Tunnel> tunnel, h2::StreamId id);
    ~TunnelStream() override;
    void shutdown_write() override;
    runtime::Task<void> close(net::Closing closing) override;
    bool transport_ends() const override;
    h2::StreamId id() const { return id_; }
    // Client: the answer to CONNECT. 0 when the stream ended without one.
    runtime::Task<Result<std::uint16_t>> answer();

protected:
    friend class Tunnel;
    void start_receive() override {}
    void start_send() override;
    void cancel_operations() override;
    bool receive_in_flight() const override { return false; }
    bool send_in_flight() const override { return false; }
    void consumed(std::size_t bytes) override;
    // What became of the front of the bytes being written.
    struct Step {
        std::size_t taken = 0;
        bool wait = false;  // for window: on_writable goes on
    };
    virtual Result<Step> push(std::string_view bytes);
    virtual void refuse_send(const Error& /*error*/) {}  // push() has failed
    virtual void peer_ended() { end_input(std::nullopt); }
    virtual void peer_reset(h2::ErrorCode code);
    virtual void take(std::span<const std::uint8_t> bytes);
    virtual void take_response(const h2::ResponseEvent& response);
    virtual void take_trailers(std::span<const Field> /*fields*/) {}
    virtual std::size_t uncredited() const { return unread(); }
    h2::Session& session();
    h2::Lowered& lowered();  // shared by the streams of a connection, for the length of a call
    void adopt(h2::StreamId id);
    void continue_send();
    void flush_soon();
    void let_go();

    std::shared_ptr<Tunnel> tunnel_;
    h2::StreamId id_;
    bool gone_ = false;  // the session knows the stream no more
    bool ended_write_ = false;
    std::size_t sent_ = 0;
    bool sending_ = false;

private:
    std::size_t place_ = 0;  // in the tunnel's list
    std::uint16_t status_ = 0;
    runtime::Event answered_;
};

// Server of HBONE: what a peer asked for.
struct TunnelRequest {
    explicit TunnelRequest(const h2::RequestEvent& request);
    std::string authority;
    std::string forwarded;
    std::string baggage;
    h2::RequestKind kind = h2::RequestKind::tunnel;
};

class Tunnel final : public std::enable_shared_from_this<Tunnel>, private h2::Handler {
public:
    // Called from the loop for each request of the peer: makes a stream of it, or answers it.
    using Accept =
        std::function<void(std::shared_ptr<Tunnel>, h2::StreamId, const h2::RequestEvent&)>;

    static Result<std::shared_ptr<Tunnel>> create(std::unique_ptr<net::Stream> transport,
                                                  h2::Role role,
                                                  Accept accept,
                                                  const h2::SessionOptions& options = {});
    ~Tunnel() override;

    static runtime::Task<void> serve(std::shared_ptr<Tunnel> self);

    // Client.
    Result<std::unique_ptr<TunnelStream>> open(std::string_view authority,
                                               std::span<const Field> fields);
    bool can_open() const { return !dead_ && session_->can_open_stream(); }
    std::uint32_t streams_max() const { return session_->streams_max(); }  // as both sides allow
    // Called from the loop after the peer has said something and after our own has left: streams
    // may have ended, limits may have changed. `owner` outlives serve(), or takes this back.
    void on_change(void (*changed)(void*), void* owner) {
        changed_ = changed;
        change_owner_ = owner;
    }
    // Server.
    void respond(TunnelStream& stream, std::uint16_t status, h2::StreamEnd end);
    void refuse(h2::StreamId id, std::uint16_t status);  // an answer without a stream

    void begin_goaway();
    void abort(Error error) { transport_->abort(std::move(error)); }
    std::size_t open_streams() const { return session_->open_streams(); }
    bool dead() const { return dead_; }
    Instant idle_since() const { return idle_since_; }
    runtime::Loop& loop() { return transport_->loop(); }
    const net::Stream& transport() const { return *transport_; }

private:
    friend class TunnelStream;
    Tunnel(std::unique_ptr<net::Stream> transport, h2::Role role, Accept accept);
    void flush_soon();
    void tell_change() const {
        if (changed_ != nullptr && !dead_) {
            changed_(change_owner_);
        }
    }
    static runtime::Task<void> write_out(std::shared_ptr<Tunnel> self);
    static void on_close_deadline(void* self);
    TunnelStream* stream_of(h2::StreamId id) const;
    TunnelStream* last_word_to(h2::StreamId id) const;
    void let_go(TunnelStream& stream);

    void on_request(h2::StreamId id, const h2::RequestEvent& request) override;
    void on_response(h2::StreamId id, const h2::ResponseEvent& response) override;
    void on_data(h2::StreamId id, std::span<const std::uint8_t> bytes) override;
    void on_trailers(h2::StreamId id, std::span<const Field> fields) override;
    void on_stream_end(h2::StreamId id) override;
    void on_closed(h2::StreamId id) override;
    void on_reset(h2::StreamId id, h2::ErrorCode code) override;
    void on_writable(h2::StreamId id) override;
    void on_goaway(h2::StreamId last, h2::ErrorCode code) override;

    std::unique_ptr<net::Stream> transport_;
    std::unique_ptr<h2::Session> session_;
    const h2::Role role_;
    Accept accept_;
    runtime::Scope writers_;
    std::vector<std::uint8_t> out_;
    std::vector<TunnelStream*> streams_;
    h2::Lowered lowered_;
    bool writing_ = false;
    bool feeding_ = false;
    bool dead_ = false;
    void (*changed_)(void*) = nullptr;
    void* change_owner_ = nullptr;
    Instant idle_since_;
};

}  // namespace orlop::proxy
