#include "daemon/proxy/tunnel.h"

#include "daemon/base/log.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

constexpr std::size_t write_bytes = 3 * limits::tls_record_bytes_max;

std::span<const std::uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

// --- TunnelStream ---

TunnelStream::TunnelStream(std::shared_ptr<Tunnel> tunnel, h2::StreamId id)
    : Stream(tunnel->loop()), tunnel_(std::move(tunnel)), id_(id), answered_(loop()) {
    place_ = tunnel_->streams_.size();
    tunnel_->streams_.push_back(this);
    if (id != h2::StreamId::none) {
        adopt(id);
    }
}

void TunnelStream::adopt(h2::StreamId id) {
    id_ = id;
    session().attach(id_, this);
}

h2::Session& TunnelStream::session() {
    return *tunnel_->session_;
}

h2::Lowered& TunnelStream::lowered() {
    return tunnel_->lowered_;
}

void TunnelStream::flush_soon() {
    tunnel_->flush_soon();
}

TunnelStream::~TunnelStream() {
    auto& streams = tunnel_->streams_;
    streams[place_] = streams.back();
    streams[place_]->place_ = place_;
    streams.pop_back();
    let_go();
}

void TunnelStream::let_go() {
    tunnel_->let_go(*this);
}

runtime::Task<Result<std::uint16_t>> TunnelStream::answer() {
    while (status_ == 0 && !failure() && !ended()) {
        co_await answered_;
    }
    if (failure()) {
        co_return std::unexpected(*failure());
    }
    co_return status_;
}

bool TunnelStream::transport_ends() const {
    return tunnel_->dead_ || tunnel_->session_->draining();
}

void TunnelStream::start_send() {
    sent_ = 0;
    sending_ = true;
    continue_send();
}

// Offers what is left of the pieces, as far as push() takes it.
void TunnelStream::continue_send() {
    if (!sending_) {
        return;
    }
    std::size_t skip = sent_;
    for (const iovec& piece : pieces()) {
        if (skip >= piece.iov_len) {
            skip -= piece.iov_len;
            continue;
        }
        std::string_view left(static_cast<const char*>(piece.iov_base) + skip,
                              piece.iov_len - skip);
        skip = 0;
        while (sending_ && !left.empty()) {
            auto step = push(left);
            if (!step) {
                sending_ = false;
                refuse_send(step.error());
                sent(-EPIPE);
                return;
            }
            sent_ += step->taken;
            left.remove_prefix(step->taken);
            if (step->wait) {
                flush_soon();
                return;
            }
        }
        if (!sending_) {
            return;
        }
    }
    sending_ = false;
    flush_soon();
    sent(static_cast<int>(sent_));
}

// The session takes what its windows allow.
Result<TunnelStream::Step> TunnelStream::push(std::string_view bytes) {
    auto taken = session().write(id_, bytes);
    if (!taken) {
        return std::unexpected(taken.error());
    }
    return Step{*taken, *taken < bytes.size()};
}

void TunnelStream::cancel_operations() {
    sending_ = false;
    answered_.set();
    if (!gone_) {
        gone_ = true;
        tunnel_->session_->attach(id_, nullptr);
        tunnel_->session_->reset(id_, h2::ErrorCode::cancel);
        tunnel_->flush_soon();
    }
}

void TunnelStream::consumed(std::size_t bytes) {
    if (!tunnel_->dead_) {
        tunnel_->session_->consume(id_, bytes);
        tunnel_->flush_soon();
    }
}

void TunnelStream::take(std::span<const std::uint8_t> bytes) {
    // The window is the bound: who reads from this stream may set a smaller limit for its gathering
    // of heads, which says nothing about what the peer may send.
    if (!append(bytes.data(), bytes.size(), limits::h2_stream_window_bytes)) {
        abort(Error{ErrorKind::limit_exceeded,
                    "h2_stream_window_bytes exceeded by the peer",
                    Side::internal,
                    0});
    }
}

void TunnelStream::peer_reset(h2::ErrorCode code) {
    gone_ = true;
    sending_ = false;
    ErrorKind kind = code == h2::ErrorCode::refused_stream ? ErrorKind::refused : ErrorKind::reset;
    Error error{kind,
                "the tunnel stream was reset (HTTP/2 code " +
                    std::to_string(static_cast<std::uint32_t>(code)) + ")",
                Side::internal,
                ECONNRESET};
    answered_.set();
    fail_stream(error);
    end_input(error);
    resume_waiters();
}

