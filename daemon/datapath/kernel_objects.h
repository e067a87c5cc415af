// KernelObjects: the instance's maps, programs and links, pinned in one bpffs directory.
//
// Layout of the directory: map_<name>, link_connect4, link_connect6, link_steer_<slot>. Programs
// have no pins of their own; their links hold them. open() adopts maps that are there and replaces
// programs under the links in place. Control thread; count() and beat() from any thread.
#pragma once

#include "bpf/abi.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace orlop::datapath {

class KernelObjects {
public:
    static Result<std::unique_ptr<KernelObjects>> open(const std::string& bpffs_dir,
                                                       const std::string& cgroup_path);
    ~KernelObjects();
    KernelObjects(const KernelObjects&) = delete;
    KernelObjects& operator=(const KernelObjects&) = delete;

    // Attaches the entry program of `slot` to the namespace, or replaces the program of the pinned
    // link of that slot.
    Result<void> attach_steer(std::uint32_t slot, int netns_fd);
    void detach_steer(std::uint32_t slot);
    std::vector<std::uint32_t> list_steer_slots() const;

    Result<void> enroll(std::uint64_t netns_cookie, std::uint32_t slot);
    void unenroll(std::uint64_t netns_cookie);
    bool is_enrolled(std::uint64_t netns_cookie) const;
    std::vector<std::uint64_t> list_enrolled() const;  // cookies

    Result<void> write_pod(std::uint32_t slot, const orlop_pod& pod);
    Result<orlop_pod> read_pod(std::uint32_t slot) const;
    void remove_pod(std::uint32_t slot);
    std::vector<std::uint32_t> list_pod_slots() const;

    Result<void> enter_listener(std::uint32_t slot, orlop_listener_kind kind, int socket);
    bool has_listener(std::uint32_t slot, orlop_listener_kind kind) const;
    void remove_listeners(std::uint32_t slot);

    void beat();
    std::vector<std::uint64_t> read_stats() const;  // by orlop_reason, all CPUs added
    Result<UniqueFd> exemptions() const;            // an own descriptor of the socket register

private:
    struct Loaded;
    KernelObjects(std::string bpffs_dir, std::unique_ptr<Loaded> loaded);

    std::string bpffs_dir_;
    std::unique_ptr<Loaded> loaded_;
};

// bpffs at the parent of `bpffs_dir`, mounted if absent and permitted; then the directory.
Result<void> ensure_bpffs(const std::string& bpffs_dir);
// The given cgroup v2 directory, or with "" the root of the v2 mount.
Result<std::string> find_cgroup(const std::string& wanted);
// Names programs on the cgroup or above it that keep us from attaching; empty when none.
std::string describe_blockers(const std::string& cgroup_path);
// Loads all objects without pinning or attaching; the error holds the verifier's last words.
Result<void> probe_load();
// Unlinks every pin of the directory and the directory; returns a line for each.
std::vector<std::string> remove_pins(const std::string& bpffs_dir);
std::vector<std::string> list_pins(const std::string& bpffs_dir);

// For those who work without loading anything (uninstall, listing): what the pinned maps say.
struct PinnedPod {
    std::uint32_t slot = 0;
    std::uint64_t netns_cookie = 0;
};
std::vector<PinnedPod> read_pinned_pods(const std::string& bpffs_dir);

}  // namespace orlop::datapath
