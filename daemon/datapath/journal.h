// Journal: which pods have kernel state, and what to restore when they leave; a small text file.
//
// One header line with the boot id (namespace cookies mean nothing after a reboot), then one line
// per pod, fields separated by tabs. Written whole, to a temporary file that is renamed over, so a
// reader sees the old or the new one; the line of one more pod is appended, so that many pods cost
// no more than their lines. A pod is written before its first kernel object is made and removed
// after its last one is gone. Control thread.
#pragma once

#include "daemon/base/error.h"
#include "daemon/datapath/datapath.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::datapath {

struct JournalPod {
    std::string uid;
    std::string netns_path;
    std::uint32_t slot = 0;
    std::uint64_t netns_cookie = 0;
    PodState state = PodState::prepared;
    std::optional<int> mark_sysctls_before;  // unset: we did not change it
    bool operator==(const JournalPod&) const = default;
};

Result<void> check_pod_uid(std::string_view uid);
Result<void> check_netns_path(std::string_view path);

std::string format_journal(std::string_view boot_id, const std::vector<JournalPod>& pods);
// Pods of another boot are dropped: nothing of theirs is left. So is a last line without its end:
// its writer died before it did anything for that pod. Any other line that breaks the grammar makes
// the whole journal invalid_input.
Result<std::vector<JournalPod>> parse_journal(std::string_view text, std::string_view boot_id);

std::string read_boot_id();
Result<std::vector<JournalPod>> read_journal(const std::string& path);  // absent: empty
Result<void> write_journal(const std::string& path, const std::vector<JournalPod>& pods);
// Adds a pod whose uid and slot are not in the journal, which exists. After a failure the journal
// must be written whole.
Result<void> append_journal(const std::string& path, const JournalPod& pod);

}  // namespace orlop::datapath
