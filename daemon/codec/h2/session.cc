#include "daemon/codec/h2/session.h"

#include "daemon/codec/grammar.h"
#include "daemon/codec/h2/state.h"
#include "daemon/codec/uri.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

namespace orlop::h2 {
namespace {

constexpr std::size_t continuations_max = 8;
constexpr std::size_t outbound_acks_max = 1000;
constexpr std::size_t settings_per_frame_max = 32;
constexpr unsigned first_unknown_type = 0xa;  // the types of RFC 9113 end with CONTINUATION, 0x9
// Our own fields: pseudo-headers and what the caller adds.
constexpr std::size_t fields_sent_max = limits::http_headers_max + 4;
using FieldArray = std::array<nghttp2_nv, fields_sent_max>;

nghttp2_nv make_nv(std::string_view name, std::string_view value) {
    // The library copies both before the call returns and never writes through the pointers.
    auto* name_bytes = const_cast<char*>(name.data());
    auto* value_bytes = const_cast<char*>(value.data());
    return {reinterpret_cast<std::uint8_t*>(name_bytes),
            reinterpret_cast<std::uint8_t*>(value_bytes),
            name.size(),
            value.size(),
            NGHTTP2_NV_FLAG_NONE};
}

Result<std::size_t>
append_fields(std::span<const Field> fields, FieldArray& out, std::size_t count) {
    for (const Field& field : fields) {
        const bool good = sendable_name(field.name) && grammar::valid_value(field.value) &&
                          !connection_specific(field.name, field.value);
        if (!good || count == out.size()) {
            return fail(ErrorKind::invalid_input,
                        "HTTP/2 head not sent: field '" + std::string(field.name.substr(0, 64)) +
                            "' may not be sent; names are lower case, values without controls");
        }
        out[count++] = make_nv(field.name, field.value);
    }
    return count;
}

// Called by the library when the data are out: only then may trailers be queued.
ssize_t submit_trailers(SessionState& state, const Stream& stream) {
    FieldArray array;
    std::size_t count = 0;
    for (const auto& [name, value] : stream.trailers) {
        array[count++] = make_nv(name, value);
    }
    const int submitted = nghttp2_submit_trailer(state.session, stream.id, array.data(), count);
    return submitted == 0 ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

ssize_t read_source(nghttp2_session*,
                    std::int32_t id,
                    std::uint8_t*,
                    std::size_t length,
                    std::uint32_t* flags,
                    nghttp2_data_source* source,
                    void*) {
    auto& state = *static_cast<SessionState*>(source->ptr);
    const Stream* stream = state.find(id);
    if (stream == nullptr || stream->life != Life::live) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (stream->source.empty()) {
        if (!stream->ending) {
            return NGHTTP2_ERR_DEFERRED;
        }
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->has_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            return submit_trailers(state, *stream);
        }
        return 0;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (stream->ends_with_source && stream->source.size() <= length) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return static_cast<ssize_t>(std::min(length, stream->source.size()));
}

struct OptionDeleter {
    void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
struct CallbacksDeleter {
    void operator()(nghttp2_session_callbacks* c) const { nghttp2_session_callbacks_del(c); }
};

Result<void> check(int library_result, std::string_view what) {
    if (library_result == 0) {
        return {};
    }
    return fail(ErrorKind::internal,
                std::string(what) + ": nghttp2: " + nghttp2_strerror(library_result));
}

Result<void> may_open(const Session& session, const SessionState& state) {
    if (state.dead || session.draining()) {
        return fail(ErrorKind::closed, "HTTP/2 connection is ending; open another");
    }
    if (!session.can_open_stream()) {
        return fail(ErrorKind::limit_exceeded,
                    "HTTP/2 connection carries its maximum of streams; open another");
    }
    return {};
}

Result<StreamId>
submit_request(SessionState& state, std::span<const nghttp2_nv> head, StreamEnd end) {
    nghttp2_data_provider provider{};
    provider.source.ptr = &state;
    provider.read_callback = read_source;
    const bool whole = end == StreamEnd::ended;
    const std::int32_t id = nghttp2_submit_request(
        state.session, nullptr, head.data(), head.size(), whole ? nullptr : &provider, nullptr);
    if (id < 0) {
        return std::unexpected(check(id, "HTTP/2 request not sent").error());
    }
    state.add(id).ending = whole;
    if (!whole) {
        state.pump();  // before its head has left a stream has no window to write into
    }
    return static_cast<StreamId>(id);
}

}  // namespace

Result<void> SessionState::start() {
    nghttp2_option* raw_option = nullptr;
    nghttp2_session_callbacks* raw_callbacks = nullptr;
    if (nghttp2_option_new(&raw_option) != 0) {
        return fail(ErrorKind::internal, "HTTP/2 session: out of memory");
    }
    const std::unique_ptr<nghttp2_option, OptionDeleter> option(raw_option);
    if (nghttp2_session_callbacks_new(&raw_callbacks) != 0) {
        return fail(ErrorKind::internal, "HTTP/2 session: out of memory");
    }
    const std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter> callbacks(raw_callbacks);
    set_callbacks(raw_callbacks);
    nghttp2_option_set_no_auto_window_update(raw_option, 1);
    nghttp2_option_set_no_closed_streams(raw_option, 1);
    nghttp2_option_set_max_outbound_ack(raw_option, outbound_acks_max);
    nghttp2_option_set_max_settings(raw_option, settings_per_frame_max);
    nghttp2_option_set_peer_max_concurrent_streams(raw_option, options.streams_max);
    nghttp2_option_set_max_continuations(raw_option, continuations_max);
    for (unsigned type = first_unknown_type; type <= 0xff; ++type) {
        nghttp2_option_set_user_recv_extension_type(raw_option, static_cast<std::uint8_t>(type));
    }
    // Behind our own count, which knows a tunnel's ordinary end from an early one.
    nghttp2_option_set_stream_reset_rate_limit(raw_option,
                                               std::uint64_t{4} * options.early_resets_max,
                                               std::uint64_t{2} * options.early_resets_max);
    const auto make =
        role == Role::server ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
    const int made = make(&session, raw_callbacks, this, raw_option, library_memory());
    if (made != 0) {
        return check(made, "HTTP/2 session");
    }
    std::array<nghttp2_settings_entry, 5> entries = {{
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         static_cast<std::uint32_t>(options.header_block_bytes_max)},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.streams_max},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    }};
    // A server may not send ENABLE_PUSH other than 0 and need not send it at all.
    const std::size_t count = role == Role::server ? entries.size() - 1 : entries.size();
    const int submitted =
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries.data(), count);
    if (submitted != 0) {
        return check(submitted, "HTTP/2 SETTINGS");
    }
    return check(nghttp2_session_set_local_window_size(
                     session,
                     NGHTTP2_FLAG_NONE,
                     0,
                     static_cast<std::int32_t>(options.connection_window_bytes)),
                 "HTTP/2 connection window");
}

