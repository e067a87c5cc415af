// Enrolment: keeps the set of captured pods equal to what the Snapshot asks for.
//
// reconcile() is called with every new Snapshot: pods that should be captured are prepared, given
// listeners on their home core and activated; pods whose label was removed are drained and let go
// without touching live connections; pods that vanished are forgotten. The kernel-side state
// machine is datapath's; this is its driver. Control thread.
#pragma once

#include "daemon/app/core_set.h"
#include "daemon/datapath/datapath.h"
#include "daemon/model/snapshot.h"
#include "daemon/net/listener.h"
#include "daemon/runtime/scope.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace orlop::app {

datapath::Exclusions exclusions_of(const model::CaptureExclusions& from);

class Enrolment {
public:
    // `on_local` takes connections to a pod's 127.0.0.1:15020 and :15021.
    using LocalHandler = std::function<void(int fd)>;
    Enrolment(runtime::Loop& loop,
              runtime::Scope& scope,
              CoreSet& cores,
              datapath::Datapath& datapath,
              LocalHandler on_local);
    ~Enrolment();

    void reconcile(const model::Snapshot& snapshot);
    // Something failed: reconcile() again, also without a new Snapshot.
    bool wants_retry() const { return !failed_.empty() || update_failed_; }
    // After the first reconcile of a process: pods that an earlier one captured and nobody wants.
    void forget_unclaimed();
    // Pods that take HBONE now, for NodeStatus.
    std::vector<std::string> redirected() const;
    std::vector<std::string> captured() const;  // those, and the ones that are leaving
    // Why the last attempt to capture a pod failed; empty when none did.
    std::string failure_of(const std::string& uid) const;
    bool is_leaving(const std::string& uid) const;
    // Drives the pods that are leaving; call a few times a second while it returns true.
    bool advance_leaving();
    runtime::Task<void> stop_listeners();

private:
    enum class Stage : unsigned char { enrolled, leaving };
    struct Pod {
        std::string label;  // namespace/name for the log
        Stage stage = Stage::enrolled;
        datapath::PodPolicy policy;
        datapath::SourceAddress source = datapath::SourceAddress::caller;
        std::string netns;
        std::size_t home = 0;
        Instant leaving_since;
        bool asked = false;  // the core was asked for its live connections
        std::unique_ptr<net::Listener> local;
    };
    void enrol(const model::Snapshot& snapshot, const model::Workload& workload);
    void take_back(const std::string& uid, Pod& pod, const datapath::PodPolicy& policy);
    void hand_over(const std::string& uid, Pod& pod, datapath::Listeners& listeners);
    void leave(const std::string& uid, Pod& pod);
    void gone(const std::string& uid, Pod& pod);
    void finish_leaving(const std::string& uid);
    void drop_local(Pod& pod);

    runtime::Loop& loop_;
    runtime::Scope& scope_;
    CoreSet& cores_;
    datapath::Datapath& datapath_;
    LocalHandler on_local_;
    std::map<std::string, Pod> pods_;  // by uid
    std::size_t leaving_ = 0;          // of them
    struct Failure {
        Instant again;  // no attempt before
        std::string reason;
    };
    std::map<std::string, Failure> failed_;  // by uid
    bool update_failed_ = false;             // of a pod or the journal, in the last reconcile()
};

}  // namespace orlop::app
