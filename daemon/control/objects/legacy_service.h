// IstioService of v1alpha2 {name, namespace, domain, service, labels}: used by the decoders of the
// legacy kinds only.
#pragma once

#include "daemon/control/field_reader.h"
#include "daemon/control/objects/legacy.h"

#include <optional>
#include <string>

namespace orlop::control {

// What was written; `labels` empty when none were. `object_ns`: of the object that names it.
struct LegacyName {
    LegacyService service;
    model::Labels labels;
    int line = 0;
};
std::optional<LegacyName>
read_legacy_service(FieldReader& parent, std::string_view name, const std::string& object_ns);

// `service` as an object of namespace `from_ns` must write it: short names mean its own namespace.
std::string host_seen_from(const LegacyService& service, const std::string& from_ns);

// The subset of the labels, or nothing after an error. Empty name for empty labels.
LegacySubset make_legacy_subset(const LegacyName& name);

// Has no counterpart today; the object is accepted without it.
void note_not_carried(FieldReader& reader, std::string_view field, std::string why);

}  // namespace orlop::control
