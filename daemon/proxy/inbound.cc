// Connections that arrive at a pod: plaintext on its own ports, and HBONE on 15008. Each is judged
// (PeerAuthentication, AuthorizationPolicy), then handed to the app over its own loopback with the
// caller's address: as bytes, or request by request where a policy asks about requests.
#include "daemon/base/log.h"
#include "daemon/decide/authenticate.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/proxy/arrival.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/first_look.h"
#include "daemon/proxy/inbound_http.h"
#include "daemon/proxy/inbound_report.h"
#include "daemon/proxy/tunnel.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

using telemetry::ResponseFlag;
using telemetry::SecurityPolicy;

// How the caller learns what became of its connection: by the answer to its CONNECT as long as it
// has none, else by an end.
struct Door {
    Tunnel* tunnel = nullptr;  // null: plaintext
    TunnelStream* stream = nullptr;
    bool open = false;

    void admit() {
        if (tunnel != nullptr && !std::exchange(open, true)) {
            tunnel->respond(*stream, 200, h2::StreamEnd::open);
        }
    }
    net::Closing refuse(std::uint16_t status) const {
        if (tunnel == nullptr || open) {
            return net::Closing::reset;
        }
        tunnel->respond(*stream, status, h2::StreamEnd::ended);
        return net::Closing::orderly;
    }
};

runtime::Task<Result<std::unique_ptr<net::TcpStream>>> connect_to_app(const Delivery& delivery) {
    std::optional<IpAddress> from;
    bool transparent = delivery.core->pinned()->snapshot->mesh().transparent_source;
    if (transparent && delivery.caller.address.is_v4() == delivery.app.ip.is_v4()) {
        from = delivery.caller.address;
    }
    net::ConnectRequest wish{delivery.pod->network.get(),
                             delivery.app,
                             from,
                             std::chrono::milliseconds(limits::connect_timeout_default_ms)};
    co_return co_await net::connect(delivery.core->loop(), delivery.core->sockets(), wish);
}

void log_refusal(const Delivery& delivery, std::string_view why) {
    log_line(LogLevel::info,
             "proxy",
             "refused {} -> {}/{} {}: {}",
             delivery.caller.identity ? delivery.caller.identity->to_string()
                                      : delivery.caller.address.to_string(),
             delivery.pod->workload->ns,
             delivery.pod->workload->name,
             delivery.app.to_string(),
             why);
}

// Whether AuthorizationPolicies let the connection in as bytes; notes in the report when not.
bool admitted(const Delivery& delivery, InboundReport& report) {
    auto workload = delivery.pod->workload;
    bool probe = !delivery.caller.identity && is_probe(*delivery.core->pinned()->snapshot,
                                                       *workload,
                                                       delivery.caller.address,
                                                       delivery.app.port);
    if (workload->authorization == nullptr || probe || !workload->enrol_wanted) {
        return true;
    }
    auto verdict = decide::authorize(*workload, delivery.caller.view(delivery.app), nullptr);
    report.note(verdict);
    if (!verdict.allowed) {
        delivery.core->metrics().add(telemetry::CoreCounter::refused_authorization);
        log_refusal(delivery, verdict.details);
    }
    return verdict.allowed;
}

// Bytes: judged as one connection, and judged again by every new snapshot while they flow.
runtime::Task<net::Closing>
deliver_bytes(Delivery delivery, Door* door, net::Stream* stream, Looked looked) {
    InboundReport report(delivery);
    if (!admitted(delivery, report)) {
        auto closing = door->refuse(401);
        report.finish();
        co_return closing;
    }
    auto closing = net::Closing::reset;
    auto app = co_await connect_to_app(delivery);
    if (!app) {
        report.record.flags.add(ResponseFlag::UF);
        report.record.transport_failure = report.record.keep(app.error().context);
        closing = door->refuse(503);
    } else {
        door->admit();
        JudgedStream judged(delivery.pod->judged, *stream, delivery.caller, delivery.app, looked);
        co_await relay_into(*stream, **app, report.meter.outcome());
        if (judged.cut()) {
            report.record.flags.add(ResponseFlag::DENY);
            delivery.core->metrics().add(telemetry::CoreCounter::refused_authorization);
        }
        closing = report.meter.outcome().failure ? net::Closing::reset : net::Closing::orderly;
        co_await (*app)->close(closing);
    }
    report.finish();
    co_return closing;
}

enum class Service : unsigned char { requests, http2, bytes, none };

