#include "daemon/net/stream.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace orlop::net {

Stream::~Stream() {
    assert(!reader_ && !writer_ && "a stream died under a waiter");
    if (pending_) {
        loop_.backend().release_buffer(*pending_);
    }
    release_input();
}

void Stream::release_input() {
    if (lent_) {
        loop_.backend().release_buffer(*lent_);
        lent_.reset();
        data_ = nullptr;
        capacity_ = 0;
    } else if (capacity_ > limits::relay_buffer_bytes) {
        heap_.reset();  // a burst must not pin memory on an idle connection
        data_ = nullptr;
        capacity_ = 0;
    }
    begin_ = end_ = 0;
}

void Stream::consume(std::size_t bytes) {
    assert(bytes <= end_ - begin_);
    begin_ += bytes;
    if (begin_ == end_) {
        release_input();
    }
    if (bytes != 0) {
        consumed(bytes);
    }
}

// Adds bytes behind the unread ones, in heap memory.
void Stream::extend_input(const std::byte* bytes, std::size_t size) {
    std::size_t unread = end_ - begin_;
    if (lent_ || capacity_ - end_ < size) {
        std::size_t capacity = std::max(unread + size, std::min(2 * capacity_, input_bytes_max_));
        auto larger = make_block(capacity);
        if (unread != 0) {
            std::memcpy(larger.get(), data_ + begin_, unread);
        }
        if (lent_) {
            loop_.backend().release_buffer(*lent_);
            lent_.reset();
        }
        heap_ = std::move(larger);
        data_ = heap_.get();
        capacity_ = capacity;
        begin_ = 0;
        end_ = unread;
    }
    std::memcpy(data_ + end_, bytes, size);
    end_ += size;
}

std::span<std::uint8_t> Stream::append_room(std::size_t at_least) {
    if (backlog_capacity_ - backlog_size_ < at_least) {
        std::size_t capacity =
            std::max(backlog_size_ + at_least, std::min(2 * backlog_capacity_, input_bytes_max_));
        auto larger = make_block(capacity);
        if (backlog_size_ != 0) {
            std::memcpy(larger.get(), backlog_.get(), backlog_size_);
        }
        backlog_ = std::move(larger);
        backlog_capacity_ = capacity;
    }
    return {reinterpret_cast<std::uint8_t*>(backlog_.get()) + backlog_size_,
            backlog_capacity_ - backlog_size_};
}

void Stream::appended(std::size_t size) {
    backlog_size_ += size;
    notify_reader();
}

bool Stream::append(const void* bytes, std::size_t size, std::size_t unread_max) {
    if (unread() + size > unread_max) {
        return false;
    }
    std::memcpy(append_room(size).data(), bytes, size);
    appended(size);
    return true;
}

void Stream::absorb_backlog() {
    if (backlog_size_ == 0) {
        return;
    }
    fresh_ += backlog_size_;
    if (begin_ == end_ && !lent_) {
        heap_.swap(backlog_);
        std::swap(capacity_, backlog_capacity_);
        data_ = heap_.get();
        begin_ = 0;
        end_ = backlog_size_;
    } else {
        extend_input(backlog_.get(), backlog_size_);
    }
    backlog_size_ = 0;
}

void Stream::absorb_lent() {
    if (!pending_) {
        return;
    }
    runtime::LentBuffer arrived = *pending_;
    pending_.reset();
    if (begin_ == end_) {
        release_input();
        heap_.reset();
        lent_ = arrived;
        data_ = arrived.data;
        capacity_ = arrived.capacity;
        end_ = arrived.size;
        fresh_ += arrived.size;
        return;
    }
    // The bound is on what the reader left lying; what arrives comes in one buffer at most.
    if (end_ - begin_ >= input_bytes_max_) {
        fail_stream(Error{ErrorKind::limit_exceeded,
                          "more unread bytes than the reader accepts in one piece",
                          Side::internal,
                          0});
    } else {
        extend_input(arrived.data, arrived.size);
        fresh_ += arrived.size;
    }
    loop_.backend().release_buffer(arrived);
}

void Stream::absorb_pending() {
    absorb_backlog();
    absorb_lent();
}

