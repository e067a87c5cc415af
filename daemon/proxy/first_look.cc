#include "daemon/proxy/first_look.h"

namespace orlop::proxy {
namespace {

struct Look {
    net::Stream* stream;
    bool over = false;
    static void on_deadline(void* self) {
        auto& look = *static_cast<Look*>(self);
        look.over = true;
        look.stream->interrupt_reader();
    }
};

}  // namespace

runtime::Task<h1::Looks> first_look(Conversation& conversation, std::int64_t wait_ms) {
    Look look{conversation.stream.get()};
    runtime::Timer deadline(&Look::on_deadline, &look);
    auto& loop = conversation.core->loop();
    loop.timers().set(deadline, loop.now() + std::chrono::milliseconds(wait_ms));
    auto seen = h1::look_at_first_bytes(conversation.stream->input());
    while (seen == h1::Looks::undecided) {
        auto arrived = co_await conversation.stream->more();
        if (!arrived || *arrived == 0) {
            if (look.over) {
                conversation.core->metrics().add(telemetry::CoreCounter::protocol_look_timeouts);
            }
            break;
        }
        seen = h1::look_at_first_bytes(conversation.stream->input());
        // Who has begun to speak goes on soon: what dribbles in is bounded as any head is.
        constexpr std::int64_t begun_ms = limits::http_head_ms_max;
        if (wait_ms > begun_ms) {
            wait_ms = begun_ms;
            deadline.cancel();
            loop.timers().set(deadline, loop.now() + std::chrono::milliseconds(begun_ms));
        }
    }
    co_return seen;
}

runtime::Task<tls::ClientHello> await_client_hello(Conversation& conversation) {
    net::Stream& stream = *conversation.stream;
    Look look{&stream};
    runtime::Timer deadline(&Look::on_deadline, &look);
    auto& loop = conversation.core->loop();
    loop.timers().set(deadline,
                      loop.now() + std::chrono::milliseconds(limits::tls_handshake_ms_max));
    auto hello = tls::look_at_client_hello(stream.input());
    while (hello.state == tls::HelloState::need_more) {
        auto arrived = co_await stream.more();
        if (!arrived || *arrived == 0) {
            break;
        }
        hello = tls::look_at_client_hello(stream.input());
    }
    co_return hello;
}

}  // namespace orlop::proxy
