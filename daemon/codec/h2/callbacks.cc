// What nghttp2 tells us, in the order in which a connection lives: frames, headers, data, ends.
// The library has checked framing and HTTP semantics; field bytes are checked here once more,
// because what a library lets through is our fault all the same.
#include "daemon/codec/grammar.h"
#include "daemon/codec/h2/state.h"
#include "daemon/codec/uri.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace orlop::h2 {
namespace {

constexpr std::uint32_t empty_data_in_row_max = 10;
constexpr std::size_t frame_head_bytes = 9;
// A DATA frame and its head fill one TLS record exactly.
constexpr std::size_t data_frame_bytes_max = limits::tls_record_bytes_max - frame_head_bytes;

SessionState& state_of(void* user_data) {
    return *static_cast<SessionState*>(user_data);
}
StreamId id_of(const Stream& stream) {
    return static_cast<StreamId>(stream.id);
}
std::string_view text_of(nghttp2_rcbuf* buffer) {
    const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
    return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user_data) {
    SessionState& state = state_of(user_data);
    switch (hd->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        return 0;
    case NGHTTP2_WINDOW_UPDATE:
        return state.count_window_update()
                   ? 0
                   : state.violate(ErrorCode::enhance_your_calm, "flood of WINDOW_UPDATE");
    default:
        return state.count_control_frame()
                   ? 0
                   : state.violate(ErrorCode::enhance_your_calm, "flood of control frames");
    }
}

// Frames of unknown types mean nothing (RFC 9113 section 5.5), but they are counted.
int unpack_unknown(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) {
    return NGHTTP2_ERR_CANCEL;
}

int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    SessionState& state = state_of(user_data);
    state.block.begin();
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        state.add(frame->hd.stream_id);
    }
    return 0;
}

int on_header(nghttp2_session* session,
              const nghttp2_frame* frame,
              nghttp2_rcbuf* name,
              nghttp2_rcbuf* value,
              std::uint8_t,
              void* user_data) {
    SessionState& state = state_of(user_data);
    const std::string_view name_text = text_of(name);
    const std::string_view value_text = text_of(value);
    const bool pseudo = name_text.starts_with(':');
    const bool good = sendable_name(pseudo ? name_text.substr(1) : name_text) &&
                      grammar::valid_value(value_text) &&
                      !connection_specific(name_text, value_text);
    if (!good) {
        nghttp2_submit_rst_stream(
            session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (!state.block.add(name_text, value_text, state.options.header_block_bytes_max)) {
        nghttp2_submit_rst_stream(
            session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

// Without this the library would drop an invalid field and go on: two readings of one message.
int on_invalid_header(
    nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*, std::uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void tell_request(SessionState& state, Stream& stream, StreamEnd end) {
    RequestEvent event;
    event.method = state.block.pseudo(":method");
    event.authority = state.block.pseudo(":authority");
    event.scheme = state.block.pseudo(":scheme");
    event.path = state.block.pseudo(":path");
    event.fields = state.block.regular();
    event.end = end;
    const auto authority = uri::split_host_port(event.authority);
    const bool tunnel = event.method == "CONNECT" && event.scheme.empty() && event.path.empty() &&
                        authority && authority->port != 0;
    event.kind = tunnel ? RequestKind::tunnel : RequestKind::request;
    stream.final_head = true;
    state.handler.on_request(id_of(stream), event);
}

void tell_response(SessionState& state, Stream& stream, StreamEnd end) {
    ResponseEvent event;
    const std::string_view status = state.block.pseudo(":status");
    for (const char digit : status.substr(0, 3)) {
        event.status = static_cast<std::uint16_t>(event.status * 10 + (digit - '0'));
    }
    event.fields = state.block.regular();
    event.end = end;
    stream.final_head = event.status >= 200;
    state.handler.on_response(id_of(stream), event);
}

// The peer's END_STREAM, unless an event has just ended the stream here.
void tell_end(SessionState& state, std::int32_t id, StreamEnd end) {
    Stream* stream = state.live(static_cast<StreamId>(id));
    if (stream != nullptr && end == StreamEnd::ended && !stream->remote_ended) {
        stream->remote_ended = true;
        state.handler.on_stream_end(static_cast<StreamId>(id));
    }
}

int headers_received(SessionState& state, const nghttp2_frame* frame) {
    Stream* stream = state.live(static_cast<StreamId>(frame->hd.stream_id));
    if (stream == nullptr) {
        return 0;
    }
    const StreamEnd end =
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 ? StreamEnd::ended : StreamEnd::open;
    state.block.finish();
    if (state.role == Role::server && !stream->final_head) {
        tell_request(state, *stream, end);
    } else if (state.role == Role::client && !stream->final_head) {
        tell_response(state, *stream, end);
    } else {
        state.handler.on_trailers(id_of(*stream), state.block.regular());
    }
    tell_end(state, frame->hd.stream_id, end);
    return 0;
}

int data_frame_received(SessionState& state, const nghttp2_frame* frame) {
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool empty = frame->hd.length == frame->data.padlen;
    state.empty_data_in_row = empty && !ended ? state.empty_data_in_row + 1 : 0;
    if (state.empty_data_in_row > empty_data_in_row_max) {
        return state.violate(ErrorCode::enhance_your_calm, "flood of empty DATA");
    }
    tell_end(state, frame->hd.stream_id, ended ? StreamEnd::ended : StreamEnd::open);
    return 0;
}

int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    SessionState& state = state_of(user_data);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return headers_received(state, frame);
    case NGHTTP2_DATA:
        return data_frame_received(state, frame);
    case NGHTTP2_RST_STREAM: {
        const Stream* stream = state.find(frame->hd.stream_id);
        if (stream != nullptr && state.early(*stream) && !state.count_early_reset()) {
            return state.violate(ErrorCode::enhance_your_calm, "flood of early resets");
        }
        return 0;
    }
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            state.handler.on_settings();
        }
        return 0;
    case NGHTTP2_GOAWAY:
        state.goaway_received = true;
        state.handler.on_goaway(static_cast<StreamId>(frame->goaway.last_stream_id),
                                static_cast<ErrorCode>(frame->goaway.error_code));
        return 0;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
            std::uint64_t payload = 0;
            std::memcpy(&payload, frame->ping.opaque_data, sizeof(payload));
            state.handler.on_ping_ack(payload);
        }
        return 0;
    default:
        return 0;
    }
}

int on_data_chunk(nghttp2_session* session,
                  std::uint8_t,
                  std::int32_t id,
                  const std::uint8_t* data,
                  std::size_t length,
                  void* user_data) {
    SessionState& state = state_of(user_data);
    state.stats.data_bytes_received += length;
    Stream* stream = state.live(static_cast<StreamId>(id));
    if (stream == nullptr) {
        // Nobody will drain these; without credit they would eat the connection's window.
        nghttp2_session_consume_connection(session, length);
        return 0;
    }
    stream->unconsumed += length;
    state.handler.on_data(static_cast<StreamId>(id), {data, length});
    return 0;
}

int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user_data) {
    SessionState& state = state_of(user_data);
    Stream* stream = state.find(id);
    if (stream != nullptr) {
        state.retire(*stream, static_cast<ErrorCode>(code));
    }
    return 0;
}

int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int library_error, void* user_data) {
    SessionState& state = state_of(user_data);
    if (state.violation_text.size() < 256) {
        state.violation_text = nghttp2_strerror(library_error);
    }
    return 0;
}