// Bytes that an HTTP server might still take for a request, lenient as many are: where a policy
// asks about requests, the strict parser has the say over them.
bool textual(std::string_view bytes) {
    unsigned char first = bytes.empty() ? 0 : static_cast<unsigned char>(bytes.front());
    return (first >= 0x20 && first < 0x7F) || first == '\r' || first == '\n' || first == '\t';
}

// On a port where a policy asks about requests nobody gets past it by waiting: the first bytes are
// waited for as long as for any idle connection.
runtime::Task<Service> choose_service(Conversation& conversation, Reading reading) {
    bool judged = decide::authorization_needs_requests(*conversation.pod->workload,
                                                       conversation.original.port);
    bool patient = judged || reading == Reading::requests;
    LiveStream live(conversation.pod->live, *conversation.stream);
    live.between_requests(conversation.stream.get());
    switch (co_await first_look(conversation,
                                patient ? limits::downstream_idle_ms : limits::protocol_look_ms)) {
    case h1::Looks::http1:
        co_return Service::requests;
    case h1::Looks::http2:
        co_return judged || reading == Reading::requests ? Service::http2 : Service::bytes;
    case h1::Looks::undecided:
        co_return patient ? Service::none : Service::bytes;
    case h1::Looks::other:
        break;
    }
    bool strict = reading == Reading::requests || textual(conversation.stream->input());
    co_return judged&& strict ? Service::requests : Service::bytes;
}

Reading reading_for(const Delivery& delivery) {
    const model::Snapshot& snapshot = *delivery.core->pinned()->snapshot;
    const model::Workload& callee = *delivery.pod->workload;
    bool probe = !delivery.caller.identity &&
                 is_probe(snapshot, callee, delivery.caller.address, delivery.app.port);
    return probe || !callee.enrol_wanted ? Reading::bytes
                                         : reading_of(snapshot, callee, delivery.app);
}

std::shared_ptr<InboundHttp> requests_of(const Delivery& delivery) {
    return std::make_shared<InboundHttp>(
        *delivery.core, *delivery.pod, delivery.caller, delivery.app, delivery.security);
}

// What the pod's ports and policies make of the connection; ends with the stream closed.
runtime::Task<void> deliver(Delivery delivery, Door door, std::unique_ptr<net::Stream> stream) {
    ProxyCore& core = *delivery.core;
    Conversation conversation{
        &core, delivery.pod, std::move(stream), delivery.app, delivery.caller_socket};
    auto closing = net::Closing::reset;
    auto reading = reading_for(delivery);
    auto service = Service::bytes;
    if (reading != Reading::bytes) {
        door.admit();
        service = co_await choose_service(conversation, reading);
    }
    switch (service) {
    case Service::requests:
        conversation.arriving = requests_of(delivery);
        closing = co_await serve_http(conversation);
        break;
    case Service::http2:
        conversation.arriving = requests_of(delivery);
        co_await serve_http2(conversation);
        co_return;
    case Service::bytes: {
        bool judged =
            decide::authorization_needs_requests(*delivery.pod->workload, delivery.app.port);
        auto looked = reading != Reading::bytes && judged ? Looked::yes : Looked::no;
        LiveStream live(delivery.pod->live, *conversation.stream);
        closing = co_await deliver_bytes(delivery, &door, conversation.stream.get(), looked);
        break;
    }
    case Service::none:  // left before it asked for anything
        closing = conversation.stream->failure() ? net::Closing::reset : net::Closing::orderly;
        break;
    }
    co_await conversation.stream->close(closing);
}

// One stream of a peer's tunnel: 400 what is no tunnel to us, 401 whom policy refuses, 503 when
// the app does not answer, else 200 and bytes.
runtime::Task<void> serve_tunnel_stream(Delivery delivery,
                                        std::unique_ptr<TunnelStream> stream,
                                        TunnelRequest request,
                                        std::shared_ptr<Tunnel> tunnel) {
    auto drain = delivery.core->watch_drain();
    auto workload = delivery.pod->workload;
    auto target = SocketAddress::parse(request.authority);
    bool ours = request.kind == h2::RequestKind::tunnel && target &&
                std::ranges::find(workload->addresses, target->ip) != workload->addresses.end();
    Door door{tunnel.get(), stream.get()};
    std::uint16_t refusal = ours ? 0 : 400;
    if (ours) {
        delivery.app = *target;
        auto verdict = decide::judge_inbound(*workload,
                                             {decide::InboundTransport::mutual_tls,
                                              decide::SourceKind::other,
                                              target->port,
                                              &*delivery.caller.identity});
        refusal = verdict.allowed ? 0 : 401;
    }
    if (refusal != 0) {
        InboundReport report(delivery);
        report.finish();
        auto closing = door.refuse(refusal);
        co_await stream->close(closing);
        co_return;
    }
    co_await deliver(delivery, door, std::move(stream));
}

}  // namespace

