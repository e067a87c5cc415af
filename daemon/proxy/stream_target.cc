#include "daemon/proxy/stream_target.h"

#include "daemon/decide/match_route.h"
#include "daemon/decide/match_stream.h"
#include "daemon/proxy/first_look.h"

namespace orlop::proxy {
namespace {

using Verdict = StreamTarget::Verdict;

// The name that the caller asks for; empty when it sends none, speaks something else, or says
// nothing for as long as a handshake may take.
runtime::Task<std::string> look_for_name(Conversation& conversation) {
    auto hello = co_await await_client_hello(conversation);
    co_return hello.server_name;
}

bool name_decides(const model::OutboundTarget& target) {
    if (target.virtual_host != nullptr) {
        return !target.virtual_host->tls.empty();
    }
    return target.by_port && target.port->protocol == model::Protocol::tls;
}

// The routes of `host`, else the whole of its service.
void follow_routes(Conversation& conversation,
                   const model::VirtualHost& host,
                   std::uint16_t port,
                   StreamTarget& out) {
    const model::Workload& caller = *conversation.pod->workload;
    decide::StreamView view{
        out.server_name, conversation.original, port, &caller.labels, caller.ns};
    const model::StreamRoute* route = decide::match_stream(host.tls, view);
    if (route == nullptr) {
        route = decide::match_stream(host.tcp, view);
    }
    if (route == nullptr) {
        out.destination = host.whole.get();
        return;
    }
    out.route_source = route->choice.source;
    std::size_t choice = decide::pick_weighted(route->choice, conversation.core->random().next());
    out.destination = choice == decide::no_destination
                          ? nullptr
                          : route->choice.destinations[choice].destination.get();
    if (out.destination == nullptr) {
        out.verdict = Verdict::no_cluster;
    }
}

}  // namespace

runtime::Task<StreamTarget> choose_stream(Conversation& conversation,
                                          const model::Snapshot& snapshot) {
    const auto caller = conversation.pod->workload;
    if (conversation.ingress) {  // the gateway has looked at the name
        StreamTarget chosen;
        chosen.destination = conversation.ingress->destination;
        if (chosen.to_original()) {  // the original destination is the gateway itself
            chosen.verdict = Verdict::no_cluster;
        } else {
            chosen.service = chosen.destination->service.get();
        }
        co_return chosen;
    }
    auto target = snapshot.resolve_outbound(caller->scope(), conversation.original);
    StreamTarget out;
    out.service = target.service;
    out.destination = target.destination;
    std::uint16_t port = target.port != nullptr ? target.port->port : conversation.original.port;
    if (name_decides(target)) {
        out.server_name = co_await look_for_name(conversation);
    }
    const model::VirtualHost* host = target.virtual_host;
    if (host == nullptr && target.by_port && !out.server_name.empty()) {
        host = snapshot.find_virtual_host(caller->scope(), out.server_name, port);
    }
    // A pod that is called by its own address is that pod, whatever the routes say.
    if (host != nullptr && target.workload == nullptr) {
        follow_routes(conversation, *host, port, out);
    }
    if (out.destination != nullptr) {
        out.service = out.destination->service.get();
    } else if (out.verdict == Verdict::serve &&
               snapshot.outbound_policy(caller->scope()) == model::OutboundPolicy::registry_only) {
        out.verdict = Verdict::blackhole;
    }
    co_return out;
}

}  // namespace orlop::proxy