Session::Session(std::unique_ptr<SessionState> state) : state_(std::move(state)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>>
Session::create(Role role, Handler& handler, const SessionOptions& options) {
    auto state = std::make_unique<SessionState>(role, handler, options);
    const Result<void> started = state->start();
    if (!started) {
        return std::unexpected(started.error());
    }
    state->pump();
    return std::unique_ptr<Session>(new Session(std::move(state)));
}

Result<void> Session::feed(std::span<const std::uint8_t> bytes, Instant now) {
    SessionState& state = *state_;
    assert(!state.in_library);  // not from within an event
    if (state.dead || state.violation != ErrorCode::no_error) {
        return state.die();
    }
    state.roll_window(now);
    state.in_library = true;
    const ssize_t taken = nghttp2_session_mem_recv(state.session, bytes.data(), bytes.size());
    state.in_library = false;
    if (taken < 0) {
        if (state.violation == ErrorCode::no_error) {
            const bool flooded = taken == NGHTTP2_ERR_FLOODED;
            state.violate(flooded ? ErrorCode::enhance_your_calm : ErrorCode::protocol_error,
                          nghttp2_strerror(static_cast<int>(taken)));
        }
        return state.die();
    }
    state.pump();
    if (state.violation != ErrorCode::no_error) {
        return state.die();
    }
    state.dispatch();
    return {};
}

std::span<const std::uint8_t> Session::output() {
    state_->pump();
    return state_->output.view();
}

void Session::drop_output(std::size_t bytes) {
    state_->output.drop(bytes);
    state_->pump();
    state_->dispatch();
}

void Session::take_output(std::vector<std::uint8_t>& into, std::size_t bytes_max) {
    state_->pump();
    if (!state_->output.swap(into, bytes_max)) {
        const auto ready = state_->output.view();
        const auto front = ready.first(std::min(ready.size(), bytes_max));
        into.assign(front.begin(), front.end());
        state_->output.drop(front.size());
    }
    state_->pump();
    state_->dispatch();
}

bool Session::wants_read() const {
    return !state_->dead && state_->violation == ErrorCode::no_error &&
           state_->output.size() < state_->options.output_queue_bytes_max &&
           nghttp2_session_want_read(state_->session) != 0;
}

bool Session::wants_write() {
    state_->pump();
    return state_->output.size() > 0;
}

bool Session::finished() {
    if (wants_write()) {
        return false;
    }
    const bool failed = state_->dead || state_->violation != ErrorCode::no_error;
    return failed || (nghttp2_session_want_read(state_->session) == 0 &&
                      nghttp2_session_want_write(state_->session) == 0);
}

bool Session::can_open_stream() const {
    const SessionState& state = *state_;
    if (state.role != Role::client || state.dead || state.violation != ErrorCode::no_error ||
        draining() || nghttp2_session_check_request_allowed(state.session) == 0) {
        return false;
    }
    return state.streams.size() < streams_max();
}

std::uint32_t Session::streams_max() const {
    const std::uint32_t peer_max = nghttp2_session_get_remote_settings(
        state_->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return std::min(peer_max, state_->options.streams_max);
}

Result<StreamId> Session::open_connect_stream(std::string_view authority,
                                              std::span<const Field> fields) {
    SessionState& state = *state_;
    if (auto allowed = may_open(*this, state); !allowed) {
        return std::unexpected(allowed.error());
    }
    const auto host_port = uri::split_host_port(authority);
    if (!host_port || host_port->port == 0) {
        return fail(ErrorKind::invalid_input, "CONNECT not sent: authority is not host:port");
    }
    FieldArray array;
    array[0] = make_nv(":method", "CONNECT");
    array[1] = make_nv(":authority", authority);
    const Result<std::size_t> count = append_fields(fields, array, 2);
    if (!count) {
        return std::unexpected(count.error());
    }
    return submit_request(state, std::span(array).first(*count), StreamEnd::open);
}

Result<StreamId> Session::open_request_stream(const RequestLine& line,
                                              std::span<const Field> fields,
                                              StreamEnd end) {
    SessionState& state = *state_;
    if (auto allowed = may_open(*this, state); !allowed) {
        return std::unexpected(allowed.error());
    }
    FieldArray array;
    std::size_t at = 0;
    for (const auto& [name, value] : {std::pair(":method", line.method),
                                      std::pair(":scheme", line.scheme),
                                      std::pair(":authority", line.authority),
                                      std::pair(":path", line.path)}) {
        if (value.empty() || !grammar::valid_value(value)) {
            return fail(ErrorKind::invalid_input,
                        std::string("HTTP/2 request not sent: ") + name + " is empty or invalid");
        }
        array[at++] = make_nv(name, value);
    }
    const Result<std::size_t> count = append_fields(fields, array, at);
    if (!count) {
        return std::unexpected(count.error());
    }
    return submit_request(state, std::span(array).first(*count), end);
}

Result<void> Session::inform(StreamId id, std::uint16_t status, std::span<const Field> fields) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead) {
        return fail(ErrorKind::not_found, "HTTP/2 interim head not sent: the stream has ended");
    }
    if (state.role != Role::server || stream->answered || status < 100 || status > 199 ||
        status == 101) {
        return fail(ErrorKind::invalid_input,
                    "HTTP/2 interim head not sent: 1xx but 101, before the final head");
    }
    const std::string digits = std::to_string(status);
    FieldArray array;
    array[0] = make_nv(":status", digits);
    const Result<std::size_t> count = append_fields(fields, array, 1);
    if (!count) {
        return std::unexpected(count.error());
    }
    const std::int32_t submitted = nghttp2_submit_headers(
        state.session, NGHTTP2_FLAG_NONE, stream->id, nullptr, array.data(), *count, nullptr);
    state.pump();
    return check(std::min(submitted, 0), "HTTP/2 interim head not sent");
}