runtime::Task<void> serve_inbound(Conversation conversation) {
    ProxyCore& core = *conversation.core;
    auto drain = core.watch_drain();
    auto pinned = core.pinned();
    auto source = pinned->snapshot->is_node_address(conversation.peer.ip)
                      ? decide::SourceKind::this_node
                      : decide::SourceKind::other;
    auto verdict = decide::judge_inbound(
        *conversation.pod->workload,
        {decide::InboundTransport::plaintext, source, conversation.original.port, nullptr});
    Delivery delivery{&core,
                      conversation.pod,
                      conversation.original,
                      {std::nullopt, conversation.peer.ip},
                      conversation.peer,
                      SecurityPolicy::none};
    // A pod that is leaving takes plaintext again while its listeners wait for live connections.
    bool leaving = !conversation.pod->workload->enrol_wanted;
    if (verdict.allowed || leaving) {
        co_await deliver(delivery, Door{}, std::move(conversation.stream));
        co_return;
    }
    LiveStream live(conversation.pod->live, *conversation.stream);
    InboundReport report(delivery);
    core.metrics().add(telemetry::CoreCounter::refused_strict);
    report.record.flags.add(ResponseFlag::DENY);
    report.record.transport_failure = decide::inbound_reason_name(verdict.reason);
    log_refusal(delivery, decide::inbound_reason_name(verdict.reason));
    report.finish();
    co_await conversation.stream->close(net::Closing::reset);
}

runtime::Task<void> serve_hbone(Conversation conversation) {
    ProxyCore& core = *conversation.core;
    auto drain = core.watch_drain();
    auto identity = core.identity(conversation.pod->workload->identity);
    if (!identity) {
        co_await conversation.stream->close(net::Closing::reset);
        co_return;
    }
    auto tls = co_await net::tls_accept(std::move(conversation.stream), *identity);
    auto peer = tls ? net::peer_of(**tls) : std::nullopt;
    if (!tls || !peer) {
        core.metrics().add(telemetry::CoreCounter::handshakes_failed);
        log_line(LogLevel::info,
                 "hbone",
                 "refused {} -> {}/{}: {}",
                 conversation.peer.to_string(),
                 conversation.pod->workload->ns,
                 conversation.pod->workload->name,
                 tls ? "no peer identity" : tls.error().context.c_str());
        if (tls) {
            co_await (*tls)->close(net::Closing::reset);
        }
        co_return;
    }
    core.metrics().add(telemetry::CoreCounter::handshakes);
    if (conversation.pod->closed || core.draining()) {
        co_await (*tls)->close(net::Closing::orderly);  // too late: nobody would end this one
        co_return;
    }
    net::TlsStream& transport = **tls;
    LiveStream live(conversation.pod->live, transport);
    Delivery delivery{&core,
                      conversation.pod,
                      conversation.original,
                      {*peer, conversation.peer.ip},
                      conversation.peer,
                      SecurityPolicy::mutual_tls};
    auto tunnel = Tunnel::create(std::move(*tls),
                                 h2::Role::server,
                                 [delivery](std::shared_ptr<Tunnel> owner,
                                            h2::StreamId id,
                                            const h2::RequestEvent& request) {
                                     auto stream = std::make_unique<TunnelStream>(owner, id);
                                     delivery.core->scope().spawn(&serve_tunnel_stream,
                                                                  delivery,
                                                                  std::move(stream),
                                                                  TunnelRequest(request),
                                                                  std::move(owner));
                                 },
                                 {.early_resets_max = limits::hbone_early_resets_max});
    if (!tunnel) {
        co_await transport.close(net::Closing::reset);
        co_return;
    }
    std::erase_if(conversation.pod->accepted, [](const auto& old) { return old.expired(); });
    conversation.pod->accepted.push_back(*tunnel);
    core.metrics().add(telemetry::CoreGauge::tunnels_active, 1);
    co_await Tunnel::serve(*tunnel);
    core.metrics().add(telemetry::CoreGauge::tunnels_active, -1);
}

}  // namespace orlop::proxy
