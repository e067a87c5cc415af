// Every bound of the program, by name. Reaching one refuses fast, is counted, and is logged with
// the name given here. Units are in the name's suffix. Relations between bounds are asserted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop::limits {

// HTTP/1 (RFC 9112) and header blocks as decoded.
inline constexpr std::size_t http_head_bytes_max = 60 * 1024;
inline constexpr std::size_t http_request_line_bytes_max = 16 * 1024;
inline constexpr std::size_t http_headers_max = 100;
inline constexpr std::size_t http_chunk_line_bytes_max = 1024;
inline constexpr std::size_t http_trailer_bytes_max = 8 * 1024;

// Buffers of the relay.
inline constexpr std::size_t relay_buffer_bytes = 16 * 1024;
inline constexpr std::size_t retry_body_bytes_max = 1024 * 1024;
static_assert(http_head_bytes_max >= http_request_line_bytes_max);

// HBONE and HTTP/2.
inline constexpr std::uint32_t h2_streams_max = 100;
inline constexpr std::uint32_t h2_stream_window_bytes = 256 * 1024;
inline constexpr std::uint32_t h2_connection_window_bytes = 1024 * 1024;
static_assert(h2_connection_window_bytes > h2_stream_window_bytes,
              "equal windows let one unread stream stop the others");
inline constexpr std::size_t h2_header_block_bytes_max = http_head_bytes_max;
inline constexpr std::size_t h2_outbound_queue_bytes_max = 1024 * 1024;
inline constexpr std::uint32_t h2_early_resets_max = 500;  // per second, of one caller
// Of one node, for all of its pods: callers that give up must not cost the others their tunnel.
inline constexpr std::uint32_t hbone_early_resets_max = 20'000;
inline constexpr std::int64_t goaway_notice_ms = 100;  // from the first GOAWAY to the last

// TLS.
inline constexpr std::size_t tls_record_bytes_max = 16 * 1024;
inline constexpr std::size_t tls_handshake_bytes_max = 64 * 1024;
inline constexpr std::size_t tls_hello_bytes_max =
    16 * 1024;  // a ClientHello looked at for its SNI
inline constexpr std::size_t tls_handshake_ms_max = 10'000;
inline constexpr std::size_t tls_close_ms_max = 1'000;
inline constexpr std::size_t tls_chain_certificates_max = 6;
inline constexpr std::size_t tls_certificate_list_bytes_max = 32 * 1024;
inline constexpr std::size_t tls_roots_per_domain_max = 256;
inline constexpr std::size_t ca_file_bytes_max = 1024 * 1024;
inline constexpr std::size_t tls_pending_output_bytes_max = 64 * 1024;
inline constexpr std::size_t tls_verdicts_max = 1024;        // per core
inline constexpr std::size_t tls_client_sessions_max = 256;  // per context
inline constexpr std::size_t tls_server_sessions_max = 256;  // per context
inline constexpr std::int64_t tls_session_lifetime_s = 3600;
// Post-handshake messages (KeyUpdate, NewSessionTicket): this many, and one more per MiB read.
inline constexpr std::uint64_t tls_post_handshake_messages_max = 64;
static_assert(tls_certificate_list_bytes_max < tls_handshake_bytes_max);

// Names looked up for ServiceEntries with resolution DNS (control thread).
inline constexpr std::size_t dns_names_max = 1024;
inline constexpr std::size_t dns_addresses_per_name_max = 64;
inline constexpr std::size_t dns_queries_at_once_max = 64;
inline constexpr std::int64_t dns_ttl_s_min = 1;
inline constexpr std::int64_t dns_ttl_s_max = 300;
inline constexpr std::int64_t dns_query_ms = 2'000;  // one try of one server
inline constexpr std::int64_t dns_retry_ms_min = 500;
inline constexpr std::int64_t dns_retry_ms_max = 30'000;
inline constexpr std::size_t outside_destinations_per_pod_max = 512;  // then begun anew
inline constexpr std::size_t service_entry_hosts_max = 256;
inline constexpr std::size_t service_entry_endpoints_max = 1024;

// Connections and tasks.
inline constexpr std::size_t connections_per_core_max = 65'536;
inline constexpr std::size_t connections_per_workload_max = 16'384;
inline constexpr std::size_t upstream_idle_per_pool_max = 1024;
inline constexpr std::size_t core_messages_max = 65'536;

// Timers.
inline constexpr std::int64_t upstream_idle_ms = 300'000;         // tunnels without a stream
inline constexpr std::int64_t upstream_http_idle_ms = 3'600'000;  // unless the policy says
inline constexpr std::int64_t tcp_idle_ms = 3'600'000;            // unless the policy says
inline constexpr std::int64_t downstream_idle_ms = 3'600'000;
inline constexpr std::int64_t capture_wait_ms = 2'000;
inline constexpr std::int64_t protocol_look_ms = 50;
inline constexpr std::int64_t http_head_ms_max = 60'000;
inline constexpr std::int64_t http_linger_ms_max = 1'000;
inline constexpr std::int64_t connect_timeout_default_ms = 10'000;
inline constexpr int drain_seconds_default = 25;

