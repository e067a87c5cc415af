// The requests of one HTTP/2 connection of a pod, each in a coroutine and an exchange of its own.
#include "daemon/base/log.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/exchange.h"
#include "daemon/proxy/exchange_pool.h"
#include "daemon/proxy/h2_message.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

// One stream: one exchange. The head is complete before the stream exists.
runtime::Task<void> serve_message(Conversation conversation) {
    ProxyCore& core = *conversation.core;
    auto drain = core.watch_drain();
    net::Stream& stream = *conversation.stream;
    auto exchange = core.exchanges().take();
    auto arrived = co_await stream.more();
    Fate fate = Fate::reset;
    if (arrived && *arrived != 0) {
        auto parsed = exchange->parse(stream.input());
        if (parsed.state == h1::ParseState::complete) {
            exchange->adopt(stream, parsed.consumed);
            fate = co_await exchange->run(conversation);
        } else if (parsed.state == h1::ParseState::refused) {
            co_await exchange->refuse(conversation, parsed);
            fate = Fate::close;
        }
    }
    core.exchanges().give_back(std::move(exchange));
    co_await stream.close(fate == Fate::reset ? net::Closing::reset : net::Closing::orderly);
}

// What the streams of one connection have in common.
struct Connection {
    ProxyCore* core;
    LocalPodPtr pod;
    SocketAddress original;
    SocketAddress peer;
    std::optional<Ingress> ingress;
    std::shared_ptr<InboundHttp> arriving;
};

void take_request(const Connection& caller,
                  std::shared_ptr<Tunnel> tunnel,
                  h2::StreamId id,
                  const h2::RequestEvent& request) {
    Tunnel& connection = *tunnel;
    auto stream = MessageStream::of_request(std::move(tunnel), id, request);
    if (!stream || caller.core->scope().live() >= limits::connections_per_core_max) {
        bool refused = !stream;
        caller.core->metrics().add(refused ? telemetry::CoreCounter::protocol_errors
                                           : telemetry::CoreCounter::refused_limit);
        log_line(LogLevel::info,
                 "http2",
                 "refused a request of {}/{}: {}",
                 caller.pod->workload->ns,
                 caller.pod->workload->name,
                 refused ? stream.error().context.c_str() : "connections_per_core_max reached");
        connection.refuse(id, refused ? 400 : 503);
        return;
    }
    Conversation conversation{
        caller.core, caller.pod, std::move(*stream), caller.original, caller.peer, caller.ingress};
    conversation.arriving = caller.arriving;
    conversation.version = HttpVersion::http2;
    caller.core->scope().spawn(&serve_message, std::move(conversation));
}

// Says goodbye to a caller that has asked nothing for limits::downstream_idle_ms.
struct IdleWatch {
    ProxyCore& core;
    Tunnel& tunnel;
    runtime::Timer timer{&IdleWatch::on_timer, this};

    static constexpr Duration limit() {
        return std::chrono::milliseconds(limits::downstream_idle_ms);
    }
    void arm() { core.loop().timers().set(timer, core.loop().now() + limit()); }
    static void on_timer(void* self) {
        auto& watch = *static_cast<IdleWatch*>(self);
        bool idle = watch.tunnel.open_streams() == 0 &&
                    watch.core.loop().now() - watch.tunnel.idle_since() >= limit();
        if (idle) {
            watch.tunnel.begin_goaway();
            watch.tunnel.begin_goaway();
        } else {
            watch.arm();
        }
    }
};

}  // namespace

runtime::Task<void> serve_http2(Conversation& conversation) {
    ProxyCore& core = *conversation.core;
    net::Stream& transport = *conversation.stream;
    LiveStream live(conversation.pod->live, transport);
    Connection caller{&core,
                      conversation.pod,
                      conversation.original,
                      conversation.peer,
                      std::move(conversation.ingress),
                      std::move(conversation.arriving)};
    auto tunnel = Tunnel::create(
        std::move(conversation.stream),
        h2::Role::server,
        [caller](std::shared_ptr<Tunnel> owner, h2::StreamId id, const h2::RequestEvent& request) {
            take_request(caller, std::move(owner), id, request);
        });
    if (!tunnel) {
        log_line(LogLevel::error, "http2", "{}", tunnel.error().context);
        co_return;
    }
    std::erase_if(conversation.pod->accepted, [](const auto& old) { return old.expired(); });
    conversation.pod->accepted.push_back(*tunnel);
    IdleWatch idle{core, **tunnel};
    idle.arm();
    co_await Tunnel::serve(*tunnel);
}

}  // namespace orlop::proxy
