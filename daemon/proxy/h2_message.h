// MessageStream: one request and its response on an HTTP/2 connection, as HTTP/1.1 bytes.
//
// Whoever holds it reads and writes strict HTTP/1.1 and never learns which version the peer speaks
// (decisions/0007). As a server's stream its input is the peer's request and what is written is the
// response; as a client's stream the HTTP/2 stream is opened by the head that is written, and its
// input is the response. Chunks become DATA and DATA become chunks; trailers pass both ways. Heads,
// chunk lines and the end of a chunked body must be written in one piece each, as the exchange
// does.
//
// Flow control is the stream's own, end to end: bytes are credited to the peer when they are
// consumed here. Not for a second message: transport_ends() says so, pools do not keep it.
//
// Lifetime and owner: as any net::Stream; one core.
#pragma once

#include "daemon/codec/h1/body.h"
#include "daemon/codec/h2/translate.h"
#include "daemon/proxy/tunnel.h"

#include <memory>

namespace orlop::proxy {

class MessageStream final : public TunnelStream {
public:
    // Server: the request that came. Fails when it cannot be said in HTTP/1.1.
    static Result<std::unique_ptr<MessageStream>>
    of_request(std::shared_ptr<Tunnel> tunnel, h2::StreamId id, const h2::RequestEvent& request);
    // Client: opened by the head that is written.
    static std::unique_ptr<MessageStream> to_open(std::shared_ptr<Tunnel> tunnel,
                                                  std::string_view scheme = "http");

    MessageStream(std::shared_ptr<Tunnel> tunnel, h2::StreamId id, h2::Role role);
    ~MessageStream() override;
    void shutdown_write() override;
    runtime::Task<void> close(net::Closing closing) override;
    bool transport_ends() const override { return true; }

private:
    void start_send() override;
    void consumed(std::size_t bytes) override;
    void cancel_operations() override;
    void take(std::span<const std::uint8_t> bytes) override;
    void take_response(const h2::ResponseEvent& response) override;
    void take_trailers(std::span<const Field> fields) override;
    void peer_ended() override;
    void peer_reset(h2::ErrorCode code) override;
    std::size_t uncredited() const override { return data_unread_; }

    Result<Step> push(std::string_view bytes) override;
    void refuse_send(const Error& error) override { fail_stream(error); }
    Result<Step> push_head(std::string_view bytes);
    Result<Step> push_request(std::string_view bytes);
    Result<Step> push_response(std::string_view bytes);
    Result<Step> push_body(std::string_view bytes);
    Result<Step> push_payload(std::string_view payload);
    Result<void> finish_body();
    void pretend_sent();
    void refuse_message(Error error);

    const h2::Role role_;
    std::string_view scheme_ = "http";  // a literal
    h1::Method request_method_ = h1::Method::get;
    // out
    bool head_sent_ = false;
    bool body_ended_ = false;
    std::size_t payload_left_ = 0;  // of the chunk at the front of what is being written
    h1::BodyDecoder out_body_;
    // in
    h1::Framing in_framing_ = h1::Framing::none;
    bool head_rendered_ = false;
    bool in_ended_ = false;
    bool trailers_taken_ = false;
    std::size_t data_unread_ = 0;  // DATA bytes not yet credited to the peer
};

}  // namespace orlop::proxy
