// Routes as Istio's VirtualService describes them (istio-semantics §2 to §4, §12), compiled.
//
// A VirtualHost is what one Host name means on one service port for the callers of one namespace.
// Its routes are in evaluation order; decide/match_route picks the first that matches.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/base/regex.h"
#include "daemon/model/destination.h"
#include "daemon/model/object_ref.h"
#include "daemon/model/rate_limit.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace orlop::model {

struct StringMatch {
    enum class Kind : unsigned char { present, exact, prefix, regex };
    Kind kind = Kind::present;
    std::string text;
    std::optional<Regex> regex;
    bool ignore_case = false;  // exact and prefix only
};

struct HttpMatch {
    std::string name;
    std::optional<StringMatch> uri;  // path without query
    std::optional<StringMatch> scheme;
    std::optional<StringMatch> method;
    std::optional<StringMatch> authority;
    std::vector<std::pair<std::string, StringMatch>> headers;          // lower-case names
    std::vector<std::pair<std::string, StringMatch>> without_headers;  // inverted
    std::vector<std::pair<std::string, StringMatch>> query_params;
    std::uint16_t port = 0;  // 0: any listener port
    Labels source_labels;
    std::string source_namespace;  // empty: any
    ObjectRefPtr source;           // line of this match
};

// A header's value as written, cut at its %OPERATORS%; decide/header_text fills them in. Values
// without an operator have no pieces and cost nothing to send.
struct HeaderText {
    enum class Operator : unsigned char {
        literal,          // `text` as it is
        request_header,   // %REQ(text?alternative):max%
        response_header,  // %RESP(text?alternative):max%
        protocol,
        response_code,
        response_code_details,
        response_flags,
        route_name,
        upstream_cluster,
        upstream_host,
        downstream_remote_address,
        downstream_remote_address_without_port,
        downstream_local_address,
        downstream_local_address_without_port,
        requested_server_name,
        start_time,  // `text`: strftime format; empty: RFC 3339 with milliseconds
        hostname,    // of the pod that sends
        stream_id,   // x-request-id
        bytes_received,
        attempt_count,
    };
    struct Piece {
        Operator op = Operator::literal;
        std::string text;
        std::string alternative;
        std::uint32_t bytes_max = 0;  // 0: whole
    };
    HeaderText() = default;
    HeaderText(std::string plain) : text(std::move(plain)) {}
    HeaderText(const char* plain) : text(plain) {}
    std::string text;
    std::vector<Piece> pieces;  // empty: `text` is the value
};

struct HeaderOps {
    std::vector<std::pair<std::string, HeaderText>> set;
    std::vector<std::pair<std::string, HeaderText>> add;
    std::vector<std::string> remove;
    bool empty() const { return set.empty() && add.empty() && remove.empty(); }
};

struct WeightedDestination {
    // Null when the service or the subset is unknown: such a choice answers 503 NC.
    DestinationPtr destination;
    std::string wanted;  // what the object named, for errors
    std::uint32_t weight = 0;
    HeaderOps request_headers;
    HeaderOps response_headers;
};

struct RetryPolicy {
    enum On : std::uint32_t {
        on_5xx = 1u << 0,
        on_gateway_error = 1u << 1,
        on_reset = 1u << 2,
        on_reset_before_request = 1u << 3,
        on_connect_failure = 1u << 4,
        on_refused_stream = 1u << 5,
        on_retriable_4xx = 1u << 6,
        on_retriable_status_codes = 1u << 7,
        on_retriable_headers = 1u << 8,
        on_envoy_ratelimited = 1u << 9,
        on_grpc_cancelled = 1u << 10,
        on_grpc_deadline_exceeded = 1u << 11,
        on_grpc_resource_exhausted = 1u << 12,
        on_grpc_internal = 1u << 13,
        on_grpc_unavailable = 1u << 14,
    };
    // Retries, not tries: up to 1 + attempts tries. 0 disables.
    std::uint32_t attempts = 2;
    std::optional<Duration> per_try_timeout;
    std::uint32_t on = on_connect_failure | on_refused_stream | on_grpc_unavailable |
                       on_grpc_cancelled | on_retriable_status_codes;
    std::vector<std::uint16_t> status_codes;
    Duration backoff_base = std::chrono::milliseconds(25);
    bool ignore_previous_hosts = true;
    bool remote_localities = false;
    ObjectRefPtr source;  // null: the mesh default
};

struct Fault {
    double delay_percent = 0;
    Duration delay{};
    double abort_percent = 0;
    std::uint16_t abort_http_status = 0;  // 0: no HTTP abort
    std::optional<std::uint32_t> abort_grpc_status;
    ObjectRefPtr source;
};

struct Redirect {
    std::string uri;
    std::string prefix_rewrite;
    std::string authority;
    std::string scheme;
    enum class DerivePort : unsigned char { none, protocol_default, request };
    std::uint16_t port = 0;
    DerivePort derive_port = DerivePort::none;
    std::uint16_t code = 301;
};

struct DirectResponse {
    std::uint16_t status = 200;
    std::string body;
};

struct Rewrite {
    std::string uri;
    std::string authority;
    std::optional<Regex> regex;
    std::string regex_substitution;
};

struct Mirror {
    DestinationPtr destination;
    double percent = 100;
};

struct CorsPolicy {
    std::vector<StringMatch> allow_origins;
    std::string allow_methods;
    std::string allow_headers;
    std::string expose_headers;
    std::string max_age;
    std::optional<bool> allow_credentials;
    bool ignore_unmatched_preflights = false;
};

struct HttpRoute {
    std::string name;
    std::vector<HttpMatch> matches;  // OR; empty: catches everything
    std::vector<WeightedDestination> destinations;
    std::uint64_t weight_total = 0;
    std::optional<Duration> timeout;  // nullopt: none
    RetryPolicy retries;
    std::optional<Fault> fault;
    std::optional<Redirect> redirect;
    std::optional<DirectResponse> direct_response;
    std::optional<Rewrite> rewrite;
    std::vector<Mirror> mirrors;
    std::optional<CorsPolicy> cors;
    HeaderOps request_headers;
    HeaderOps response_headers;
    ObjectRefPtr source;          // the http[] element that made this route; null for defaults
    ObjectRefPtr timeout_source;  // differs from `source` when an overlay object set it
};

struct RouteIndex;  // route_index.h

// One alternative of a tls[] or tcp[] route: what is empty or 0 matches everything.
struct StreamMatch {
    std::vector<std::string> server_names;  // SNI, lower-case; `*.suffix` covers
    std::vector<Cidr> destinations;
    std::uint16_t port = 0;
    Labels source_labels;
    std::string source_namespace;
};

// tls[] and tcp[]: one destination per connection.
struct StreamRoute {
    std::vector<StreamMatch> matches;  // OR; empty: everything
    HttpRoute choice;  // only destinations, weight_total and source are used: decide::pick_weighted
};

struct VirtualHost {
    std::string host;        // canonical name of the service, or the host as written
    std::uint16_t port = 0;  // service port
    std::vector<HttpRoute> routes;
    std::vector<StreamRoute> tls;
    std::vector<StreamRoute> tcp;
    DestinationPtr whole;  // what connections without a route of their own go to; may be null
    std::vector<RateLimitPtr> rate_limits;    // those that concern this host
    std::shared_ptr<const RouteIndex> index;  // over `routes`; null: try them in turn
    ObjectRefPtr source;                      // null when no VirtualService names the host
};
using VirtualHostPtr = std::shared_ptr<const VirtualHost>;

}  // namespace orlop::model
