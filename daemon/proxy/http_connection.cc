// The requests of one HTTP/1.1 connection, one after the other. Pipelined requests wait in the
// stream's input until it is their turn.
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/exchange_pool.h"

namespace orlop::proxy {
namespace {

struct IdleWatch {
    net::Stream* stream;
    static void on_deadline(void* self) {
        static_cast<IdleWatch*>(self)->stream->interrupt_reader();
    }
};

// Bytes of the next request, or false: the caller left, was idle for too long, or we drain.
runtime::Task<bool> await_request(Conversation& conversation, LiveStream& live) {
    net::Stream& stream = *conversation.stream;
    if (!stream.input().empty()) {
        co_return true;
    }
    if (conversation.core->draining()) {
        co_return false;
    }
    IdleWatch watch{&stream};
    runtime::Timer idle(&IdleWatch::on_deadline, &watch);
    auto& loop = conversation.core->loop();
    loop.timers().set(idle, loop.now() + std::chrono::milliseconds(limits::downstream_idle_ms));
    live.between_requests(&stream);
    auto arrived = co_await stream.more();
    live.between_requests(nullptr);
    co_return arrived && *arrived != 0;
}

// Reads until the head is complete. A head that dribbles in is given limits::http_head_ms_max.
runtime::Task<h1::ParseResult> read_head(Conversation& conversation, Exchange& exchange) {
    net::Stream& stream = *conversation.stream;
    IdleWatch watch{&stream};
    runtime::Timer deadline(&IdleWatch::on_deadline, &watch);
    auto parsed = exchange.parse(stream.input());
    while (parsed.state == h1::ParseState::need_more) {
        if (!deadline.armed()) {
            auto& loop = conversation.core->loop();
            loop.timers().set(deadline,
                              loop.now() + std::chrono::milliseconds(limits::http_head_ms_max));
        }
        auto arrived = co_await stream.more();
        if (!arrived || *arrived == 0) {
            break;
        }
        parsed = exchange.parse(stream.input());
    }
    co_return parsed;
}

// Closing a socket with unread bytes makes the kernel send an RST, which may overtake an answer
// that is still on its way: our end is told first, then the caller's last bytes are drained for a
// moment (RFC 9112 §9.6).
runtime::Task<void> linger(Conversation& conversation, LiveStream& live) {
    net::Stream& stream = *conversation.stream;
    if (stream.failure()) {
        co_return;
    }
    stream.shutdown_write();
    IdleWatch watch{&stream};
    runtime::Timer deadline(&IdleWatch::on_deadline, &watch);
    auto& loop = conversation.core->loop();
    loop.timers().set(deadline, loop.now() + std::chrono::milliseconds(limits::http_linger_ms_max));
    live.between_requests(&stream);
    std::size_t arrived = 1;
    while (arrived != 0) {
        stream.consume(stream.input().size());
        auto more = co_await stream.more();
        arrived = more ? *more : 0;
    }
    live.between_requests(nullptr);
}

net::Closing closing_of(Fate fate) {
    return fate == Fate::reset ? net::Closing::reset : net::Closing::orderly;
}

}  // namespace

runtime::Task<net::Closing> serve_http(Conversation& conversation) {
    ProxyCore& core = *conversation.core;
    LiveStream live(conversation.pod->live, *conversation.stream);
    Fate fate = Fate::keep_alive;
    while (fate == Fate::keep_alive && co_await await_request(conversation, live)) {
        auto exchange = core.exchanges().take();
        auto parsed = co_await read_head(conversation, *exchange);
        if (parsed.state == h1::ParseState::complete) {
            exchange->adopt(*conversation.stream, parsed.consumed);
            fate = co_await exchange->run(conversation);
        } else {
            if (parsed.state == h1::ParseState::refused) {
                co_await exchange->refuse(conversation, parsed);
            }
            fate = Fate::close;
        }
        core.exchanges().give_back(std::move(exchange));
    }
    if (fate == Fate::close) {
        co_await linger(conversation, live);
    }
    co_return closing_of(fate);
}

}  // namespace orlop::proxy
