// What the admin API shows, as JSON: pure functions of the values that the control thread holds.
//
// Keys are camelCase, as Kubernetes writes them; arrays keep the stable order of the tables.
#pragma once

#include "daemon/app/api_apply.h"
#include "daemon/app/certificates.h"
#include "daemon/control/object_store.h"
#include "daemon/model/snapshot.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace orlop::app {

nlohmann::json finding_json(const control::Finding& finding);
nlohmann::json findings_json(const control::Findings& findings);

struct ObjectQuery {
    std::string kind;  // canonical; empty: every kind
    std::string ns;    // empty: every namespace
    std::string name;  // empty: every name
};
// `compiled`: what the last compilation said; joined to the objects it speaks of.
nlohmann::json objects_json(const control::ObjectStore& store,
                            const control::Findings& compiled,
                            const ObjectQuery& query);

nlohmann::json workloads_json(const model::Snapshot& snapshot);
nlohmann::json routes_json(const model::Snapshot& snapshot);
nlohmann::json destinations_json(const model::Snapshot& snapshot);
nlohmann::json endpoints_json(const model::Snapshot& snapshot);
nlohmann::json policies_json(const model::Snapshot& snapshot);
nlohmann::json certificates_json(const std::vector<CertificateStatus>& certificates,
                                 WallTime ca_not_after);

// {results: [{object, kind, namespace, name, action}], warnings, errors}
nlohmann::json changes_json(const ApplyPlan& plan);

std::string rfc3339(WallTime time);

}  // namespace orlop::app
