// Connections that arrive at a pod: plaintext on its own ports, and HBONE on 15008. Both are
// judged first, then handed to the app over its own loopback with the caller's address.
#include "daemon/base/log.h"
#include "daemon/decide/authenticate.h"
#include "daemon/net/tcp_stream.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/labels.h"
#include "daemon/proxy/relay.h"
#include "daemon/proxy/tunnel.h"

#include <algorithm>

namespace orlop::proxy {
namespace {

using telemetry::ResponseFlag;
using telemetry::SecurityPolicy;

struct Delivery {
    ProxyCore* core = nullptr;
    LocalPodPtr pod;
    SocketAddress app;
    SocketAddress caller;
};

runtime::Task<Result<std::unique_ptr<net::TcpStream>>> connect_to_app(const Delivery& delivery) {
    std::optional<IpAddress> from;
    bool transparent = delivery.core->pinned()->snapshot->mesh().transparent_source;
    if (transparent && delivery.caller.ip.is_v4() == delivery.app.ip.is_v4()) {
        from = delivery.caller.ip;
    }
    net::ConnectRequest wish{delivery.pod->network.get(),
                             delivery.app,
                             from,
                             std::chrono::milliseconds(limits::connect_timeout_default_ms)};
    co_return co_await net::connect(delivery.core->loop(), delivery.core->sockets(), wish);
}

// The arriving end of a TCP conversation in metrics and log. For HTTP the caller's node has
// counted the request; here only bytes are known.
struct InboundReport {
    ProxyCore& core;
    PinnedPtr pinned;
    telemetry::TrafficSeries* series = nullptr;
    telemetry::RequestRecord record;

