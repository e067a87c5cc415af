// RequestRecord: everything known about one exchange (or one TCP connection), written down while
// it runs and closed once: counters, access log and explanation all read it.
//
// Owned by the exchange, on the exchange's core; not movable, because its texts may point into its
// own arena. Texts that belong to the pinned Snapshot are stored as they are; texts of the request
// (path, headers) go through keep(), which copies them and cuts them at a bound. reset() makes it
// ready for the next exchange without allocating.
//
//     record.reset();
//     record.path = record.keep(head.path, RequestRecord::path_bytes_max);
//     record.cluster = destination.cluster_name;      // lives as long as the pinned Snapshot
//     TryRecord* one = record.open_try();
//     one->outcome = "connection refused"; one->duration = now - begun;
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/ip.h"
#include "daemon/telemetry/response_flags.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace orlop::telemetry {

// Where the decision was written; the fields of model::ObjectRef as text. Empty kind: a default.
struct ObjectText {
    std::string_view kind;
    std::string_view ns;
    std::string_view name;
    std::string_view file;
    int line = 0;
};

enum class PathTaken : std::uint8_t { none, plaintext, hbone, same_node, tls };
std::string_view path_taken_name(PathTaken path);

struct TryRecord {
    SocketAddress endpoint;
    std::string_view endpoint_name;  // pod, for explain; "" when unknown
    std::string_view outcome;        // "200", "connect failure", "per-try timeout", ...
    std::string_view why;            // why this endpoint was chosen
    std::string_view note;           // the limit that was reached, who is out of rotation, ...
    std::string_view retry_reason;   // retryOn word that made another try follow, "" when last
    std::uint16_t status = 0;        // 0: no response
    PathTaken path = PathTaken::none;
    std::uint32_t skipped_unusable = 0;  // endpoints out of rotation when it was chosen
    std::uint32_t skipped_tried = 0;     // picks dropped because already tried
    Duration timer{};                    // the timer it ran under; zero: none
    Duration duration{};
    Duration back_off{};  // waited before this try
};

enum class ExchangeKind : std::uint8_t { http, tcp };
enum class Direction : std::uint8_t { outbound, inbound };

struct RequestRecord {
    static constexpr std::size_t tries_listed_max = 8;
    static constexpr std::size_t arena_bytes = 2048;
    static constexpr std::size_t path_bytes_max = 1024;
    static constexpr std::size_t header_bytes_max = 256;

    RequestRecord() = default;
    RequestRecord(const RequestRecord&) = delete;
    RequestRecord& operator=(const RequestRecord&) = delete;

    void reset();
    // Copy of at most `bytes_max` bytes that lives until reset(); shorter when the arena is full.
    std::string_view keep(std::string_view text, std::size_t bytes_max = header_bytes_max);
    // Next entry, or the last one again once tries_listed_max are listed; `tries` counts all.
    TryRecord* open_try();

    // Times.
    WallTime started_wall;
    Instant started;
    Duration duration{};  // set when closed
    std::optional<Duration> upstream_service_time;

    // Request.
    ExchangeKind kind = ExchangeKind::http;
    Direction direction = Direction::outbound;
    std::string_view method;
    std::string_view path;      // with query, as sent to the proxy
    std::string_view protocol;  // "HTTP/1.1"
    std::string_view authority;
    std::string_view user_agent;
    std::string_view x_forwarded_for;
    std::string_view request_id;
    std::string_view requested_server_name;
    std::string_view source_principal;  // of a caller at a gateway, by its certificate

    // Response.
    std::uint16_t status = 0;
    std::optional<std::uint32_t> grpc_status;
    ResponseFlags flags;
    std::string_view details;  // response code details
    std::string_view termination_details;
    std::string_view transport_failure;
    std::uint64_t bytes_received = 0;  // request body
    std::uint64_t bytes_sent = 0;      // response body
    std::uint64_t request_bytes = 0;   // with heads, for istio_request_bytes
    std::uint64_t response_bytes = 0;
    std::uint64_t request_messages = 0;  // gRPC
    std::uint64_t response_messages = 0;

    // Where it went.
    std::string_view route_name;
    std::string_view cluster;
    std::optional<SocketAddress> upstream_host;
    std::optional<SocketAddress> upstream_local;
    std::optional<SocketAddress> downstream_local;
    std::optional<SocketAddress> downstream_remote;
    PathTaken path_taken = PathTaken::none;
    std::string_view source_workload;
    std::string_view source_namespace;
    std::string_view destination_workload;
    std::string_view destination_namespace;
    std::string_view destination_service;  // host

    // Why.
    std::uint64_t generation = 0;
    ObjectText route_object;  // http[] element or match that was taken
    ObjectText timeout_object;
    ObjectText retry_object;
    ObjectText policy_object;             // DestinationRule
    ObjectText security_object;           // PeerAuthentication or AuthorizationPolicy that refused
    std::string_view authorization_note;  // AUDIT and dry-run policies that matched
    ObjectText limit_object;              // RateLimit or quota that refused
    std::string_view actions;             // what else was done: mirrors, CORS, rewrites, limits
    std::optional<Duration> route_timeout;
    std::optional<Duration> per_try_timeout;
    std::uint32_t retries_allowed = 0;

    std::uint32_t tries = 0;
    std::array<TryRecord, tries_listed_max> try_list;
    std::size_t tries_listed() const { return tries < tries_listed_max ? tries : tries_listed_max; }

private:
    std::size_t arena_used_ = 0;
    std::array<char, arena_bytes> arena_;
};

}  // namespace orlop::telemetry