// What routes do to requests.
inline constexpr std::size_t header_text_pieces_max = 32;
inline constexpr std::size_t header_text_bytes_max = 8 * 1024;  // one value, filled in
inline constexpr std::size_t rewritten_path_bytes_max = http_request_line_bytes_max;
inline constexpr std::size_t mirrors_per_route_max = 8;
inline constexpr std::size_t mirrors_in_flight_per_core_max = 1024;
inline constexpr std::size_t mirror_body_bytes_max = 1024 * 1024;  // waiting for a slow mirror

// Rate limits and quotas.
inline constexpr std::size_t rate_limit_buckets_max = 65'536;  // of a node
inline constexpr std::size_t rate_limit_key_bytes_max = 512;
inline constexpr std::size_t rate_limit_key_parts_max = 8;
inline constexpr std::size_t rate_limits_per_host_max = 16;
inline constexpr std::size_t quota_windows_max = 4096;  // of a node
inline constexpr std::size_t quota_slots_max = 36'000;  // an hour of 100 ms

// Traces.
inline constexpr std::size_t trace_queue_spans_max = 8192;
inline constexpr std::size_t trace_batch_spans_max = 512;
inline constexpr std::int64_t trace_flush_ms = 1'000;
inline constexpr std::int64_t trace_export_ms_max = 5'000;
inline constexpr std::size_t trace_state_bytes_max = 512;

// Retries.
inline constexpr std::uint32_t retry_attempts_max = 100;
inline constexpr double retry_budget_percent = 20.0;
inline constexpr std::uint32_t retry_budget_min = 3;

// Load balancing and outlier detection. Larger hash tables are cut to the bound, with a warning.
inline constexpr std::uint64_t hash_table_entries_max = 256 * 1024;
inline constexpr std::uint64_t maglev_size_largest = 262'139;  // a prime
static_assert(maglev_size_largest <= hash_table_entries_max);
inline constexpr std::size_t locality_groups_max = 64;  // priorities or targets of one destination
inline constexpr std::size_t locality_rules_max = 256;
inline constexpr std::size_t outlier_error_codes_max = 500;
inline constexpr std::int64_t ejection_ms_max = 300'000;  // or the base time when that is longer

// Configuration.
inline constexpr std::size_t yaml_file_bytes_max = 8 * 1024 * 1024;
inline constexpr std::size_t yaml_depth_max = 64;
inline constexpr std::size_t yaml_nodes_max = 2'000'000;
inline constexpr std::size_t yaml_expanded_bytes_max = 4 * yaml_file_bytes_max;  // aliases expanded
inline constexpr std::size_t yaml_open_brackets_max =
    4096;  // more than any honest text leaves open
inline constexpr std::size_t yaml_files_max = 100'000;
inline constexpr std::size_t regex_bytes_max = 1024;
inline constexpr std::size_t findings_per_object_max = 64;
inline constexpr std::size_t authorization_rules_max = 512;  // of one AuthorizationPolicy
inline constexpr std::size_t authorization_path_operators_max = 5;
inline constexpr std::size_t compile_findings_max = 10'000;
inline constexpr std::size_t store_journal_max = 1024;  // changes remembered; more: compile anew

// Telemetry.
inline constexpr std::size_t log_queue_records_max = 65'536;
inline constexpr std::size_t explain_records_per_core_max = 4096;
inline constexpr std::size_t explain_bytes_per_core_max = 2 * 1024 * 1024;
inline constexpr std::size_t metric_traffic_per_core_max = 4096;  // pairs of peers
inline constexpr std::size_t metric_variants_max = 48;            // codes and flags of one pair
inline constexpr std::size_t metric_clusters_per_core_max = 8192;
inline constexpr std::size_t metric_label_bytes_max = 256;

// Admin.
inline constexpr std::size_t admin_request_bytes_max = 16 * 1024 * 1024;
inline constexpr std::size_t admin_connections_max = 64;
inline constexpr std::size_t admin_answer_bytes_max = 256 * 1024 * 1024;  // read by orlopctl
inline constexpr std::size_t recent_lines_per_core_max = 4096;
inline constexpr std::size_t recent_line_bytes_per_core_max = 1024 * 1024;

// Lab.
inline constexpr std::size_t lab_output_bytes_max = 8 * 1024 * 1024;  // of one captured program
inline constexpr std::size_t lab_message_bytes_max = 16 * 1024 * 1024;
inline constexpr std::size_t lab_pods_per_node_max = 250;
inline constexpr std::size_t lab_log_bytes_max = 16 * 1024 * 1024;  // then the older part goes
static_assert(lab_message_bytes_max > yaml_file_bytes_max, "a manifest must fit a request");

}  // namespace orlop::limits
