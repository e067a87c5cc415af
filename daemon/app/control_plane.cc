#include "daemon/app/control_plane.h"

#include "daemon/base/log.h"

#include <utility>

namespace orlop::app {

ControlPlane::ControlPlane(const DaemonOptions& options,
                           control::ConfigDirectory config,
                           control::ConfigDirectory sandboxes)
    : options_(options), config_(std::move(config)), sandboxes_(std::move(sandboxes)) {}

Result<std::unique_ptr<ControlPlane>> ControlPlane::open(const DaemonOptions& options) {
    auto config =
        control::ConfigDirectory::open({options.config_dir, control::Origin::config, "default"});
    if (!config) {
        return std::unexpected(config.error());
    }
    auto sandboxes =
        control::ConfigDirectory::open({options.sandbox_dir, control::Origin::sandbox, "default"});
    if (!sandboxes) {
        return std::unexpected(sandboxes.error());
    }
    return std::unique_ptr<ControlPlane>(
        new ControlPlane(options, std::move(*config), std::move(*sandboxes)));
}

bool ControlPlane::refresh() {
    bool changed = config_.scan(store_).changed;
    changed = sandboxes_.scan(store_).changed || changed;
    changed = compiler_.files_changed() || changed;
    changed = std::exchange(dns_changed_, false) || changed;
    if (changed || !snapshot_) {
        auto result = compiler_.compile(store_, {options_.node_name, ++generation_, dns_});
        drop_unused();
        replaced_.push_back(std::exchange(snapshot_, std::move(result.snapshot)));
        dns_names_ = std::move(result.dns_names);
        if (result.findings_changed) {
            findings_ = std::move(result.findings);
            reported_store_.reset();
        }
    }
    if (reported_store_ != store_.findings_revision()) {
        report();
        reported_store_ = store_.findings_revision();
    }
    return changed || generation_ == 1;
}

void ControlPlane::drop_unused() {
    std::erase_if(replaced_, [](const auto& snapshot) { return snapshot.use_count() <= 1; });
}

// Each finding is logged once, when it appears; not again with every generation.
void ControlPlane::report() {
    std::set<std::string> now;
    auto tell = [&](const control::Findings& findings) {
        for (const auto& finding : findings) {
            std::string line = finding.to_string();
            if (!reported_.contains(line) && now.insert(line).second) {
                auto level = finding.severity == control::Severity::error     ? LogLevel::error
                             : finding.severity == control::Severity::warning ? LogLevel::warning
                                                                              : LogLevel::debug;
                log_line(level, "control", "{}", line);
            }
            now.insert(std::move(line));
        }
    };
    tell(store_.findings());
    tell(findings_);
    reported_ = std::move(now);
}

}  // namespace orlop::app
