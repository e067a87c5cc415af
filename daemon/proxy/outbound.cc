// A connection that a pod opened: what does its destination mean, which protocol is spoken, and
// who serves it. DESIGN §6; protocol selection: istio-semantics §16.
#include "daemon/codec/h1/head.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/first_look.h"

namespace orlop::proxy {
namespace {

enum class Service : unsigned char { http, http2, bytes, none };

struct Meaning {
    bool known_service = false;
    bool by_port = false;  // only the port is known; services without addresses use it
    bool refused = false;  // nothing is known, and REGISTRY_ONLY
    model::Protocol protocol = model::Protocol::undeclared;
    bool server_first = false;
};

Meaning meaning_of(const Conversation& conversation) {
    const model::Snapshot& snapshot = *conversation.core->pinned()->snapshot;
    std::string_view scope = conversation.pod->workload->scope();
    auto target = snapshot.resolve_outbound(scope, conversation.original);
    Meaning meaning;
    meaning.by_port = target.by_port;
    meaning.known_service = target.port != nullptr;
    meaning.refused = !meaning.known_service &&
                      snapshot.outbound_policy(scope) == model::OutboundPolicy::registry_only;
    if (meaning.known_service) {
        meaning.protocol = target.port->protocol;
        meaning.server_first = target.port->server_first;
    }
    return meaning;
}

// Of a port that promised nothing.
Service sniffed(h1::Looks seen) {
    return seen == h1::Looks::http1   ? Service::http
           : seen == h1::Looks::http2 ? Service::http2
                                      : Service::bytes;
}

runtime::Task<Service> choose_service(Conversation& conversation) {
    Meaning meaning = meaning_of(conversation);
    if (!meaning.known_service) {
        // A refusal in the caller's own language: 502 for HTTP, else a closed connection.
        if (!meaning.refused) {
            co_return Service::bytes;
        }
        co_return sniffed(co_await first_look(conversation, limits::protocol_look_ms));
    }
    // Of an unknown address only the port is known: it may well speak something else.
    bool undeclared = meaning.protocol == model::Protocol::undeclared ||
                      (meaning.by_port && model::is_http(meaning.protocol));
    if (model::is_http(meaning.protocol) && !meaning.by_port) {
        auto seen = co_await first_look(conversation, limits::downstream_idle_ms);
        co_return seen == h1::Looks::undecided ? Service::none
        : seen == h1::Looks::http2             ? Service::http2
                                               : Service::http;
    }
    if (!undeclared || meaning.server_first) {
        co_return Service::bytes;
    }
    co_return sniffed(co_await first_look(conversation, limits::protocol_look_ms));
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
    case Service::http2:
        co_await serve_http2(conversation);
        co_return;
    case Service::bytes:
        closing = co_await serve_bytes(conversation);
        break;
    case Service::none:  // gone, or idle, before anything was asked
        closing = conversation.stream->failure() ? net::Closing::reset : net::Closing::orderly;
        break;
    }
    co_await conversation.stream->close(closing);
}

}  // namespace orlop::proxy
