#include "daemon/proxy/gateway.h"

#include "daemon/base/log.h"
#include "daemon/decide/match_route.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/net/tls_identity.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/first_look.h"
#include "daemon/proxy/labels.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace orlop::proxy {
namespace {

using telemetry::ResponseFlag;

void accept_at_gateway(ProxyCore& core,
                       const LocalPodPtr& pod,
                       const SocketAddress& listener,
                       int fd) {
    auto stream = std::make_unique<net::TcpStream>(core.loop(), fd);
    Conversation conversation{&core, pod, nullptr, stream->local_address(), stream->peer_address()};
    conversation.ingress.emplace().listener = listener;
    bool over = core.scope().live() >= limits::connections_per_core_max ||
                pod->live.size() >= limits::connections_per_workload_max;
    if (over || !pod->workload || pod->closed || core.draining()) {
        if (over) {
            core.metrics().add(telemetry::CoreCounter::refused_limit);
        }
        core.dispose(std::move(stream), net::Closing::reset);
        return;
    }
    core.metrics().add(telemetry::CoreCounter::downstream_connections);
    conversation.stream = std::move(stream);
    core.scope().spawn(&serve_gateway, std::move(conversation));
}

// "shop/web https", or what the port has: "shop/web https, shop/api https".
std::string server_text(const model::GatewayListener& listener,
                        const model::GatewayServer* server) {
    constexpr std::size_t named_max = 4;
    if (server != nullptr) {
        return server->name;
    }
    std::string text;
    for (std::size_t i = 0; i < std::min(named_max, listener.servers.size()); ++i) {
        text += (i == 0 ? "" : ", ") + listener.servers[i].name;
    }
    return listener.servers.size() > named_max ? text + ", ..." : text;
}

// A connection that ends before anything was served: why, for the log and explain.
void report_refusal(const Conversation& conversation, const Pinned& pinned, std::string_view why) {
    const Ingress& ingress = *conversation.ingress;
    const model::GatewayListener* listener = pinned.snapshot->find_gateway(ingress.listener);
    const model::GatewayServer* server =
        listener == nullptr ? nullptr : listener->find_server(ingress.server_name);
    ProxyCore& core = *conversation.core;
    telemetry::RequestRecord record;
    record.kind = telemetry::ExchangeKind::tcp;
    record.started = core.loop().now();
    record.started_wall = std::chrono::system_clock::now();
    record.downstream_local = conversation.original;
    record.downstream_remote = conversation.peer;
    record.source_workload = conversation.pod->workload->workload_name;
    record.source_namespace = conversation.pod->workload->ns;
    record.generation = pinned.snapshot->generation();
    record.authority = record.keep(ingress.server_name);
    if (ingress.client) {
        record.source_principal = record.keep(ingress.client->to_string());
    }
    record.flags.add(ResponseFlag::NR);
    record.details = "filter_chain_not_found";
    record.termination_details =
        record.keep(listener == nullptr ? std::string(why)
                                        : fmt::format("{} (Gateway {}, port {})",
                                                      why,
                                                      server_text(*listener, server),
                                                      listener->address.port));
    record.route_object = object_text(server != nullptr     ? server->source
                                      : listener != nullptr ? listener->source
                                                            : nullptr);
    finish_record(core, pinned, record);
}

runtime::Task<tls::ClientHello> await_hello(Conversation& conversation) {
    LiveStream live(conversation.pod->live, *conversation.stream);
    live.between_requests(conversation.stream.get());
    co_return co_await await_client_hello(conversation);
}

// Ends the TLS of `server`; the conversation then has plaintext. Says what went wrong otherwise.
runtime::Task<Result<void>> end_tls(Conversation& conversation,
                                    const model::GatewayServer& server) {
    auto identity = conversation.core->tls(server.tls->key);
    if (identity == nullptr) {
        co_return fail(ErrorKind::internal, "the TLS context of the server is not there yet");
    }
    // The stream lives on inside what tls_accept makes of it, or ends with it.
    std::optional<LiveStream> live(std::in_place, conversation.pod->live, *conversation.stream);
    auto accepted = co_await net::tls_accept(std::move(conversation.stream), *identity);
    live.reset();
    if (!accepted) {
        co_return std::unexpected(accepted.error());
    }
    conversation.stream = std::move(*accepted);
    conversation.ingress->scheme = "https";
    conversation.ingress->client = net::peer_of(static_cast<net::TlsStream&>(*conversation.stream));
    co_return {};
}

std::string_view hello_fault(tls::HelloState state) {
    switch (state) {
    case tls::HelloState::not_tls:
        return "the port expects TLS and the caller speaks something else";
    case tls::HelloState::refused:
        return "the caller's ClientHello is malformed";
    case tls::HelloState::need_more:
    case tls::HelloState::complete:
        break;
    }
    return "";
}

// Who serves the connection; null after a refusal has been reported.
runtime::Task<const model::GatewayServer*> meet(Conversation& conversation, const Pinned& pinned) {
    const model::GatewayListener* listener =
        pinned.snapshot->find_gateway(conversation.ingress->listener);
    if (listener == nullptr) {
        report_refusal(conversation, pinned, "no Gateway object asks for this port any more");
        co_return nullptr;
    }
    if (listener->tls) {
        auto hello = co_await await_hello(conversation);
        if (hello.state != tls::HelloState::complete) {
            if (auto fault = hello_fault(hello.state); !fault.empty()) {
                report_refusal(conversation, pinned, fault);
            }
            co_return nullptr;
        }
        conversation.ingress->server_name = hello.server_name;
    }
    const model::GatewayServer* server = listener->find_server(conversation.ingress->server_name);
    if (server == nullptr) {
        report_refusal(conversation, pinned, "no server of a Gateway has this SNI");
        co_return nullptr;
    }
    if (!server->broken.empty()) {
        report_refusal(conversation, pinned, server->broken);
        co_return nullptr;
    }
    co_return server;
}

// Chooses where the bytes of the connection go; false after a refusal has been reported.
bool choose_destination(Conversation& conversation,
                        const Pinned& pinned,
                        const model::GatewayServer& server) {
    Ingress& ingress = *conversation.ingress;
    const auto* route = server.find_route(ingress.server_name);
    if (route == nullptr) {
        report_refusal(conversation, pinned, "no tls or tcp route matches the connection");
        return false;
    }
    std::size_t choice = decide::pick_weighted(route->choice, conversation.core->random().next());
    if (choice != decide::no_destination) {
        ingress.destination = route->choice.destinations[choice].destination.get();
    }
    if (ingress.destination == nullptr) {
        report_refusal(conversation, pinned, "the route leads to no known service");
        return false;
    }
    return true;
}

}  // namespace