Result<void>
Session::respond(StreamId id, std::uint16_t status, std::span<const Field> fields, StreamEnd end) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead) {
        return fail(ErrorKind::not_found, "HTTP/2 answer not sent: the stream has ended");
    }
    if (state.role != Role::server || stream->answered || status < 200 || status > 599) {
        return fail(ErrorKind::invalid_input,
                    "HTTP/2 answer not sent: one final status 200..599 per stream of a server");
    }
    const std::array<char, 3> digits = {static_cast<char>('0' + status / 100),
                                        static_cast<char>('0' + status / 10 % 10),
                                        static_cast<char>('0' + status % 10)};
    FieldArray array;
    array[0] = make_nv(":status", {digits.data(), digits.size()});
    const Result<std::size_t> count = append_fields(fields, array, 1);
    if (!count) {
        return std::unexpected(count.error());
    }
    nghttp2_data_provider provider{};
    provider.source.ptr = &state;
    provider.read_callback = read_source;
    const bool whole = end == StreamEnd::ended;
    const int submitted = nghttp2_submit_response(
        state.session, stream->id, array.data(), *count, whole ? nullptr : &provider);
    if (submitted != 0) {
        return check(submitted, "HTTP/2 answer not sent");
    }
    stream->answered = true;
    stream->ending = whole;
    if (whole) {
        state.pump();  // a reset() behind it would take back a head that has not left
    }
    return {};
}

