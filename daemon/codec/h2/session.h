// One HTTP/2 connection (RFC 9113), either side, without I/O: bytes in, events and bytes out.
//
// HBONE: every stream is a CONNECT tunnel whose DATA are the bytes of a TCP connection. Ordinary
// requests pass through the same Handler, with kind `request`; translate.h says them in HTTP/1.1.
//
// Ownership and threads: a Session belongs to one core. The Handler must outlive it and is called
// only from within feed(), drop_output(), take_output() and fail_streams(): never from write(),
// end(), reset() or the destructor. So what those cause (on_closed) is told once the bytes that
// caused it are dropped from output(). The Session must not be destroyed in an event. Stream ids
// are HTTP/2's own: never reused within a connection, so a stale id names nothing and every call
// with one is a harmless refusal. After on_closed, on_reset, or an own reset(), no event names that
// stream again.
//
// Flow control: nothing is credited automatically. Received bytes count against the windows until
// consume() says the other side has drained them. write() takes what windows and the output bound
// allow right now, and copies it once, into output(); the rest is the caller's to offer again
// after on_writable.
//
//     auto session = Session::create(Role::server, handler, {});
//     for (;;) {
//         send(session->output()); session->drop_output(n);
//         if (session->finished()) { close; }
//         if (session->wants_read()) {
//             auto fed = session->feed(received, monotonic_now());
//             if (!fed) { send what output() still holds (GOAWAY), then close }
//         }
//     }
//     at end of transport: session->fail_streams(ErrorCode::cancel);
//
// Calls made from inside a Handler event of feed() are queued: write() accepts nothing there and
// asks for on_writable, which comes at the end of that feed() and may write.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/codec/field.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace orlop::h2 {

enum class Role : std::uint8_t { client, server };
enum class StreamId : std::int32_t { none = 0 };

// RFC 9113 section 7. Unknown codes of peers are passed on as their number.
enum class ErrorCode : std::uint32_t {
    no_error = 0x0,
    protocol_error = 0x1,
    internal_error = 0x2,
    flow_control_error = 0x3,
    settings_timeout = 0x4,
    stream_closed = 0x5,
    frame_size_error = 0x6,
    refused_stream = 0x7,
    cancel = 0x8,
    compression_error = 0x9,
    connect_error = 0xa,
    enhance_your_calm = 0xb,
    inadequate_security = 0xc,
    http_1_1_required = 0xd,
};

enum class RequestKind : std::uint8_t {
    tunnel,   // CONNECT with only :authority, and that a valid host:port
    request,  // anything else that is well-formed; HBONE servers answer 400
};
enum class StreamEnd : std::uint8_t { open, ended };  // does END_STREAM come with the head?

struct RequestEvent {
    RequestKind kind = RequestKind::request;
    std::string_view method;
    std::string_view authority;
    std::string_view scheme;
    std::string_view path;
    std::span<const Field> fields;  // regular fields; lower-case names
    StreamEnd end = StreamEnd::open;
};
struct ResponseEvent {
    std::uint16_t status = 0;  // 100..599; 1xx may come several times before the final one
    std::span<const Field> fields;
    StreamEnd end = StreamEnd::open;
};

// What an ordinary request asks for; none may be empty.
struct RequestLine {
    std::string_view method;
    std::string_view scheme;
    std::string_view authority;
    std::string_view path;
};

// Views are valid during the call only.
class Handler {
public:
    virtual ~Handler() = default;
    virtual void on_request(StreamId /*stream*/, const RequestEvent& /*request*/) {}
    virtual void on_response(StreamId /*stream*/, const ResponseEvent& /*response*/) {}
    virtual void on_data(StreamId stream, std::span<const std::uint8_t> bytes) = 0;
    virtual void on_trailers(StreamId /*stream*/, std::span<const Field> /*fields*/) {}
    virtual void on_stream_end(StreamId stream) = 0;  // the peer will send no more
    // Both directions ended in order. Last event of the stream.
    virtual void on_closed(StreamId stream) = 0;
    // Cut short by the peer, by a GOAWAY that excluded it (refused_stream: safe to try elsewhere),
    // by a violation, or by the end of the connection. Last event of the stream.
    virtual void on_reset(StreamId stream, ErrorCode code) = 0;
    virtual void on_writable(StreamId stream) = 0;  // after a short write(): try again
    virtual void on_goaway(StreamId /*last_stream*/, ErrorCode /*code*/) {}
    virtual void on_ping_ack(std::uint64_t /*payload*/) {}
    virtual void on_settings() {}  // the peer's SETTINGS have arrived: its limits are known
};

