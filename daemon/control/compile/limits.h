// LimitBook: which RateLimits concern a host. One in the namespace of the host's service, or in the
// root namespace, holds for every caller; any other only for the callers of its own namespace.
#pragma once

#include "daemon/control/compile/finding_sink.h"
#include "daemon/control/objects/object.h"
#include "daemon/model/snapshot.h"

#include <string>
#include <vector>

namespace orlop::control {

class LimitBook {
public:
    // `objects`: RateLimits in order of creation.
    LimitBook(std::vector<ObjectPtr> objects, const model::MeshConfig& mesh)
        : objects_(std::move(objects)), mesh_(mesh) {}

    // `service_ns` empty: a host that no Service has.
    std::vector<model::RateLimitPtr>
    of(const std::string& host, const std::string& service_ns, FindingSink& findings) const;

private:
    std::vector<ObjectPtr> objects_;
    const model::MeshConfig& mesh_;
};

}  // namespace orlop::control