Result<std::size_t>
Session::write(StreamId id, std::span<const std::uint8_t> bytes, StreamEnd end) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead) {
        return fail(ErrorKind::not_found, "HTTP/2 data not sent: the stream has ended");
    }
    if (stream->ending || (state.role == Role::server && !stream->answered)) {
        return fail(ErrorKind::closed, "HTTP/2 data not sent: after end() or before respond()");
    }
    assert(end == StreamEnd::open || !bytes.empty());
    const std::size_t room = state.in_library ? 0 : state.writable_bytes(*stream);
    const std::size_t offered = std::min(room, bytes.size());
    std::size_t accepted = 0;
    if (offered > 0) {
        stream->source = bytes.first(offered);
        stream->ends_with_source = end == StreamEnd::ended && offered == bytes.size();
        // Fails when the data item was not deferred yet; the pump then reads it all the same.
        static_cast<void>(nghttp2_session_resume_data(state.session, stream->id));
        state.pump();
        // The pump can end streams but never frees one that is live: it only queues last events.
        accepted = offered - stream->source.size();
        stream->ending = stream->ends_with_source && stream->source.empty();
        stream->ends_with_source = false;
        stream->source = {};
    }
    if (accepted < bytes.size() && !stream->blocked) {
        stream->blocked = true;
        ++state.blocked_count;
    }
    return accepted;
}

Result<std::size_t> Session::write(StreamId id, std::string_view bytes, StreamEnd end) {
    return write(
        id, std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), end);
}

