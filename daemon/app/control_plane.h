// ControlPlane: from watched directories to the Snapshot in force. Control thread.
//
// refresh() scans what changed, compiles when an object in force did, and reports; whoever calls it
// publishes the result.
#pragma once

#include "daemon/app/options.h"
#include "daemon/control/compile.h"
#include "daemon/control/config_directory.h"
#include "daemon/control/object_store.h"

#include <memory>
#include <optional>
#include <set>
#include <string>

namespace orlop::app {

class ControlPlane {
public:
    static Result<std::unique_ptr<ControlPlane>> open(const DaemonOptions& options);

    // True when there is a new snapshot.
    bool refresh();
    const model::SnapshotPtr& snapshot() const { return snapshot_; }
    const control::ObjectStore& store() const { return store_; }
    const control::Findings& findings() const { return findings_; }
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
    std::uint64_t generation_ = 0;
    model::SnapshotPtr snapshot_;
};

}  // namespace orlop::app
