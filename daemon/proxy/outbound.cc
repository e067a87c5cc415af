// A connection that a pod opened: what does its destination mean, which protocol is spoken, and
// who serves it. DESIGN §6; protocol selection: istio-semantics §16.
#include "daemon/base/log.h"
#include "daemon/codec/h1/head.h"
#include "daemon/proxy/conversation.h"

namespace orlop::proxy {
namespace {

enum class Service : unsigned char { http, bytes, refuse, none };

struct Look {
    net::Stream* stream;
    bool over = false;
    static void on_deadline(void* self) {
        auto& look = *static_cast<Look*>(self);
        look.over = true;
        look.stream->interrupt_reader();
    }
};

// Waits for the first bytes: a little on a port whose protocol nobody declared, where a silent
// client is served as bytes since it may be waiting for the server to speak first; as long as for
// any idle connection on a port declared http. Undecided when the wait was in vain.
runtime::Task<h1::Looks> look_at(Conversation& conversation, std::int64_t wait_ms) {
    Look look{conversation.stream.get()};
    runtime::Timer deadline(&Look::on_deadline, &look);
    auto& loop = conversation.core->loop();
    loop.timers().set(deadline, loop.now() + std::chrono::milliseconds(wait_ms));
    auto seen = h1::Looks::undecided;
    while (seen == h1::Looks::undecided) {
        auto arrived = co_await conversation.stream->more();
        if (!arrived || *arrived == 0) {
            if (look.over) {
                conversation.core->metrics().add(telemetry::CoreCounter::protocol_look_timeouts);
            }
            break;
        }
        seen = h1::look_at_first_bytes(conversation.stream->input());
    }
    co_return seen;
}

struct Meaning {
    bool known_service = false;
    bool known_workload = false;
    model::Protocol protocol = model::Protocol::undeclared;
    bool server_first = false;
    bool registry_only = false;
};

Meaning meaning_of(const Conversation& conversation) {
    const model::Snapshot& snapshot = *conversation.core->pinned()->snapshot;
    auto target = snapshot.resolve_outbound(conversation.pod->workload->ns, conversation.original);
    Meaning meaning;
    meaning.known_service = target.service != nullptr && target.port != nullptr;
    meaning.known_workload = target.workload != nullptr;
    meaning.registry_only = snapshot.mesh().outbound_policy == model::OutboundPolicy::registry_only;
    if (meaning.known_service) {
        meaning.protocol = target.port->protocol;
        meaning.server_first = target.port->server_first;
    }
    return meaning;
}

runtime::Task<Service> choose_service(Conversation& conversation) {
    Meaning meaning = meaning_of(conversation);
    if (!meaning.known_service) {
        bool refused = meaning.registry_only && !meaning.known_workload;
        co_return refused ? Service::refuse : Service::bytes;
    }
    bool undeclared = meaning.protocol == model::Protocol::undeclared;
    if (meaning.protocol == model::Protocol::http1) {
        // HTTP/2 with prior knowledge on a port declared http: passed on as it is.
        auto seen = co_await look_at(conversation, limits::downstream_idle_ms);
        co_return seen == h1::Looks::undecided ? Service::none
        : seen == h1::Looks::http2             ? Service::bytes
                                               : Service::http;
    }
    if (!undeclared || meaning.server_first) {
        co_return Service::bytes;
    }
    auto seen = co_await look_at(conversation, limits::protocol_look_ms);
    co_return seen == h1::Looks::http1 ? Service::http : Service::bytes;
}

}  // namespace

runtime::Task<void> serve_outbound(Conversation conversation) {
    auto drain = conversation.core->watch_drain();
    auto closing = net::Closing::orderly;
    Service service;
    {
        LiveStream live(conversation.pod->live, *conversation.stream);
        live.between_requests(conversation.stream.get());  // a drain need not wait for a silent one
        service = co_await choose_service(conversation);
    }
    switch (service) {
    case Service::http:
        closing = co_await serve_http(conversation);
        break;
    case Service::bytes:
        closing = co_await serve_bytes(conversation);
        break;
    case Service::refuse:
        closing = net::Closing::reset;
        break;
    case Service::none:  // gone, or idle, before anything was asked
        closing = conversation.stream->failure() ? net::Closing::reset : net::Closing::orderly;
        break;
    }
    co_await conversation.stream->close(closing);
}

}  // namespace orlop::proxy
