// Snapshot: the whole compiled configuration of one generation, immutable.
//
// Built by control/compile on the control thread, then published to every core; a request pins the
// snapshot it starts with. All look-ups are const, allocation-free and safe from any thread.
//
//     OutboundTarget target = snapshot.resolve_outbound("shop", original_destination);
//     if (target.destination && is_http(target.port->protocol)) ...
//     const VirtualHost* host = snapshot.find_virtual_host("shop", "pricing:80", 80);
#pragma once

#include "daemon/model/destination.h"
#include "daemon/model/gateway.h"
#include "daemon/model/position_list.h"
#include "daemon/model/rate_limit.h"
#include "daemon/model/route.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace orlop::model {

enum class ConflictResolution : unsigned char { overlay, oldest };
enum class OutboundPolicy : unsigned char { allow_any, registry_only };
enum class AccessLogEncoding : unsigned char { off, text, json };

// Spans of requests (istio-semantics §15); sent to one collector, or to nobody.
struct TracingConfig {
    enum class Exporter : unsigned char { none, otlp_http, zipkin };
    enum class Propagation : unsigned char { as_received, w3c, b3, b3_multi };
    double sampling_percent = 1.0;  // of requests that arrive without a decision
    Exporter exporter = Exporter::none;
    SocketAddress collector;
    std::string path;  // of the collector's endpoint: /v1/traces, /api/v2/spans
    // Which headers carry a trace that starts here; one that arrives keeps its own.
    Propagation propagation = Propagation::as_received;
    bool operator==(const TracingConfig&) const = default;
};

// orlop's MeshConfig object (DESIGN §5) with the defaults in force when none is given.
struct MeshConfig {
    std::string trust_domain = "cluster.local";
    std::vector<std::string> trust_domain_aliases;
    std::string root_namespace = "istio-system";
    std::string cluster_domain = "cluster.local";
    std::string cluster_id = "Kubernetes";
    std::string dataplane_mode = "orlop";  // value of istio.io/dataplane-mode that enrols
    bool injection_label_enrols = false;   // istio-injection: enabled counts
    std::vector<std::string> revisions;    // istio.io/rev values that enrol; "*": any
    ConflictResolution conflict_resolution = ConflictResolution::overlay;
    OutboundPolicy outbound_policy = OutboundPolicy::allow_any;
    AccessLogEncoding access_log = AccessLogEncoding::off;
    bool transparent_source = true;    // apps see the caller's address
    bool same_node_shortcut = true;    // kernel-attested path inside a node
    bool permissive_fail_open = true;  // no orlopd: outbound of non-STRICT pods goes direct
    bool http10 = false;               // serve HTTP/1.0 clients instead of answering 426
    bool shadow_host_suffix = true;
    std::optional<std::uint64_t> fault_seed;  // fixes the dice of faults, splits and mirrors
    TracingConfig tracing;
    bool inbound_http_telemetry = false;    // read HTTP at the callee's end for its metrics
    RetryPolicy default_retry;              // used when a route has no `retries`
    std::optional<LocalityLb> locality_lb;  // of destinations whose rule says nothing of it
    CaptureExclusions exclusions;
    GatewayRole gateway;
    ObjectRefPtr source;
};

// What an original destination means for one caller. Pointers live as long as the Snapshot.
struct OutboundTarget {
    const Service* service = nullptr;           // null: unknown address
    const ServicePort* port = nullptr;          // null: the service has no such port
    const VirtualHost* virtual_host = nullptr;  // HTTP rules of service and port
    const Destination* destination = nullptr;   // all endpoints; or the one pod when `workload` set
    const Workload* workload = nullptr;         // the address is this pod's own
    // Nothing is known of the address, but services without addresses of their own use its port:
    // `port` says the protocol, and the Host or SNI may name one of them. Plain TCP has its
    // `service` and `destination` by the port alone.
    bool by_port = false;
};

class Snapshot {
public:
    struct Tables;  // built by control/compile; the layout is private to snapshot.cc
    Snapshot(std::uint64_t generation,
             std::shared_ptr<const MeshConfig> mesh,
             std::unique_ptr<const Tables> tables);
    ~Snapshot();

    const Tables& tables() const { return *tables_; }  // for control/compile: the next one's base
    std::uint64_t generation() const { return generation_; }
    const MeshConfig& mesh() const { return *mesh_; }

    const Workload* find_workload(const IpAddress& address) const;
    const Workload* find_workload_uid(std::string_view uid) const;
    WorkloadPtr share_workload(std::string_view uid) const;

    // `scope` in what follows is Workload::scope() of the caller, or a namespace.
    // Meaning of `original` for callers of the scope: a service's virtual address and port, a
    // pod's own address (then its services' rules apply to the single endpoint), a port that
    // services without addresses use, or nothing.
    OutboundTarget resolve_outbound(std::string_view scope, const SocketAddress& original) const;
    // May callers of the scope reach what nothing is known of?
    OutboundPolicy outbound_policy(std::string_view scope) const;

    // `authority` as sent (any case, port ignored); `port` is the service port of the listener.
    // Exact host first, then the longest wildcard, then `*`. Null when nothing is known.
    const VirtualHost*
    find_virtual_host(std::string_view scope, std::string_view authority, std::uint16_t port) const;

    // What this node's gateway serves at `listener`; null when no Gateway object asks for it.
    const GatewayListener* find_gateway(const SocketAddress& listener) const;
    // In whose name the gateway calls; null when no Gateway is served here.
    const WorkloadPtr& gateway_workload() const;

    // By Destination::key; null when there is none. Not for those of single pods.
    const Destination* find_destination(std::uint64_t key) const;

    bool is_node_address(const IpAddress& address) const;  // of this node: kubelet probes

    // Everything, for `orlopctl config` and the metrics; stable order.
    std::vector<WorkloadPtr> workloads() const;  // made for the caller: not for every update
    std::size_t workload_count() const;
    const std::vector<WorkloadPtr>& local_workloads() const;  // of this node
    const std::vector<ServicePtr>& services() const;
    const PositionList<DestinationPtr>& destinations() const;
    const PositionList<VirtualHostPtr>& virtual_hosts() const;
    const std::vector<GatewayListenerPtr>& gateways() const;
    const std::vector<TlsTermsPtr>& tls_terms() const;
    const std::vector<QuotaPtr>& quotas() const;  // asked of every request, in this order

private:
    std::uint64_t generation_;
    std::shared_ptr<const MeshConfig> mesh_;
    std::unique_ptr<const Tables> tables_;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace orlop::model