void Session::end(StreamId id) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead || stream->ending) {
        return;
    }
    if (state.role == Role::server && !stream->answered) {
        reset(id, ErrorCode::internal_error);  // an end without an answer is no answer
        return;
    }
    stream->ending = true;
    static_cast<void>(nghttp2_session_resume_data(state.session, stream->id));
    state.pump();
}

Result<void> Session::end(StreamId id, std::span<const Field> trailers) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead || stream->ending) {
        return fail(ErrorKind::not_found, "HTTP/2 trailers not sent: the stream has ended");
    }
    FieldArray checked;
    if (auto good = append_fields(trailers, checked, 0); !good) {
        return std::unexpected(good.error());
    }
    for (const Field& field : trailers) {
        stream->trailers.emplace_back(field.name, field.value);
    }
    stream->has_trailers = !trailers.empty();
    end(id);
    return {};
}

void Session::reset(StreamId id, ErrorCode code) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead) {
        return;
    }
    stream->life = Life::silenced;
    static_cast<void>(nghttp2_submit_rst_stream(
        state.session, NGHTTP2_FLAG_NONE, stream->id, static_cast<std::uint32_t>(code)));
    state.pump();
}

void Session::consume(StreamId id, std::size_t bytes) {
    SessionState& state = *state_;
    Stream* stream = state.live(id);
    if (stream == nullptr || state.dead) {
        return;  // credited to the connection when the stream ended
    }
    assert(bytes <= stream->unconsumed);
    const std::size_t credit = std::min(bytes, stream->unconsumed);
    stream->unconsumed -= credit;
    static_cast<void>(nghttp2_session_consume(state.session, stream->id, credit));
}

void Session::attach(StreamId id, void* owner) {
    // Also of a stream that has ended and whose last event is still to be told.
    Stream* stream = state_->find(static_cast<std::int32_t>(id));
    if (stream != nullptr) {
        stream->owner = owner;
    }
}

void* Session::attached(StreamId id) const {
    const Stream* stream = state_->find(static_cast<std::int32_t>(id));
    return stream != nullptr && stream->life != Life::silenced ? stream->owner : nullptr;
}

void Session::goaway() {
    SessionState& state = *state_;
    if (state.dead || state.goaway_sent) {
        return;
    }
    if (state.role == Role::server && !state.goaway_notice_sent) {
        state.goaway_notice_sent = true;
        static_cast<void>(nghttp2_submit_shutdown_notice(state.session));
    } else {
        state.goaway_sent = true;
        static_cast<void>(
            nghttp2_submit_goaway(state.session,
                                  NGHTTP2_FLAG_NONE,
                                  nghttp2_session_get_last_proc_stream_id(state.session),
                                  NGHTTP2_NO_ERROR,
                                  nullptr,
                                  0));
    }
    state.pump();
}

void Session::ping(std::uint64_t payload) {
    if (!state_->dead) {
        std::array<std::uint8_t, sizeof(payload)> opaque;
        std::memcpy(opaque.data(), &payload, sizeof(payload));
        static_cast<void>(nghttp2_submit_ping(state_->session, NGHTTP2_FLAG_NONE, opaque.data()));
        state_->pump();
    }
}

void Session::fail_streams(ErrorCode code) {
    if (!state_->dead) {
        if (state_->violation == ErrorCode::no_error) {
            state_->violation_text = "the transport has ended";
        }
        state_->fail_all(code);
    }
}

std::size_t Session::open_streams() const {
    const auto open = [](const auto& stream) { return stream->life == Life::live; };
    return static_cast<std::size_t>(std::ranges::count_if(state_->streams, open));
}

bool Session::draining() const {
    return state_->dead || state_->goaway_notice_sent || state_->goaway_sent ||
           state_->goaway_received;
}

const SessionStats& Session::stats() const {
    return state_->stats;
}

}  // namespace orlop::h2
