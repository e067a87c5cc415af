// Stream: bytes in both directions, pulled by the reader and pushed back on the writer.
//
// Reading is two steps: more() waits for bytes, input() shows what has arrived and is not yet
// consumed, as one contiguous piece. Views into input() stay valid until the next consume() or
// more(). read_ahead() lets one more receive run while the caller does something else, so that the
// end of a connection is noticed early; the watcher tells. write() resumes when all bytes were
// taken by the transport; one write at a time. abort() makes every pending and later operation
// fail with the given error; close() must be awaited before the stream is destroyed.
//
// Owner: one coroutine family on one core's loop. Not thread-safe.
//
//     while (true) {
//         auto arrived = co_await stream.more();
//         if (!arrived || *arrived == 0) { break; }        // error, or the peer sent its end
//         co_await other.write(stream.input());
//         stream.consume(stream.input().size());
//     }
#pragma once

#include "daemon/base/block_pool.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"

#include <sys/uio.h>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace orlop::net {

enum class Closing : unsigned char { orderly, reset };

class Stream {
public:
    static constexpr std::size_t pieces_max = 8;
    using Watcher = void (*)(void* context);

    explicit Stream(runtime::Loop& loop) : loop_(loop) {}
    virtual ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // --- reading ---
    std::string_view input() const {
        return {reinterpret_cast<const char*>(data_) + begin_, end_ - begin_};
    }
    void consume(std::size_t bytes);

    class More {
    public:
        explicit More(Stream& stream) : stream_(stream) {}
        bool await_ready() { return stream_.input_ready(); }
        void await_suspend(std::coroutine_handle<> waiter) { stream_.wait_for_input(waiter); }
        // Bytes that arrived since the last more(); 0 at the orderly end of the peer's bytes.
        Result<std::size_t> await_resume() { return stream_.take_arrival(); }

    private:
        Stream& stream_;
    };
    More more() { return More(*this); }
    // Makes a pending more() return Error cancelled; its receive goes on as a read-ahead.
    void interrupt_reader();
    void read_ahead();  // starts a receive unless one runs, bytes wait, or the end was seen
    // Called from the loop when a read-ahead finds the end or an error; null to remove.
    void watch_end(Watcher watcher, void* context) {
        watcher_ = watcher;
        watcher_context_ = context;
    }
    bool ended() const { return ended_ || failure_.has_value(); }
    // What carries the stream is about to end: not worth keeping for a later use.
    virtual bool transport_ends() const { return false; }
    bool quiet() const { return begin_ == end_ && !has_pending() && !ended(); }
    void limit_input(std::size_t bytes) { input_bytes_max_ = bytes; }

    // --- writing ---
    class Write {
    public:
        explicit Write(Stream& stream) : stream_(stream) {}
        bool await_ready() const { return stream_.failure_.has_value(); }
        void await_suspend(std::coroutine_handle<> waiter) { stream_.begin_write(waiter); }
        Result<void> await_resume() { return stream_.finish_write(); }

    private:
        Stream& stream_;
    };
    Write write(std::string_view bytes);
    Write write(std::span<const std::string_view> pieces);  // at most pieces_max, none empty

    virtual void shutdown_write() = 0;  // no more bytes from us; the peer sees an orderly end
    void abort(Error error);
    const std::optional<Error>& failure() const { return failure_; }
    virtual runtime::Task<void> close(Closing closing) = 0;

    runtime::Loop& loop() { return loop_; }

protected:
    // What a transport must do. start_receive() leads to exactly one of deliver(), append() or
    // end_input() later; start_send() writes pieces_ and calls sent(). Neither calls back inside.
    virtual void start_receive() = 0;
    virtual void start_send() = 0;
    virtual void cancel_operations() = 0;  // waiters must still be resumed by the completion
    virtual bool receive_in_flight() const = 0;
    virtual bool send_in_flight() const = 0;
    virtual void consumed(std::size_t bytes) {}

    void deliver(const runtime::LentBuffer& buffer);
    // false: more than `unread_max` bytes would be unread.
    bool append(const void* bytes, std::size_t size, std::size_t unread_max);
    std::size_t unread() const { return end_ - begin_ + backlog_size_; }
    std::span<std::uint8_t> append_room(std::size_t at_least);
    void appended(std::size_t size);
    void end_input(std::optional<Error> error);
    void sent(int result);
    void nudge_watcher() {
        if (watcher_ != nullptr) {
            watcher_(watcher_context_);
        }
    }
    void fail_stream(Error error);
    void resume_waiters();
    std::span<iovec> pieces() { return {pieces_.data(), piece_count_}; }
    void release_input();

private:
    friend class More;
    friend class Write;
    bool has_pending() const { return pending_.has_value() || backlog_size_ != 0; }
    bool input_ready();
    void wait_for_input(std::coroutine_handle<> waiter);
    Result<std::size_t> take_arrival();
    void begin_write(std::coroutine_handle<> waiter);
    Result<void> finish_write();
    void absorb_pending();
    void absorb_backlog();
    void absorb_lent();
    void extend_input(const std::byte* bytes, std::size_t size);
    void notify_reader();

    runtime::Loop& loop_;
    // The current input: a lent buffer, or heap memory of our own.
    std::byte* data_ = nullptr;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t capacity_ = 0;
    std::optional<runtime::LentBuffer> lent_;
    Block heap_;
    // Arrived since the last more() and not shown yet, so that views into input() stay valid.
    std::optional<runtime::LentBuffer> pending_;
    Block backlog_;
    std::size_t backlog_size_ = 0;
    std::size_t backlog_capacity_ = 0;
    std::size_t fresh_ = 0;
    std::size_t input_bytes_max_ = limits::http_head_bytes_max + 2 * limits::relay_buffer_bytes;
    bool ended_ = false;
    bool interrupted_ = false;
    std::optional<Error> failure_;
    std::coroutine_handle<> reader_;
    Watcher watcher_ = nullptr;
    void* watcher_context_ = nullptr;

    std::array<iovec, pieces_max> pieces_{};
    std::size_t piece_count_ = 0;
    std::optional<Error> write_error_;
    std::coroutine_handle<> writer_;
};

}  // namespace orlop::net