void TunnelStream::shutdown_write() {
    if (!gone_ && !std::exchange(ended_write_, true)) {
        tunnel_->session_->end(id_);
        tunnel_->flush_soon();
    }
}

runtime::Task<void> TunnelStream::close(net::Closing closing) {
    watch_end(nullptr, nullptr);
    if (closing == net::Closing::orderly && !failure()) {
        // The peer ends its side when it has seen ours; until then its bytes are dropped.
        shutdown_write();
        tunnel_->let_go(*this);
    }
    abort(Error{ErrorKind::cancelled, "closed by us", Side::internal, ECANCELED});
    co_return;
}

// --- Tunnel ---

Tunnel::Tunnel(std::unique_ptr<net::Stream> transport, h2::Role role, Accept accept)
    : transport_(std::move(transport)), role_(role), accept_(std::move(accept)),
      writers_(transport_->loop()), idle_since_(transport_->loop().now()) {}

Tunnel::~Tunnel() = default;

Result<std::shared_ptr<Tunnel>> Tunnel::create(std::unique_ptr<net::Stream> transport,
                                               h2::Role role,
                                               Accept accept,
                                               const h2::SessionOptions& options) {
    std::shared_ptr<Tunnel> tunnel(new Tunnel(std::move(transport), role, std::move(accept)));
    auto session = h2::Session::create(role, *tunnel, options);
    if (!session) {
        return std::unexpected(session.error());
    }
    tunnel->session_ = std::move(*session);
    return tunnel;
}

runtime::Task<void> Tunnel::serve(std::shared_ptr<Tunnel> self) {
    self->flush_soon();
    std::string_view why = "the peer closed";
    while (!self->session_->finished()) {
        // What a look at the first bytes left comes before any new arrival.
        if (self->transport_->input().empty()) {
            auto arrived = co_await self->transport_->more();
            if (!arrived || *arrived == 0) {
                break;
            }
        }
        self->feeding_ = true;
        auto fed = self->session_->feed(as_bytes(self->transport_->input()), self->loop().now());
        self->feeding_ = false;
        self->transport_->consume(self->transport_->input().size());
        self->flush_soon();
        self->tell_change();
        if (!fed) {
            log_line(LogLevel::warning, "http2", "a connection was cut: {}", fed.error().context);
            why = "protocol error";
            break;
        }
    }
    self->dead_ = true;  // no new writer from here on
    runtime::Timer deadline(&Tunnel::on_close_deadline, self.get());
    self->loop().timers().set(
        deadline, self->loop().now() + std::chrono::milliseconds(limits::tls_close_ms_max));
    co_await self->writers_.join();
    deadline.cancel();
    self->session_->fail_streams(h2::ErrorCode::cancel);
    co_await self->transport_->close(net::Closing::orderly);
    log_line(LogLevel::debug, "http2", "connection ended: {}", why);
}

// What is left to say is said to a peer that listens, or not at all.
void Tunnel::on_close_deadline(void* context) {
    auto& self = *static_cast<Tunnel*>(context);
    self.transport_->abort(Error{
        ErrorKind::timed_out, "the peer of a tunnel does not read", Side::internal, ETIMEDOUT});
}

void Tunnel::flush_soon() {
    if (!writing_ && !dead_ && !feeding_ && !transport_->failure() && session_->wants_write()) {
        writing_ = true;
        writers_.spawn(&Tunnel::write_out, shared_from_this());
    } else if (!writing_ && !dead_ && !feeding_ && session_->finished()) {
        transport_->interrupt_reader();  // a session that gave up says nothing more: serve() ends
    }
}

runtime::Task<void> Tunnel::write_out(std::shared_ptr<Tunnel> self) {
    // One turn later: what other coroutines of this turn have to say joins the same records.
    co_await runtime::Yield(self->loop());
    while (!self->transport_->failure()) {
        // Taken out: frames that arrive during the write may move the session's own buffer.
        self->session_->take_output(self->out_, write_bytes);
        if (self->out_.empty()) {
            if (self->session_->wants_write()) {
                continue;  // what the events of the last take had to say
            }
            break;
        }
        auto written = co_await self->transport_->write(
            std::string_view(reinterpret_cast<const char*>(self->out_.data()), self->out_.size()));
        if (!written) {
            break;
        }
    }
    self->writing_ = false;
    self->tell_change();
    if (!self->dead_ && self->session_->finished()) {
        self->transport_->interrupt_reader();  // GOAWAY said and no stream left: serve() ends
    }
}