    InboundReport(const Delivery& delivery, const SpiffeId* peer, SecurityPolicy security)
        : core(*delivery.core), pinned(core.pinned()) {
        const model::Snapshot& snapshot = *pinned->snapshot;
        const model::Workload* source = snapshot.find_workload(delivery.caller.ip);
        if (source != nullptr && peer != nullptr && source->identity != *peer) {
            source = nullptr;  // an address is no identity
        }
        auto target = snapshot.resolve_outbound(delivery.pod->workload->ns, delivery.app);
        series = traffic_series(core.metrics(),
                                {telemetry::Reporter::destination,
                                 source,
                                 delivery.pod->workload.get(),
                                 target.service,
                                 telemetry::RequestProtocol::tcp,
                                 security,
                                 snapshot.mesh().cluster_id});
        series->tcp_opened();
        record.kind = telemetry::ExchangeKind::tcp;
        record.direction = telemetry::Direction::inbound;
        record.started = core.loop().now();
        record.started_wall = std::chrono::system_clock::now();
        record.downstream_local = delivery.app;
        record.downstream_remote = delivery.caller;
        record.upstream_host = delivery.app;
        record.generation = snapshot.generation();
        if (source != nullptr) {
            record.source_workload = source->workload_name;
            record.source_namespace = source->ns;
        }
        record.destination_workload = delivery.pod->workload->workload_name;
        record.destination_namespace = delivery.pod->workload->ns;
    }
    void count(const RelayOutcome& outcome) {
        record.bytes_received = outcome.to_second;
        record.bytes_sent = outcome.to_first;
        series->tcp_bytes(outcome.to_second, outcome.to_first);
    }
    void finish() {
        series->tcp_closed();
        finish_record(core, *pinned, record);
    }
};

// One stream of a peer's tunnel: 400 what is no tunnel to us, 401 whom policy refuses, 503 when
// the app does not answer, else 200 and bytes.
runtime::Task<void> serve_tunnel_stream(Delivery delivery,
                                        std::unique_ptr<TunnelStream> stream,
                                        TunnelRequest request,
                                        SpiffeId peer,
                                        std::shared_ptr<Tunnel> tunnel) {
    auto drain = delivery.core->watch_drain();
    LiveStream live(delivery.pod->live, *stream);
    auto workload = delivery.pod->workload;
    auto target = SocketAddress::parse(request.authority);
    bool ours = request.kind == h2::RequestKind::tunnel && target &&
                std::ranges::find(workload->addresses, target->ip) != workload->addresses.end();
    std::uint16_t refusal = ours ? 0 : 400;
    InboundReport report(
        {delivery.core, delivery.pod, ours ? *target : delivery.app, delivery.caller},
        &peer,
        SecurityPolicy::mutual_tls);
    if (ours) {
        delivery.app = *target;
        auto verdict = decide::judge_inbound(
            *workload,
            {decide::InboundTransport::mutual_tls, decide::SourceKind::other, target->port, &peer});
        refusal = verdict.allowed ? 0 : 401;
    }
    if (refusal == 0) {
        auto app = co_await connect_to_app(delivery);
        if (!app) {
            report.record.flags.add(ResponseFlag::UF);
            report.record.transport_failure = report.record.keep(app.error().context);
            refusal = 503;
        } else {
            tunnel->respond(*stream, 200, h2::StreamEnd::open);
            auto outcome = co_await relay(*stream, **app);
            report.count(outcome);
            auto closing = outcome.failure ? net::Closing::reset : net::Closing::orderly;
            co_await (*app)->close(closing);
            co_await stream->close(closing);
        }
    }
    if (refusal != 0) {
        tunnel->respond(*stream, refusal, h2::StreamEnd::ended);
        co_await stream->close(net::Closing::orderly);
    }
    report.finish();
}

}  // namespace

runtime::Task<void> serve_inbound(Conversation conversation) {
    ProxyCore& core = *conversation.core;
    auto drain = core.watch_drain();
    LiveStream live(conversation.pod->live, *conversation.stream);
    auto pinned = core.pinned();
    auto source = pinned->snapshot->is_node_address(conversation.peer.ip)
                      ? decide::SourceKind::this_node
                      : decide::SourceKind::other;
    auto verdict = decide::judge_inbound(
        *conversation.pod->workload,
        {decide::InboundTransport::plaintext, source, conversation.original.port, nullptr});
    Delivery delivery{&core, conversation.pod, conversation.original, conversation.peer};
    InboundReport report(delivery, nullptr, SecurityPolicy::none);
    auto closing = net::Closing::reset;
    // A pod that is leaving takes plaintext again while its listeners wait for live connections.
    bool leaving = !conversation.pod->workload->enrol_wanted;
    if (!verdict.allowed && !leaving) {
        core.metrics().add(telemetry::CoreCounter::refused_strict);
        report.record.flags.add(ResponseFlag::DENY);
        report.record.transport_failure = decide::inbound_reason_name(verdict.reason);
        log_line(LogLevel::info,
                 "proxy",
                 "refused {} -> {}/{} {}: {}",
                 conversation.peer.to_string(),
                 conversation.pod->workload->ns,
                 conversation.pod->workload->name,
                 conversation.original.to_string(),
                 decide::inbound_reason_name(verdict.reason));
    } else {
        auto app = co_await connect_to_app(delivery);
        if (!app) {
            report.record.flags.add(ResponseFlag::UF);
            report.record.transport_failure = report.record.keep(app.error().context);
        } else {
            auto outcome = co_await relay(*conversation.stream, **app);
            report.count(outcome);
            closing = outcome.failure ? net::Closing::reset : net::Closing::orderly;
            co_await (*app)->close(closing);
        }
    }
    report.finish();
    co_await conversation.stream->close(closing);
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
    auto shared = std::make_shared<std::weak_ptr<Tunnel>>();
    Delivery delivery{&core, conversation.pod, conversation.original, conversation.peer};
    auto tunnel = Tunnel::create(std::move(*tls),
                                 h2::Role::server,
                                 [delivery, peer = *peer, shared](
                                     std::unique_ptr<TunnelStream> stream, TunnelRequest request) {
                                     if (auto owner = shared->lock()) {
                                         delivery.core->scope().spawn(&serve_tunnel_stream,
                                                                      delivery,
                                                                      std::move(stream),
                                                                      std::move(request),
                                                                      peer,
                                                                      std::move(owner));
                                     }
                                 });
    if (!tunnel) {
        co_await transport.close(net::Closing::reset);
        co_return;
    }
    *shared = *tunnel;
    std::erase_if(conversation.pod->accepted, [](const auto& old) { return old.expired(); });
    conversation.pod->accepted.push_back(*tunnel);
    core.metrics().add(telemetry::CoreGauge::tunnels_active, 1);
    co_await Tunnel::serve(*tunnel);
    core.metrics().add(telemetry::CoreGauge::tunnels_active, -1);
}

}  // namespace orlop::proxy
