// PodPatch: pods that changed, or what is said about them, as Workloads of the next Snapshot; and
// the services whose endpoints may be others for it.
#pragma once

#include "daemon/control/compile/state.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace orlop::control {

class PodPatch {
public:
    PodPatch(const ObjectStore& store, CompileState& state, model::Snapshot::Tables& next)
        : store_(store), state_(state), next_(next) {}

    struct Change {
        ObjectPtr before;
        ObjectPtr after;
        model::WorkloadPtr workload;  // made of `after`; null: gone or finished
    };

    // All: false when everything has to be compiled.
    bool note(const ObjectChange& change);  // of Pod, PodSandbox or NodeStatus
    bool apply();
    bool findings_changed() const { return told_changed_; }
    const std::map<ObjectKey, Change>& changes() const { return changes_; }
    const std::set<std::uint32_t>& services() const { return services_; }  // concerned

private:
    void note_uid(const std::string& uid);
    bool note_sandbox(const ObjectChange& change);
    void note_status(const ObjectChange& change);
    model::WorkloadPtr workload_of(const ObjectPtr& pod) const;
    bool count_host_ips(const Change& change);
    bool remove(const ObjectKey& key, const model::WorkloadPtr& workload);
    bool add(const ObjectKey& key, Change& change);
    bool count(const std::string& ns, std::ptrdiff_t more);
    bool concern(const model::Workload& workload);

    const ObjectStore& store_;
    CompileState& state_;
    model::Snapshot::Tables& next_;
    std::map<ObjectKey, Change> changes_;
    std::set<std::string> uids_;  // of pods about which something else changed
    std::set<std::uint32_t> services_;
    bool told_changed_ = false;
};

}  // namespace orlop::control
