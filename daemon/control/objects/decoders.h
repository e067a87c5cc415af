// One function per kind: the tree of a document becomes its spec; errors go to the report, and the
// spec counts only when the report has none. Called by decode.cc, which has read the metadata.
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/object.h"

#include <string>

namespace orlop::control {

struct DecodeContext {
    const Node& root;
    Report& report;
    const ObjectMeta& meta;
    const ObjectKey& key;

    model::ObjectRefPtr ref_at(int line) const;
};

ObjectSpec decode_pod(const DecodeContext& context);
ObjectSpec decode_service(const DecodeContext& context);
ObjectSpec decode_endpoints(const DecodeContext& context);
ObjectSpec decode_endpoint_slice(const DecodeContext& context);
ObjectSpec decode_node(const DecodeContext& context);
ObjectSpec decode_network_policy(const DecodeContext& context);

ObjectSpec decode_virtual_service(const DecodeContext& context);
ObjectSpec decode_destination_rule(const DecodeContext& context);
ObjectSpec decode_gateway(const DecodeContext& context);
ObjectSpec decode_secret(const DecodeContext& context);
ObjectSpec decode_service_entry(const DecodeContext& context);
ObjectSpec decode_workload_entry(const DecodeContext& context);
ObjectSpec decode_sidecar(const DecodeContext& context);
ObjectSpec decode_peer_authentication(const DecodeContext& context);
ObjectSpec decode_authorization_policy(const DecodeContext& context);
ObjectSpec refuse_request_authentication(const DecodeContext& context);

// Legacy kinds: a RouteRule's element of http[] and a DestinationPolicy's trafficPolicy are read by
// the decoders of the current kinds, from trees that were made of the legacy ones.
ObjectSpec decode_route_rule(const DecodeContext& context);
ObjectSpec decode_destination_policy(const DecodeContext& context);
ObjectSpec decode_memquota(const DecodeContext& context);
ObjectSpec decode_quota_instance(const DecodeContext& context);
ObjectSpec decode_mixer_rule(const DecodeContext& context);
MatchSpec
decode_http_match(const DecodeContext& context, const Node& node, const std::string& path);
HttpRouteSpec
decode_http_route(const DecodeContext& context, const Node& node, const std::string& path);
TrafficPolicySpec
decode_traffic_policy(const DecodeContext& context, const Node& node, const std::string& path);

ObjectSpec decode_mesh_config(const DecodeContext& context);
model::TracingConfig decode_tracing(FieldReader& parent);
ObjectSpec decode_rate_limit(const DecodeContext& context);
ObjectSpec decode_pod_sandbox(const DecodeContext& context);
ObjectSpec decode_node_status(const DecodeContext& context);

// Shared pieces.
model::GatewayRole decode_gateway_role(FieldReader& mesh_config);  // its member `gateway`
LabelSelector decode_label_selector(Report& report, const Node* node, const std::string& path);
std::optional<model::RetryPolicy>
decode_retry_policy(const DecodeContext& context, const Node* node, const std::string& path);

}  // namespace orlop::control