int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    SessionState& state = state_of(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        state.goaway_error_sent = true;
        state.violation = static_cast<ErrorCode>(frame->goaway.error_code);
    }
    Stream* stream = state.find(frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        // Also streams the library refused before we knew them: each cost us work and a frame. A
        // client that gives up its own requests floods nobody here.
        const bool counts =
            state.role == Role::server && (stream == nullptr || state.early(*stream));
        if (counts && !state.count_early_reset()) {
            return state.violate(ErrorCode::enhance_your_calm, "too many streams reset early");
        }
        return 0;
    }
    const bool carries_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (stream != nullptr && carries_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        stream->local_ended = true;
    }
    return 0;
}

int on_frame_not_send(nghttp2_session*, const nghttp2_frame* frame, int, void* user_data) {
    SessionState& state = state_of(user_data);
    Stream* stream = frame->hd.type == NGHTTP2_HEADERS ? state.find(frame->hd.stream_id) : nullptr;
    // A request that never left: safe to try elsewhere.
    if (stream != nullptr && state.role == Role::client && stream->life != Life::closed) {
        state.retire(*stream, ErrorCode::refused_stream);
    }
    return 0;
}

ssize_t data_frame_length(nghttp2_session*,
                          std::uint8_t,
                          std::int32_t,
                          std::int32_t session_window,
                          std::int32_t stream_window,
                          std::uint32_t peer_max_frame_size,
                          void*) {
    const std::int32_t windows = std::min(session_window, stream_window);
    const std::uint32_t frame = std::min<std::uint32_t>(peer_max_frame_size, data_frame_bytes_max);
    return std::min<std::int32_t>(windows, static_cast<std::int32_t>(frame));
}

// Writes head and payload in one go, straight from the bytes given to write().
int send_data(nghttp2_session*,
              nghttp2_frame* frame,
              const std::uint8_t* frame_head,
              std::size_t length,
              nghttp2_data_source*,
              void* user_data) {
    SessionState& state = state_of(user_data);
    Stream* stream = state.find(frame->hd.stream_id);
    assert(frame->data.padlen == 0);
    if (stream == nullptr || stream->source.size() < length) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    state.output.append(frame_head, frame_head_bytes);
    state.output.append(stream->source.data(), length);
    stream->source = stream->source.subspan(length);
    state.stats.data_bytes_sent += length;
    ++state.window.data_frames_sent;
    return 0;
}

}  // namespace

void set_callbacks(nghttp2_session_callbacks* callbacks) {
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, unpack_unknown);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, data_frame_length);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
}

bool sendable_name(std::string_view name) {
    if (!grammar::token(name)) {
        return false;
    }
    return std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool connection_specific_known(Known known) {
    return connection_specific(known_text(known), "trailers");
}

bool connection_specific(std::string_view name, std::string_view value) {
    switch (name.size()) {  // of a lower-case name: only these lengths need a look
    case 2:
        return name == "te" && value != "trailers";
    case 7:
        return name == "upgrade";
    case 10:
        return name == "connection" || name == "keep-alive";
    case 16:
        return name == "proxy-connection";
    case 17:
        return name == "transfer-encoding";
    default:
        return false;
    }
}

}  // namespace orlop::h2
