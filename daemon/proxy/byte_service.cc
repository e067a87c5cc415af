// Connections that are not HTTP to us: plain TCP, the applications' own TLS, server-first
// protocols. One endpoint is chosen, then bytes pass both ways.
#include "daemon/base/log.h"
#include "daemon/proxy/conversation.h"
#include "daemon/proxy/destination_state.h"
#include "daemon/proxy/finish.h"
#include "daemon/proxy/gateway.h"
#include "daemon/proxy/labels.h"
#include "daemon/proxy/relay.h"
#include "daemon/proxy/stream_target.h"
#include "daemon/proxy/tcp_meter.h"

namespace orlop::proxy {
namespace {

using telemetry::ResponseFlag;

struct ByteRoute {
    PinnedPtr pinned;
    WireRequest wire;
    const model::Service* service = nullptr;
    const model::Destination* destination = nullptr;
    std::size_t endpoint = 0;
    std::shared_ptr<DestinationState> state;
    RelayLimits limits{std::chrono::milliseconds(limits::tcp_idle_ms)};
    telemetry::RequestRecord record;
};

// On the same node nobody else watches over the callee's policy: its entry in the list of what it
// let in, on this core.
LocalPodPtr same_node_callee(ProxyCore& core, const ByteRoute& route) {
    return route.wire.wire == decide::Wire::same_node
               ? core.find_pod(route.wire.endpoint.workload->uid)
               : nullptr;
}

// A caller that is cut while its upstream is being connected ends the attempt; one that has only
// ended its side may still wait for an answer.
struct CallerWatch {
    net::Stream& stream;
    net::Interrupt& interrupt;
    static void on_end(void* self) {
        auto& watch = *static_cast<CallerWatch*>(self);
        if (watch.stream.failure()) {
            watch.interrupt.fire();
        }
    }
};

// An endpoint of `destination`, unless nobody is in rotation or the caller has its fill of
// connections.
bool choose_endpoint(Conversation& conversation,
                     const model::Destination& destination,
                     ByteRoute& route) {
    route.destination = &destination;
    route.state = destination_state(*conversation.core, *conversation.pod, destination);
    route.record.cluster = destination.cluster_name;
    const auto& rule = destination.policy.consistent_hash;
    PickWish wish{.original = &conversation.original};
    if (rule && rule->key == model::ConsistentHash::Key::source_ip) {
        const auto bytes = conversation.peer.ip.bytes();
        wish.hash = decide::hash_key({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    auto pick = route.state->pick(destination, wish);
    const bool passthrough = destination.policy.load_balancing == model::LoadBalancing::passthrough;
    if (pick.index == decide::no_endpoint && !passthrough) {
        route.record.flags.add(ResponseFlag::UH);
        return false;
    }
    const auto& pool = destination.policy.pool;
    if (!decide::below(route.state->usage->load().connections, pool.max_connections)) {
        route.state->series->add(telemetry::ClusterCounter::cx_overflow);
        route.record.flags.add(ResponseFlag::UO);
        route.record.termination_details = "maxConnections is reached by this caller";
        return false;
    }
    route.endpoint = pick.index;
    if (pick.index == decide::no_endpoint) {
        route.wire.endpoint.address = conversation.original;
    } else {
        route.wire.endpoint = destination.endpoints[pick.index];
    }
    route.wire.timeout = pool.connect_timeout;
    route.wire.keepalive = keepalive_of(pool);
    route.limits.idle = pool.tcp_idle_timeout.value_or(route.limits.idle);
    route.limits.duration = pool.max_connection_duration.value_or(Duration::zero());
    return true;
}

// What connecting has shown about the endpoint.
void observe(const ByteRoute& route, const Result<std::unique_ptr<net::Stream>>& upstream) {
    if (route.state == nullptr || (!upstream && (upstream.error().kind == ErrorKind::cancelled ||
                                                 upstream.error().kind == ErrorKind::denied))) {
        return;
    }
    decide::TryOutcome outcome;
    outcome.status = 200;
    if (!upstream) {
        outcome.failure = upstream.error().kind == ErrorKind::timed_out
                              ? decide::FailureKind::connect_timeout
                              : decide::FailureKind::connect_failure;
        route.state->series->add(telemetry::ClusterCounter::cx_connect_fail);
    }
    route.state->observe(*route.destination, route.endpoint, outcome);
}

// Fills `route` and says whether bytes may flow.
bool choose(Conversation& conversation, const StreamTarget& target, ByteRoute& route) {
    ProxyCore& core = *conversation.core;
    const model::Snapshot& snapshot = *route.pinned->snapshot;
    const model::Workload& caller = *conversation.pod->workload;
    route.service = target.service;
    route.record.cluster = target.cluster();
    route.record.route_object = object_text(target.route_source);
    if (target.verdict != StreamTarget::Verdict::serve) {
        bool unknown = target.verdict == StreamTarget::Verdict::blackhole;
        route.record.flags.add(unknown ? ResponseFlag::UH : ResponseFlag::NC);
        return false;
    }
    route.wire.core = &core;
    route.wire.source = conversation.pod;
    route.wire.caller = shown_caller(conversation);
    route.wire.destination = target.destination;
    route.wire.transparent_source = snapshot.mesh().transparent_source;
    route.wire.timeout = std::chrono::milliseconds(limits::connect_timeout_default_ms);
    const model::TrafficPolicy* policy = nullptr;
    if (!target.to_original()) {
        if (!choose_endpoint(conversation, *target.destination, route)) {
            return false;
        }
        policy = &target.destination->policy;
    } else {
        route.wire.endpoint.address = conversation.original;
        if (const auto* workload = snapshot.find_workload(conversation.original.ip)) {
            route.wire.endpoint.workload = snapshot.share_workload(workload->uid);
        }
        if (target.destination != nullptr) {
            policy = &target.destination->policy;
            route.wire.timeout = policy->pool.connect_timeout;
        }
    }
    auto choice = decide::wire_for(&caller, route.wire.endpoint, policy, snapshot.mesh());
    route.wire.wire = choice.wire;
    if (choice.wire == decide::Wire::refused) {
        route.record.flags.add(ResponseFlag::DENY);
        route.record.transport_failure = decide::wire_reason_name(choice.reason);
        route.record.termination_details = route.record.keep(choice.details);
        return false;
    }
    return true;
}

void describe(const Conversation& conversation, ByteRoute& route) {
    auto& record = route.record;
    record.kind = telemetry::ExchangeKind::tcp;
    record.started = conversation.core->loop().now();
    record.started_wall = std::chrono::system_clock::now();
    record.downstream_local = conversation.original;
    record.downstream_remote = conversation.peer;
    record.source_workload = conversation.pod->workload->workload_name;
    record.source_namespace = conversation.pod->workload->ns;
    record.generation = route.pinned->snapshot->generation();
}

telemetry::TrafficSeries* source_series(ProxyCore& core,
                                        const model::Workload& caller,
                                        const ByteRoute& route,
                                        const StreamTarget& target) {
    return traffic_series(core.metrics(),
                          {telemetry::Reporter::source,
                           &caller,
                           route.wire.endpoint.workload.get(),
                           route.service,
                           telemetry::RequestProtocol::tcp,
                           telemetry::SecurityPolicy::unknown,
                           route.pinned->snapshot->mesh().cluster_id,
                           nullptr,
                           target.cluster()});
}

}  // namespace

runtime::Task<net::Closing> serve_bytes(Conversation& conversation) {
    ProxyCore& core = *conversation.core;
    LiveStream live(conversation.pod->live, *conversation.stream);
    ByteRoute route;
    route.pinned = core.pinned();
    auto caller = conversation.pod->workload;
    describe(conversation, route);
    StreamTarget target = co_await choose_stream(conversation, *route.pinned->snapshot);
    bool allowed = choose(conversation, target, route);
    TcpMeter meter(core.loop(), *source_series(core, *caller, route, target));
    auto closing = net::Closing::reset;
    if (allowed) {
        route.record.upstream_host = route.wire.endpoint.address;
        route.record.path_taken = path_of(route.wire.wire, route.wire.destination);
        core.metrics().count_path(route.record.path_taken);
        net::Interrupt interrupt;
        route.wire.interrupt = &interrupt;
        CallerWatch watch{*conversation.stream, interrupt};
        conversation.stream->watch_end(&CallerWatch::on_end, &watch);
        conversation.stream->read_ahead();
        CountedConnection counted(route.state ? route.state->usage : nullptr);
        auto upstream = co_await open_wire(route.wire);
        observe(route, upstream);
        conversation.stream->watch_end(nullptr, nullptr);
        if (!upstream) {
            bool denied = upstream.error().kind == ErrorKind::denied;
            route.record.flags.add(denied ? ResponseFlag::DENY : ResponseFlag::UF);
            route.record.transport_failure = route.record.keep(upstream.error().context);
        } else {
            std::optional<JudgedStream> judged;
            auto callee = same_node_callee(core, route);
            if (callee != nullptr) {
                meter.report_to(*traffic_series(core.metrics(),
                                                {telemetry::Reporter::destination,
                                                 caller.get(),
                                                 route.wire.endpoint.workload.get(),
                                                 route.service,
                                                 telemetry::RequestProtocol::tcp,
                                                 telemetry::SecurityPolicy::kernel_attested,
                                                 route.pinned->snapshot->mesh().cluster_id}));
                judged.emplace(callee->judged,
                               *conversation.stream,
                               Caller{caller->identity, conversation.peer.ip},
                               route.wire.endpoint.address,
                               Looked::no);
            }
            co_await relay_into(*conversation.stream, **upstream, meter.outcome(), route.limits);
            const RelayOutcome& outcome = meter.outcome();
            if (judged && judged->cut()) {
                route.record.flags.add(ResponseFlag::DENY);
            }
            route.record.bytes_received = outcome.to_second;
            route.record.bytes_sent = outcome.to_first;
            const bool expired = !outcome.expired.empty();
            route.record.termination_details = outcome.expired;
            closing = outcome.failure && !expired ? net::Closing::reset : net::Closing::orderly;
            co_await (*upstream)->close(closing);
        }
    }
    finish_record(core, *route.pinned, route.record);
    co_return closing;
}

}  // namespace orlop::proxy
