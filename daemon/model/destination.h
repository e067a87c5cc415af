// Destination: service + subset + port with its traffic policy (Envoy: cluster), and its endpoints.
//
// Destinations are immutable and belong to one Snapshot. State that must survive a new generation
// (pools, outlier evidence, counters) is keyed by `cluster_name` and the endpoint's address.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/base/tls_terms.h"
#include "daemon/model/hash_table.h"
#include "daemon/model/health.h"
#include "daemon/model/object_ref.h"
#include "daemon/model/workload.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace orlop::model {

// istio-semantics §16: appProtocol beats the port name's prefix; undeclared means a short look.
enum class Protocol : unsigned char { undeclared, http1, http2, grpc, tls, tcp, udp };
inline bool is_http(Protocol p) {
    return p == Protocol::http1 || p == Protocol::http2 || p == Protocol::grpc;
}

struct ServicePort {
    std::string name;
    std::uint16_t port = 0;
    std::uint16_t target_port = 0;  // 0: named, resolved per endpoint
    std::string target_port_name;
    Protocol protocol = Protocol::undeclared;
    bool server_first = false;  // known server-first protocol (25, 3306, ...): never waited on
};

// Where a service's endpoints come from. `original` (ServiceEntry NONE) has none: a connection goes
// where the caller wanted to go.
enum class Resolution : unsigned char { registry, original, listed, dns };

struct Service {
    std::string name;
    std::string ns;
    std::string host;                  // reviews.default.svc.cluster.local, or a ServiceEntry host
    std::vector<IpAddress> addresses;  // virtual addresses; empty when headless
    std::vector<ServicePort> ports;
    bool headless = false;
    bool external = false;  // MESH_EXTERNAL
    Resolution resolution = Resolution::registry;
    ObjectRefPtr source;
};
using ServicePtr = std::shared_ptr<const Service>;

enum class LoadBalancing : unsigned char {
    least_request,  // default; LEAST_CONN is an alias
    round_robin,
    random,
    passthrough,
    consistent_hash,
};

struct ConsistentHash {
    enum class Key : unsigned char { header, cookie, source_ip, query_parameter };
    enum class Table : unsigned char { ring_hash, maglev };
    Key key = Key::source_ip;
    std::string name;  // header, cookie or parameter
    std::string cookie_path;
    std::optional<Duration> cookie_ttl;
    Table table = Table::ring_hash;
    std::uint64_t table_size = 1024;
};

// A new endpoint's share grows with its age: max(minimum, (age/window)^(1/aggression)).
struct Warmup {
    Duration window{};
    double minimum_percent = 10;
    double aggression = 1;
};

// loadBalancer.localityLbSetting; `distribute` and `failover` exclude each other.
struct LocalityLb {
    bool enabled = true;
    // region/zone/subzone; a part that is "*", or left out at the end, stands for every one.
    struct Distribute {
        std::string from;
        std::vector<std::pair<std::string, std::uint32_t>> to;  // weights, in sum 100
    };
    struct Failover {  // regions
        std::string from;
        std::string to;
    };
    std::vector<Distribute> distribute;
    std::vector<Failover> failover;
    std::vector<std::string> failover_priority;  // labels: "key", or "key=value"
};

// DestinationRule connectionPool; nullopt means unset (istio-semantics §5 for defaults).
struct ConnectionPoolLimits {
    std::optional<std::uint32_t> max_connections;
    std::optional<std::uint32_t> http1_max_pending_requests;
    std::optional<std::uint32_t> http2_max_requests;
    std::optional<std::uint32_t> max_requests_per_connection;
    std::optional<std::uint32_t> max_retries;
    std::optional<std::uint32_t> max_concurrent_streams;
    Duration connect_timeout = std::chrono::seconds(10);
    std::optional<Duration> tcp_idle_timeout;   // zero: off
    std::optional<Duration> http_idle_timeout;  // unset: tcp_idle_timeout, else 1 h
    std::optional<Duration> max_connection_duration;
    struct TcpKeepalive {
        std::uint32_t probes = 0;  // 0: kernel default
        Duration time{};
        Duration interval{};
    };
    std::optional<TcpKeepalive> tcp_keepalive;
    bool h2_upgrade = false;
    bool use_client_protocol = false;
};

struct OutlierDetection {
    std::uint32_t consecutive_5xx = 5;      // 0: off
    std::uint32_t consecutive_gateway = 0;  // 0: off
    bool split_local_origin = false;
    std::uint32_t consecutive_local_origin = 5;
    Duration interval = std::chrono::seconds(10);
    Duration base_ejection_time = std::chrono::seconds(30);
    std::uint32_t max_ejection_percent = 10;
    std::uint32_t min_health_percent = 0;
    std::vector<std::uint16_t> error_codes;  // empty: 500 to 599
};

struct ClientTls {
    enum class Mode : unsigned char { disable, simple, mutual, istio_mutual };
    Mode mode = Mode::disable;
    std::string sni;
    std::vector<std::string> subject_alt_names;
    std::string client_certificate;
    std::string private_key;
    std::string ca_certificates;
    std::string credential_name;
    bool insecure_skip_verify = false;
};

struct RetryBudget {
    double percent = 20.0;  // of active and pending requests
    std::uint32_t min_concurrency = 3;
};

struct TrafficPolicy {
    LoadBalancing load_balancing = LoadBalancing::least_request;
    std::optional<ConsistentHash> consistent_hash;
    std::optional<Warmup> warmup;
    std::optional<LocalityLb> locality_lb;
    ConnectionPoolLimits pool;
    std::optional<OutlierDetection> outlier;
    std::optional<ClientTls> tls;
    RetryBudget retry_budget;
    ObjectRefPtr source;  // the DestinationRule; null for defaults
};

struct Endpoint {
    SocketAddress address;  // pod address and target port
    std::uint32_t weight = 1;
    WorkloadPtr workload{};      // null for addresses outside the mesh
    LocalityPtr own_locality{};  // of a ServiceEntry's endpoint; null: that of the workload
    const Locality& locality() const {
        static const Locality unknown;
        return own_locality ? *own_locality : workload ? workload->locality : unknown;
    }
};

struct Destination {
    std::string cluster_name;  // outbound|80|v1|reviews.default.svc.cluster.local
    std::uint64_t key = 0;     // hash of cluster_name and the client scope: stable over generations
    ServicePtr service;
    std::string subset;
    ServicePort port;
    TrafficPolicy policy;
    TlsTermsPtr tls;     // TLS inside whatever wire leads there: DestinationRule SIMPLE and MUTUAL
    std::string broken;  // not empty: why no connection may be made
    std::vector<Endpoint> endpoints;  // ready ones, in a stable order
    // Parallel to `endpoints` where outlier detection or warm-up asks for it, else empty.
    std::vector<EndpointHealthPtr> health;
    DestinationHealthPtr verdicts;  // null when `health` is empty
    HashTablePtr hash_table;        // of a consistentHash destination
};
using DestinationPtr = std::shared_ptr<const Destination>;

}  // namespace orlop::model
