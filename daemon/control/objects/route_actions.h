// The actions of one VirtualService http[] element (istio-semantics §2, §4, §12), each decoded and
// validated by itself. Used by virtual_service.cc only.
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/traffic.h"

#include <optional>
#include <string>
#include <vector>

namespace orlop::control {

std::optional<DestinationName>
decode_destination(Report& report, const Node* node, const std::string& path);
void decode_headers(FieldReader& parent, model::HeaderOps& request, model::HeaderOps& response);
std::optional<model::Fault> decode_fault(const DecodeContext& context, FieldReader& route);
std::optional<model::Redirect> decode_redirect(FieldReader& route);
std::optional<model::DirectResponse> decode_direct_response(FieldReader& route);
std::optional<model::Rewrite> decode_rewrite(FieldReader& route);
std::optional<model::CorsPolicy> decode_cors(FieldReader& route);
std::optional<std::vector<MirrorSpec>> decode_mirrors(FieldReader& route);

}  // namespace orlop::control
