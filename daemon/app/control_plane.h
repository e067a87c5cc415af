// ControlPlane: from watched directories to the Snapshot in force. Control thread.
//
// refresh() scans what changed, compiles when an object in force did, and reports; whoever calls it
// publishes the result. Snapshots that were in force are kept until no core uses them any more, so
// that what is left of them is freed here and not between two requests.
#pragma once

#include "daemon/app/options.h"
#include "daemon/control/compile.h"
#include "daemon/control/config_directory.h"
#include "daemon/control/object_store.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace orlop::app {

class ControlPlane {
public:
    static Result<std::unique_ptr<ControlPlane>> open(const DaemonOptions& options);

    // True when there is a new snapshot.
    bool refresh();
    // What names resolve to; alive as long as this. refresh() follows after_dns().
    void look_in(const control::DnsAnswers* answers) { dns_ = answers; }
    void after_dns() { dns_changed_ = true; }
    const std::set<std::string>& dns_names() const { return dns_names_; }
    const model::SnapshotPtr& snapshot() const { return snapshot_; }
    const control::ObjectStore& store() const { return store_; }
    const control::Findings& findings() const { return findings_; }
    // Frees what no core holds any more.
    void drop_unused();
    control::ConfigDirectory& config() { return config_; }
    control::ConfigDirectory& sandboxes() { return sandboxes_; }
    // A certificate or key file that the configuration names was replaced.
    bool credential_files_changed() const { return compiler_.files_changed(); }
    bool needs_polling() const { return config_.needs_polling() || sandboxes_.needs_polling(); }

private:
    ControlPlane(const DaemonOptions& options,
                 control::ConfigDirectory config,
                 control::ConfigDirectory sandboxes);
    void report();

    const DaemonOptions& options_;
    control::ConfigDirectory config_;
    control::ConfigDirectory sandboxes_;
    control::ObjectStore store_;
    control::Compiler compiler_;
    control::Findings findings_;
    std::set<std::string> reported_;
    std::optional<std::uint64_t> reported_store_;  // its findings_revision()
    std::vector<model::SnapshotPtr> replaced_;     // snapshots that cores may still hold
    std::uint64_t generation_ = 0;
    model::SnapshotPtr snapshot_;
    const control::DnsAnswers* dns_ = nullptr;
    bool dns_changed_ = false;
    std::set<std::string> dns_names_;
};

}  // namespace orlop::app
