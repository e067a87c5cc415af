#include "daemon/net/tls_stream.h"

#include <cassert>

namespace orlop::net {
namespace {

constexpr std::size_t out_bytes = 4 * mtls::tls_record_room_bytes;

std::span<const std::uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

TlsStream::TlsStream(std::unique_ptr<Stream> inner, mtls::TlsSession session)
    : Stream(inner->loop()), inner_(std::move(inner)), session_(std::move(session)), scope_(loop()),
      write_free_(loop()) {}

TlsStream::~TlsStream() = default;

void TlsStream::on_handshake_deadline(void* context) {
    auto& self = *static_cast<TlsStream*>(context);
    self.timed_out_ = true;
    self.inner_->abort(Error{ErrorKind::timed_out, "TLS handshake timeout", Side::internal, 0});
}

void TlsStream::on_close_deadline(void* context) {
    auto& self = *static_cast<TlsStream*>(context);
    self.inner_->abort(Error{ErrorKind::timed_out,
                             "the peer does not take our close_notify",
                             Side::internal,
                             ETIMEDOUT});
}

runtime::Task<Result<void>> TlsStream::handshake(Duration timeout) {
    runtime::Timer deadline(&TlsStream::on_handshake_deadline, this);
    if (timeout > Duration::zero()) {
        loop().timers().set(deadline, loop().now() + timeout);
    }
    auto result = co_await shake();
    if (!result && !timed_out_) {
        // The peer deserves the alert that says why.
        auto told = co_await flush_pending();
        (void)told;
    }
    co_return result;
}

runtime::Task<Result<void>> TlsStream::shake() {
    while (true) {
        if (session_.established()) {
            flush_soon();  // our last flight, and the first bytes of who waits for this
            co_return {};
        }
        if (auto flushed = co_await flush_pending(); !flushed) {
            co_return std::unexpected(flushed.error());
        }
        auto moved = session_.receive(as_bytes(inner_->input()), {});
        if (!moved) {
            co_return std::unexpected(moved.error());
        }
        inner_->consume(moved->consumed);
        if (session_.established() || session_.has_output()) {
            continue;
        }
        auto arrived = co_await inner_->more();
        if (!arrived) {
            co_return std::unexpected(arrived.error());
        }
        if (*arrived == 0) {
            co_return fail(ErrorKind::reset, "the peer closed during the TLS handshake");
        }
    }
}

// Not filled with zeros: most connections only ever use the front of it.
std::span<std::uint8_t> TlsStream::take_room() {
    if (out_ == nullptr) {
        out_ = std::make_unique_for_overwrite<std::uint8_t[]>(out_bytes);
    }
    return {out_.get(), out_bytes};
}

runtime::Task<Result<void>> TlsStream::write_out(std::size_t bytes) {
    co_return co_await inner_->write(
        std::string_view(reinterpret_cast<const char*>(out_.get()), bytes));
}

// Sends what the session itself wants to say: handshake flights, alerts, tickets.
runtime::Task<Result<void>> TlsStream::flush_pending() {
    if (writing_ && write_free_.has_waiter()) {
        co_return {};  // the next writer sends waiting output first
    }
    while (writing_) {
        co_await write_free_;
    }
    auto room = take_room();
    writing_ = true;
    Result<void> result;
    while (result && session_.has_output()) {
        auto moved = session_.send({}, room);
        if (!moved || moved->produced == 0) {
            break;
        }
        result = co_await write_out(moved->produced);
    }
    writing_ = false;
    write_free_.set();
    co_return result;
}

void TlsStream::flush_soon() {
    if (session_.has_output() && !writing_ && !flush_waits_ && !inner_->failure()) {
        flush_waits_ = true;
        scope_.spawn(&TlsStream::flush, this);
    }
}

// Two turns later: what others have to say in this turn, and in the next because of it, takes the
// session's own words along in one write. See Tunnel::write_out().
runtime::Task<void> TlsStream::flush(TlsStream* self) {
    co_await runtime::Yield(self->loop());
    co_await runtime::Yield(self->loop());
    self->flush_waits_ = false;
    if (self->writing_ || !self->session_.has_output()) {
        co_return;  // the writer sends waiting output first, and looks again when it is done
    }
    auto flushed = co_await self->flush_pending();
    (void)flushed;  // a broken transport shows at the next read or write
}

void TlsStream::start_receive() {
    filling_ = true;
    scope_.spawn(&TlsStream::fill, this);
}

runtime::Task<void> TlsStream::fill(TlsStream* self) {
    while (true) {
        auto room = self->append_room(limits::relay_buffer_bytes);
        auto moved = self->session_.receive(as_bytes(self->inner_->input()), room);
        if (!moved) {
            self->filling_ = false;
            self->flush_soon();
            self->end_input(moved.error());
            co_return;
        }
        self->inner_->consume(moved->consumed);
        self->flush_soon();
        if (moved->produced != 0) {
            self->filling_ = false;
            self->appended(moved->produced);
            co_return;
        }
        if (self->session_.peer_closed()) {
            self->filling_ = false;
            self->end_input(std::nullopt);
            co_return;
        }
        if (!self->inner_->input().empty()) {
            continue;
        }
        auto arrived = co_await self->inner_->more();
        if (arrived && *arrived != 0) {
            continue;
        }
        self->filling_ = false;
        if (!arrived) {
            self->end_input(arrived.error());
        } else if (auto whole = self->session_.transport_ended(); !whole) {
            self->end_input(whole.error());
        } else {
            self->end_input(std::nullopt);
        }
        co_return;
    }
}

void TlsStream::start_send() {
    draining_ = true;
    scope_.spawn(&TlsStream::drain, this);
}

runtime::Task<void> TlsStream::drain(TlsStream* self) {
    while (self->writing_) {
        co_await self->write_free_;
    }
    self->writing_ = true;
    auto room = self->take_room();
    std::size_t filled = 0;
    std::size_t total = 0;
    Result<void> result;
    for (const iovec& piece : self->pieces()) {
        std::string_view left(static_cast<const char*>(piece.iov_base), piece.iov_len);
        total += left.size();
        while (result && !left.empty()) {
            auto moved = self->session_.send(as_bytes(left), room.subspan(filled));
            if (!moved) {
                result = std::unexpected(moved.error());
                break;
            }
            left.remove_prefix(moved->consumed);
            filled += moved->produced;
            if (!left.empty() || out_bytes - filled < mtls::tls_record_room_bytes) {
                result = co_await self->write_out(filled);
                filled = 0;
            }
        }
    }
    if (result && filled != 0) {
        result = co_await self->write_out(filled);
    }
    self->writing_ = false;
    self->draining_ = false;
    self->write_free_.set();
    self->flush_soon();  // what fill() had to say meanwhile
    self->sent(result ? static_cast<int>(total)
                      : -(result.error().sys_errno != 0 ? result.error().sys_errno : EPIPE));
}

void TlsStream::cancel_operations() {
    inner_->abort(*failure());
}

void TlsStream::shutdown_write() {
    session_.close_notify();
    flush_soon();
}

runtime::Task<void> TlsStream::close(Closing closing) {
    watch_end(nullptr, nullptr);
    if (closing == Closing::orderly && !failure() && !inner_->failure()) {
        // A peer that stopped reading must not keep us: the farewell is bounded.
        runtime::Timer deadline(&TlsStream::on_close_deadline, this);
        loop().timers().set(deadline,
                            loop().now() + std::chrono::milliseconds(limits::tls_close_ms_max));
        session_.close_notify();
        auto told = co_await flush_pending();
        (void)told;
    }
    abort(Error{ErrorKind::cancelled, "closed by us", Side::internal, ECANCELED});
    co_await scope_.join();
    co_await inner_->close(closing);
}

}  // namespace orlop::net