TunnelStream* Tunnel::stream_of(h2::StreamId id) const {
    return static_cast<TunnelStream*>(session_->attached(id));
}

// For the last events of a stream: the session may have forgotten it already.
TunnelStream* Tunnel::last_word_to(h2::StreamId id) const {
    if (TunnelStream* known = stream_of(id)) {
        return known;
    }
    auto found = std::ranges::find_if(
        streams_, [id](const TunnelStream* stream) { return stream->id_ == id && !stream->gone_; });
    return found == streams_.end() ? nullptr : *found;
}

void Tunnel::let_go(TunnelStream& stream) {
    if (!stream.gone_) {
        stream.gone_ = true;
        session_->attach(stream.id_, nullptr);
        // Nobody will read these: without the credit every stream closed early would shrink the
        // window of the whole connection for as long as its other half stays open.
        session_->consume(stream.id_, stream.uncredited());
    }
    idle_since_ = transport_->loop().now();
}

Result<std::unique_ptr<TunnelStream>> Tunnel::open(std::string_view authority,
                                                   std::span<const Field> fields) {
    if (dead_) {
        return fail(ErrorKind::closed, "the tunnel has ended", Side::upstream);
    }
    auto id = session_->open_connect_stream(authority, fields);
    if (!id) {
        return std::unexpected(id.error());
    }
    flush_soon();
    return std::make_unique<TunnelStream>(shared_from_this(), *id);
}

void Tunnel::respond(TunnelStream& stream, std::uint16_t status, h2::StreamEnd end) {
    if (!stream.gone_) {
        auto answered = session_->respond(stream.id_, status, {}, end);
        (void)answered;  // the stream may be gone: its events have said so
        flush_soon();
    }
}

void Tunnel::refuse(h2::StreamId id, std::uint16_t status) {
    auto answered = session_->respond(id, status, {}, h2::StreamEnd::ended);
    (void)answered;
    flush_soon();
}

void Tunnel::begin_goaway() {
    if (!dead_) {
        session_->goaway();
        flush_soon();
    }
}

void Tunnel::on_request(h2::StreamId id, const h2::RequestEvent& request) {
    accept_(shared_from_this(), id, request);
}

TunnelRequest::TunnelRequest(const h2::RequestEvent& request)
    : authority(request.authority), kind(request.kind) {
    for (const Field& field : request.fields) {
        if (field.name == "forwarded") {
            forwarded = field.value;
        } else if (field.name == "baggage") {
            baggage = field.value;
        }
    }
}

void Tunnel::on_response(h2::StreamId id, const h2::ResponseEvent& response) {
    if (TunnelStream* stream = stream_of(id)) {
        stream->take_response(response);
    }
}

void TunnelStream::take_response(const h2::ResponseEvent& response) {
    if (response.status >= 200) {
        status_ = response.status;
        answered_.set();
    }
}

void Tunnel::on_trailers(h2::StreamId id, std::span<const Field> fields) {
    if (TunnelStream* stream = stream_of(id)) {
        stream->take_trailers(fields);
    }
}

void Tunnel::on_data(h2::StreamId id, std::span<const std::uint8_t> bytes) {
    if (TunnelStream* stream = stream_of(id)) {
        stream->take(bytes);
    } else {
        session_->consume(id, bytes.size());
    }
}

void Tunnel::on_stream_end(h2::StreamId id) {
    if (TunnelStream* stream = stream_of(id)) {
        stream->peer_ended();
        stream->answered_.set();
    }
}

void Tunnel::on_closed(h2::StreamId id) {
    if (TunnelStream* stream = last_word_to(id)) {
        stream->gone_ = true;
    }
}

void Tunnel::on_reset(h2::StreamId id, h2::ErrorCode code) {
    if (TunnelStream* stream = last_word_to(id)) {
        stream->peer_reset(code);
    }
}

// No new streams: warm connections that idle in a pool over this tunnel are of no more use. A
// client that leaves still waits for its answers.
void Tunnel::on_goaway(h2::StreamId last, h2::ErrorCode code) {
    if (role_ == h2::Role::server) {
        return;
    }
    auto streams = streams_;
    for (TunnelStream* stream : streams) {
        stream->nudge_watcher();
    }
}

void Tunnel::on_writable(h2::StreamId id) {
    if (TunnelStream* stream = stream_of(id)) {
        stream->continue_send();
    }
}

}  // namespace orlop::proxy