struct SessionOptions {
    std::uint32_t streams_max = limits::h2_streams_max;
    std::uint32_t stream_window_bytes = limits::h2_stream_window_bytes;
    std::uint32_t connection_window_bytes = limits::h2_connection_window_bytes;
    std::size_t header_block_bytes_max = limits::h2_header_block_bytes_max;
    // DATA waits in output() up to the first bound; past the second, reading stops.
    std::size_t output_data_bytes_max = 128 * 1024;
    std::size_t output_queue_bytes_max = limits::h2_outbound_queue_bytes_max;
    std::uint32_t early_resets_max = limits::h2_early_resets_max;  // per second
    std::uint32_t control_frames_max = 1000;                       // per second, received
};

struct SessionStats {
    std::uint64_t streams_opened = 0;
    std::uint64_t streams_reset_early = 0;  // ended by RST within a second of opening
    std::uint64_t control_frames = 0;
    std::uint64_t data_bytes_received = 0;
    std::uint64_t data_bytes_sent = 0;
};

struct SessionState;

class Session {
public:
    static Result<std::unique_ptr<Session>>
    create(Role role, Handler& handler, const SessionOptions& options);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // --- bytes ---
    // Takes all of `bytes`. `now` dates the flood counters. On failure every open stream has been
    // reported by on_reset, output() ends with a GOAWAY, and all later feeds fail the same way.
    Result<void> feed(std::span<const std::uint8_t> bytes, Instant now);
    // What to send next; valid until the next call on this session.
    std::span<const std::uint8_t> output();
    void drop_output(std::size_t bytes);  // they were sent; may call on_writable
    // The two above in one, up to `bytes_max`, without a copy where all of it fits: `into` and the
    // session's own buffer change places. What `into` held is lost.
    void take_output(std::vector<std::uint8_t>& into, std::size_t bytes_max);
    bool wants_read() const;  // false: the peer must first take what is queued for it
    bool wants_write();       // output() is not empty
    bool finished();          // nothing to send, nothing more to expect: close the transport

    // --- streams ---
    // Client. Fails with limit_exceeded when the peer's concurrency is used up, closed after
    // GOAWAY, invalid_input for an authority or field that may not be sent. Names must be lower
    // case. May be called before the peer's SETTINGS have come (no data goes out before a 2xx
    // unless the caller writes it).
    Result<StreamId> open_connect_stream(std::string_view authority, std::span<const Field> fields);
    bool can_open_stream() const;
    // Client: an ordinary request. Fails as open_connect_stream() does; `ended`: it has no body.
    Result<StreamId>
    open_request_stream(const RequestLine& line, std::span<const Field> fields, StreamEnd end);
    // Server: an interim head (100..199 without 101) before the final one.
    Result<void> inform(StreamId stream, std::uint16_t status, std::span<const Field> fields);
    // Server: the head of the answer; `ended` makes it the whole answer.
    Result<void>
    respond(StreamId stream, std::uint16_t status, std::span<const Field> fields, StreamEnd end);
    // Bytes accepted now, 0..bytes.size(); when short, on_writable follows. Fails with not_found
    // for a stale stream and closed after end(). `ended`: END_STREAM goes with the last of them,
    // when all are accepted; there must be some.
    Result<std::size_t>
    write(StreamId stream, std::span<const std::uint8_t> bytes, StreamEnd end = StreamEnd::open);
    Result<std::size_t>
    write(StreamId stream, std::string_view bytes, StreamEnd end = StreamEnd::open);
    // END_STREAM after everything accepted. It leaves once the stream's window is above zero.
    void end(StreamId stream);
    // The same with trailers behind everything accepted; names must be lower case.
    Result<void> end(StreamId stream, std::span<const Field> trailers);
    void reset(StreamId stream, ErrorCode code);
    // Returns credit for `bytes` of on_data that were drained. Bytes of a stream that has ended
    // are credited to the connection when it ends.
    void consume(StreamId stream, std::size_t bytes);
    // A pointer of the owner's choice, kept with the stream; null when stale or never set. The
    // last event of an orderly stream may still ask for it.
    void attach(StreamId stream, void* owner);
    void* attached(StreamId stream) const;

    // --- connection ---
    // First call: announces the end, streams in flight may still arrive (server). Second call:
    // final GOAWAY. A client's first call is final.
    void goaway();
    void ping(std::uint64_t payload);
    // The transport is gone or given up: on_reset for every open stream, then the session is dead.
    void fail_streams(ErrorCode code);

    std::size_t open_streams() const;
    std::uint32_t streams_max() const;  // client: at a time, as both sides allow
    bool draining() const;              // GOAWAY was sent or received
    const SessionStats& stats() const;

private:
    explicit Session(std::unique_ptr<SessionState> state);
    std::unique_ptr<SessionState> state_;
};

}  // namespace orlop::h2