std::unique_ptr<net::Listener> listen_at_gateway(ProxyCore& core,
                                                 const LocalPodPtr& pod,
                                                 const SocketAddress& listener,
                                                 UniqueFd socket) {
    core.loop().backend().prepare_stream_socket(socket.get());  // accepted sockets inherit
    std::weak_ptr<LocalPod> weak = pod;
    auto made = std::make_unique<net::Listener>(
        core.loop(), std::move(socket), [&core, weak, listener](int accepted) {
            if (auto owner = weak.lock()) {
                accept_at_gateway(core, owner, listener, accepted);
            } else {
                core.loop().backend().close(accepted);
            }
        });
    made->start();
    return made;
}

const model::GatewayServer* gateway_server(const model::Snapshot& snapshot,
                                           const Ingress& ingress) {
    const model::GatewayListener* listener = snapshot.find_gateway(ingress.listener);
    return listener == nullptr ? nullptr : listener->find_server(ingress.server_name);
}

const model::VirtualHost*
gateway_host(const model::Snapshot& snapshot, const Ingress& ingress, std::string_view authority) {
    const model::GatewayServer* server = gateway_server(snapshot, ingress);
    return server == nullptr ? nullptr : server->hosts.find(authority);
}

void note_unrouted(const model::Snapshot& snapshot,
                   const Ingress& ingress,
                   Unrouted why,
                   telemetry::RequestRecord& record) {
    const model::GatewayServer* server = gateway_server(snapshot, ingress);
    if (server == nullptr) {
        record.termination_details =
            record.keep(fmt::format("no Gateway asks for port {} any more; the connection is older",
                                    ingress.listener.port));
        return;
    }
    record.route_object = object_text(server->source);
    record.termination_details = record.keep(
        fmt::format("{} at Gateway {} (port {})",
                    why == Unrouted::host ? "no VirtualService serves this host"
                                          : "no route of the host's VirtualServices matches",
                    server->name,
                    ingress.listener.port));
}

IpAddress shown_caller(const Conversation& conversation) {
    if (!conversation.ingress) {
        return conversation.peer.ip;
    }
    const auto& own = conversation.pod->workload->addresses;
    return own.empty() ? conversation.original.ip : own.front();
}

// Prior knowledge, or what ALPN has agreed on: either way the preface comes first.
static runtime::Task<bool> speaks_http2(Conversation& conversation) {
    LiveStream live(conversation.pod->live, *conversation.stream);
    live.between_requests(conversation.stream.get());
    co_return co_await first_look(conversation, limits::downstream_idle_ms) == h1::Looks::http2;
}

// Policies that select the gateway, for a connection whose requests are not read.
static bool bytes_allowed(const Conversation& conversation) {
    Caller outside{conversation.ingress->client, conversation.peer.ip};
    SocketAddress met{conversation.original.ip, conversation.ingress->listener.port};
    return decide::authorize(*conversation.pod->workload, outside.view(met), nullptr).allowed;
}

runtime::Task<void> serve_gateway(Conversation conversation) {
    auto drain = conversation.core->watch_drain();
    PinnedPtr pinned = conversation.core->pinned();
    const model::GatewayServer* server = co_await meet(conversation, *pinned);
    auto closing = net::Closing::reset;
    if (server != nullptr && server->tls) {
        auto ended = co_await end_tls(conversation, *server);
        if (!ended) {
            report_refusal(conversation, *pinned, ended.error().context);
            co_return;  // the stream went with the handshake
        }
    }
    if (server != nullptr && server->service == model::GatewayService::http) {
        pinned.reset();  // requests pin their own
        if (co_await speaks_http2(conversation)) {
            co_await serve_http2(conversation);
            co_return;
        }
        closing = co_await serve_http(conversation);
    } else if (server != nullptr && !bytes_allowed(conversation)) {
        conversation.core->metrics().add(telemetry::CoreCounter::refused_authorization);
        report_refusal(conversation, *pinned, "an AuthorizationPolicy of the gateway refuses");
    } else if (server != nullptr && choose_destination(conversation, *pinned, *server)) {
        closing = co_await serve_bytes(conversation);
    }
    co_await conversation.stream->close(closing);
}

}  // namespace orlop::proxy
