#include "daemon/proxy/h2_message.h"

#include "daemon/codec/h1/writer.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace orlop::proxy {
namespace {

constexpr std::size_t last_chunk_room = limits::http_trailer_bytes_max + 64;

std::span<char> as_chars(std::span<std::uint8_t> room) {
    return {reinterpret_cast<char*>(room.data()), room.size()};
}

Error not_whole(std::string_view what) {
    return Error{ErrorKind::internal,
                 "HTTP/2 message: " + std::string(what) + " was not written in one piece",
                 Side::internal,
                 0};
}

}  // namespace

MessageStream::MessageStream(std::shared_ptr<Tunnel> tunnel, h2::StreamId id, h2::Role role)
    : TunnelStream(std::move(tunnel), id), role_(role) {}

// While uncredited() is still this class's own.
MessageStream::~MessageStream() {
    let_go();
}

Result<std::unique_ptr<MessageStream>> MessageStream::of_request(std::shared_ptr<Tunnel> tunnel,
                                                                 h2::StreamId id,
                                                                 const h2::RequestEvent& request) {
    auto stream = std::make_unique<MessageStream>(std::move(tunnel), id, h2::Role::server);
    auto room = as_chars(stream->append_room(h2::rendered_bytes_max(request)));
    auto head = h2::render_request(request, room);
    if (!head) {
        return std::unexpected(head.error());
    }
    stream->request_method_ = h1::method_of(request.method);
    stream->in_framing_ = head->framing;
    stream->head_rendered_ = true;
    stream->appended(head->size);
    return stream;
}

std::unique_ptr<MessageStream> MessageStream::to_open(std::shared_ptr<Tunnel> tunnel,
                                                      std::string_view scheme) {
    auto stream =
        std::make_unique<MessageStream>(std::move(tunnel), h2::StreamId::none, h2::Role::client);
    stream->scheme_ = scheme;
    stream->gone_ = true;  // the session knows it from the head on
    return stream;
}

// --- what the peer says ---

void MessageStream::refuse_message(Error error) {
    fail_stream(error);
    cancel_operations();
    end_input(std::move(error));
    resume_waiters();
}

void MessageStream::take_response(const h2::ResponseEvent& response) {
    auto room = as_chars(append_room(h2::rendered_bytes_max(response.fields)));
    auto head = h2::render_response(response, request_method_, room);
    if (!head) {
        refuse_message(head.error());
        return;
    }
    head_rendered_ = response.status >= 200;
    in_framing_ = head->framing;
    appended(head->size);
}

void MessageStream::take(std::span<const std::uint8_t> bytes) {
    if (in_framing_ == h1::Framing::none) {
        // A body where none may be: of an answer to HEAD, or behind 204. It is nobody's.
        session().consume(id_, bytes.size());
        return;
    }
    std::size_t framing = in_framing_ == h1::Framing::chunked ? h1::chunk_header_bytes_max + 2 : 0;
    if (bytes.empty()) {
        return;
    }
    if (data_unread_ + bytes.size() > limits::h2_stream_window_bytes) {
        refuse_message(Error{ErrorKind::limit_exceeded,
                             "h2_stream_window_bytes exceeded by the peer",
                             Side::internal,
                             0});
        return;
    }
    auto room = as_chars(append_room(bytes.size() + framing));
    std::size_t at = 0;
    if (framing != 0) {
        std::array<char, h1::chunk_header_bytes_max> line;
        at = h1::write_chunk_header(line, bytes.size());
        std::memcpy(room.data(), line.data(), at);
    }
    std::memcpy(room.data() + at, bytes.data(), bytes.size());
    at += bytes.size();
    if (framing != 0) {
        std::memcpy(room.data() + at, h1::chunk_crlf.data(), h1::chunk_crlf.size());
        at += h1::chunk_crlf.size();
    }
    data_unread_ += bytes.size();
    appended(at);
}

void MessageStream::take_trailers(std::span<const Field> fields) {
    if (in_framing_ != h1::Framing::chunked) {
        return;  // a body of known length leaves no place for them (RFC 9110 6.5.1 lets us drop)
    }
    std::vector<Field> kept;
    for (const Field& field : fields) {
        if (h1::allowed_in_trailers(field.name)) {  // others may be dropped (RFC 9110 6.5.1)
            kept.push_back(field);
        }
    }
    auto size = h1::write_last_chunk(as_chars(append_room(last_chunk_room)), kept);
    if (!size) {
        refuse_message(size.error());
        return;
    }
    trailers_taken_ = true;
    appended(*size);
}

void MessageStream::peer_ended() {
    in_ended_ = true;
    if (in_framing_ == h1::Framing::chunked && !trailers_taken_) {
        take_trailers({});
    }
    // The end of a message is not the end of a connection: nothing more is told to the reader.
}

// The peer has answered and wants no more of the request.
void MessageStream::pretend_sent() {
    if (std::exchange(sending_, false)) {
        std::size_t all = 0;
        for (const iovec& piece : pieces()) {
            all += piece.iov_len;
        }
        sent(static_cast<int>(all));
    }
}

void MessageStream::peer_reset(h2::ErrorCode code) {
    if (role_ == h2::Role::client && in_ended_) {
        // The response is whole; the peer only says that it needs no more of the request.
        gone_ = true;
        pretend_sent();
        return;
    }
    TunnelStream::peer_reset(code);
}

// Rendered bytes are more than the DATA they came from, up to six times for frames of one byte:
// what is credited never makes the uncredited less than what is still unread.
void MessageStream::consumed(std::size_t /*bytes*/) {
    std::size_t credit = data_unread_ - std::min(data_unread_, unread());
    data_unread_ -= credit;
    if (credit != 0 && !gone_ && !tunnel_->dead()) {
        session().consume(id_, credit);
        flush_soon();
    }
}