bool Stream::input_ready() {
    absorb_pending();
    return fresh_ != 0 || ended_ || failure_.has_value();
}

void Stream::wait_for_input(std::coroutine_handle<> waiter) {
    assert(!reader_ && "one reader at a time");
    reader_ = waiter;
    if (!receive_in_flight()) {
        start_receive();
    }
}

void Stream::interrupt_reader() {
    if (reader_) {
        interrupted_ = true;
        notify_reader();
    }
}

Result<std::size_t> Stream::take_arrival() {
    bool interrupted = std::exchange(interrupted_, false);
    absorb_pending();
    if (interrupted && fresh_ == 0 && !ended_ && !failure_) {
        return fail(ErrorKind::cancelled, "the reader was interrupted");
    }
    if (fresh_ != 0 && !failure_) {
        return std::exchange(fresh_, 0);
    }
    if (failure_) {
        return std::unexpected(*failure_);
    }
    return 0;
}

void Stream::read_ahead() {
    if (!receive_in_flight() && !has_pending() && !ended()) {
        start_receive();
    }
}

void Stream::notify_reader() {
    if (reader_) {
        loop_.resume_later(std::exchange(reader_, nullptr));
    }
}

void Stream::deliver(const runtime::LentBuffer& buffer) {
    assert(!pending_);
    pending_ = buffer;
    notify_reader();
}

void Stream::end_input(std::optional<Error> error) {
    if (error && !failure_) {
        failure_ = std::move(error);
    }
    ended_ = true;
    if (reader_) {
        notify_reader();
    } else if (watcher_ != nullptr) {
        watcher_(watcher_context_);
    }
}

Stream::Write Stream::write(std::string_view bytes) {
    assert(!bytes.empty());
    pieces_[0] = {const_cast<char*>(bytes.data()), bytes.size()};
    piece_count_ = 1;
    return Write(*this);
}

Stream::Write Stream::write(std::span<const std::string_view> pieces) {
    assert(!pieces.empty() && pieces.size() <= pieces_max);
    piece_count_ = 0;
    for (std::string_view piece : pieces) {
        pieces_[piece_count_++] = {const_cast<char*>(piece.data()), piece.size()};
    }
    return Write(*this);
}

void Stream::begin_write(std::coroutine_handle<> waiter) {
    assert(!writer_ && "one writer at a time");
    writer_ = waiter;
    write_error_.reset();
    start_send();
}

Result<void> Stream::finish_write() {
    if (failure_) {
        return std::unexpected(*failure_);
    }
    if (write_error_) {
        return std::unexpected(*write_error_);
    }
    return {};
}

void Stream::sent(int result) {
    std::size_t wanted = 0;
    for (const iovec& piece : pieces()) {
        wanted += piece.iov_len;
    }
    if (result < 0) {
        write_error_ = system_error(-result, "send");
    } else if (static_cast<std::size_t>(result) < wanted) {
        write_error_ =
            Error{ErrorKind::reset, "send: the peer stopped taking bytes", Side::internal, EPIPE};
    }
    if (write_error_) {
        // The kernel tells a socket's error once: the reader must not take what follows for an
        // orderly end.
        fail_stream(*write_error_);
    }
    if (writer_) {
        loop_.resume_later(std::exchange(writer_, nullptr));
    }
}

void Stream::fail_stream(Error error) {
    if (!failure_) {
        failure_ = std::move(error);
    }
}

void Stream::resume_waiters() {
    if (reader_ && !receive_in_flight()) {
        loop_.resume_later(std::exchange(reader_, nullptr));
    }
    if (writer_ && !send_in_flight()) {
        loop_.resume_later(std::exchange(writer_, nullptr));
    }
}

void Stream::abort(Error error) {
    fail_stream(std::move(error));
    cancel_operations();
    bool nobody_reads = !reader_ && !receive_in_flight();
    resume_waiters();
    if (nobody_reads && !ended_ && watcher_ != nullptr) {
        // No receive will end and tell: unread bytes wait, and no more are asked for.
        ended_ = true;
        watcher_(watcher_context_);
    }
}

}  // namespace orlop::net