// --- what is said to the peer ---

void MessageStream::cancel_operations() {
    if (id_ == h2::StreamId::none) {
        sending_ = false;
        return;
    }
    TunnelStream::cancel_operations();
}

void MessageStream::start_send() {
    if (gone_ && in_ended_ && role_ == h2::Role::client) {
        sending_ = true;
        pretend_sent();
        return;
    }
    TunnelStream::start_send();
}

Result<MessageStream::Step> MessageStream::push(std::string_view bytes) {
    return head_sent_ ? push_body(bytes) : push_head(bytes);
}

Result<MessageStream::Step> MessageStream::push_head(std::string_view bytes) {
    auto step = role_ == h2::Role::client ? push_request(bytes) : push_response(bytes);
    if (step && head_sent_ && out_body_.complete()) {
        body_ended_ = true;  // END_STREAM went with the head
    }
    return step;
}

Result<MessageStream::Step> MessageStream::push_request(std::string_view bytes) {
    h1::RequestHead head;
    h1::HeadScan scan;
    auto parsed = h1::parse_request_head(bytes, head, scan);
    if (parsed.state != h1::ParseState::complete) {
        return std::unexpected(not_whole("the request head"));
    }
    request_method_ = head.method_kind;
    out_body_ = h1::BodyDecoder(head);
    auto line = lowered().request(head, scheme_);
    auto end = out_body_.complete() ? h2::StreamEnd::ended : h2::StreamEnd::open;
    auto id = session().open_request_stream(line, lowered().last(), end);
    if (!id) {
        Error error = id.error();
        if (error.kind == ErrorKind::closed || error.kind == ErrorKind::limit_exceeded) {
            error.kind = ErrorKind::refused;  // never left this node: safe to try elsewhere
        }
        return std::unexpected(std::move(error));
    }
    gone_ = false;
    adopt(*id);
    head_sent_ = true;
    return Step{parsed.consumed};
}

Result<MessageStream::Step> MessageStream::push_response(std::string_view bytes) {
    h1::ResponseHead head;
    h1::HeadScan scan;
    auto parsed = h1::parse_response_head(bytes, {request_method_, false}, head, scan);
    if (parsed.state != h1::ParseState::complete) {
        return std::unexpected(not_whole("the response head"));
    }
    auto fields = lowered().fields(head);
    Result<void> told;
    if (head.interim) {
        told = session().inform(id_, head.status, fields);
    } else {
        out_body_ = h1::BodyDecoder(head.framing, head.content_length);
        auto end = out_body_.complete() ? h2::StreamEnd::ended : h2::StreamEnd::open;
        told = session().respond(id_, head.status, fields, end);
        head_sent_ = true;
    }
    if (!told) {
        return std::unexpected(told.error());
    }
    return Step{parsed.consumed};
}

Result<MessageStream::Step> MessageStream::push_body(std::string_view bytes) {
    if (body_ended_) {
        return std::unexpected(not_whole("a message with bytes behind its end"));
    }
    if (payload_left_ != 0) {
        return push_payload(bytes.substr(0, std::min(payload_left_, bytes.size())));
    }
    auto step = out_body_.next(bytes);
    switch (step.state) {
    case h1::BodyState::payload:
        payload_left_ = step.payload.size();
        return Step{step.consumed - step.payload.size()};
    case h1::BodyState::complete:
        if (auto ended = finish_body(); !ended) {
            return std::unexpected(ended.error());
        }
        return Step{step.consumed};
    case h1::BodyState::need_more:
        if (step.consumed != 0) {
            return Step{step.consumed};
        }
        return std::unexpected(not_whole("a chunk line"));
    case h1::BodyState::refused:
        break;
    }
    return std::unexpected(not_whole("the body"));
}

Result<MessageStream::Step> MessageStream::push_payload(std::string_view payload) {
    // A body whose length was said has no trailers: its last byte ends the stream as well.
    bool last = payload.size() == payload_left_ && out_body_.complete();
    auto written = session().write(id_, payload, last ? h2::StreamEnd::ended : h2::StreamEnd::open);
    if (!written) {
        return std::unexpected(written.error());
    }
    payload_left_ -= *written;
    body_ended_ = last && payload_left_ == 0;
    return Step{*written, *written < payload.size()};
}

Result<void> MessageStream::finish_body() {
    if (std::exchange(body_ended_, true)) {
        return {};
    }
    return session().end(id_, lowered().trailers(out_body_.trailers()));
}

void MessageStream::shutdown_write() {
    if (gone_ || body_ended_) {
        return;
    }
    bool whole = head_sent_ && payload_left_ == 0 &&
                 out_body_.at_end_of_stream().state == h1::BodyState::complete;
    body_ended_ = true;
    if (whole) {
        session().end(id_);
    } else {
        session().reset(id_, h2::ErrorCode::internal_error);  // a cut body must not look whole
    }
    flush_soon();
}

// A message answered before it was read to its end: the peer need not send the rest.
runtime::Task<void> MessageStream::close(net::Closing closing) {
    // A response of known length has come whole; the end of its stream may be in the next segment.
    bool expected = role_ == h2::Role::client && closing == net::Closing::orderly &&
                    in_framing_ == h1::Framing::length;
    if (!gone_ && !failure() && body_ended_ && !in_ended_ && !expected) {
        gone_ = true;
        session().attach(id_, nullptr);
        session().reset(
            id_, role_ == h2::Role::server ? h2::ErrorCode::no_error : h2::ErrorCode::cancel);
        flush_soon();
    }
    co_await TunnelStream::close(closing);
}

}  // namespace orlop::proxy
