// The places orlop lives in: bpffs, cgroup v2, and what is pinned there; usable without loading.
#include "daemon/datapath/kernel_objects.h"

#include <bpf/bpf.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <errno.h>
#include <fcntl.h>
#include <filesystem>
#include <mntent.h>
#include <unistd.h>

namespace orlop::datapath {
namespace {

namespace fs = std::filesystem;

bool is_filesystem(const std::string& path, long magic) {
    struct statfs found{};
    return ::statfs(path.c_str(), &found) == 0 && static_cast<long>(found.f_type) == magic;
}

// "connect4 program 12 (cil_sock4_connect)" for each program attached at this very directory when
// its flags keep a multi-program link away.
std::string exclusive_programs(const std::string& cgroup_path) {
    UniqueFd cgroup(::open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::string text;
    for (auto type : {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT}) {
        std::array<std::uint32_t, 64> ids{};
        std::uint32_t count = ids.size();
        std::uint32_t flags = 0;
        if (!cgroup.valid() ||
            bpf_prog_query(cgroup.get(), type, 0, &flags, ids.data(), &count) != 0 || count == 0 ||
            (flags & BPF_F_ALLOW_MULTI) != 0) {
            continue;
        }
        UniqueFd program(bpf_prog_get_fd_by_id(ids[0]));
        bpf_prog_info info{};
        std::uint32_t size = sizeof(info);
        bool known = program.valid() && bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0;
        text += fmt::format("{}program {} ({}) holds {} of {} alone",
                            text.empty() ? "" : ", ",
                            ids[0],
                            known ? info.name : "unnamed",
                            type == BPF_CGROUP_INET4_CONNECT ? "connect4" : "connect6",
                            cgroup_path);
    }
    return text;
}

std::string describe_pin(const std::string& path, const std::string& name) {
    UniqueFd object(bpf_obj_get(path.c_str()));
    if (!object.valid()) {
        return fmt::format("pin {}", path);
    }
    if (name.starts_with("map_")) {
        bpf_map_info info{};
        std::uint32_t size = sizeof(info);
        bpf_obj_get_info_by_fd(object.get(), &info, &size);
        return fmt::format("map {} id {} pinned {}", info.name, info.id, path);
    }
    bpf_link_info info{};
    std::uint32_t size = sizeof(info);
    bpf_obj_get_info_by_fd(object.get(), &info, &size);
    std::string target = info.type == BPF_LINK_TYPE_CGROUP
                             ? fmt::format("cgroup {}", info.cgroup.cgroup_id)
                             : fmt::format("network namespace {}", info.netns.netns_ino);
    return fmt::format(
        "link id {} program id {} on {} pinned {}", info.id, info.prog_id, target, path);
}

std::vector<std::string> pin_names(const std::string& bpffs_dir) {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(bpffs_dir, ignored)) {
        std::string name = entry.path().filename();
        if (name.starts_with("map_") || name.starts_with("link_")) {
            names.push_back(name);
        }
    }
    // link_ before map_: programs go before what they read.
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

Result<void> ensure_bpffs(const std::string& bpffs_dir) {
    std::string parent = fs::path(bpffs_dir).parent_path();
    if (!is_filesystem(parent, BPF_FS_MAGIC)) {
        std::error_code ignored;
        fs::create_directories(parent, ignored);
        if (::mount(
                "bpffs", parent.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") !=
            0) {
            return fail_errno(errno,
                              fmt::format("{} is no bpffs and mounting one failed; run "
                                          "`mount -t bpf bpffs {}`",
                                          parent,
                                          parent));
        }
    }
    if (::mkdir(bpffs_dir.c_str(), 0700) != 0 && errno != EEXIST) {
        return fail_errno(errno, "create " + bpffs_dir);
    }
    return {};
}

Result<std::string> find_cgroup(const std::string& wanted) {
    if (!wanted.empty()) {
        if (!is_filesystem(wanted, CGROUP2_SUPER_MAGIC)) {
            return fail(ErrorKind::unsupported,
                        wanted + " is no cgroup v2 directory; look for type "
                                 "cgroup2 in /proc/mounts");
        }
        return wanted;
    }
    FILE* mounts = ::setmntent("/proc/self/mounts", "re");
    std::string found;
    while (mounts != nullptr && found.empty()) {
        mntent* entry = ::getmntent(mounts);
        if (entry == nullptr) {
            break;
        }
        if (std::string_view(entry->mnt_type) == "cgroup2") {
            found = entry->mnt_dir;
        }
    }
    if (mounts != nullptr) {
        ::endmntent(mounts);
    }
    if (found.empty()) {
        return fail(ErrorKind::unsupported,
                    "no cgroup v2 is mounted; run `mkdir -p /run/orlop-cgroup2 && mount -t cgroup2 "
                    "none /run/orlop-cgroup2`");
    }
    return found;
}

std::string describe_blockers(const std::string& cgroup_path) {
    std::error_code ignored;
    fs::path at = fs::canonical(cgroup_path, ignored);
    std::string text;
    constexpr int depth_max = 64;
    for (int i = 0; i < depth_max && is_filesystem(at, CGROUP2_SUPER_MAGIC); ++i) {
        std::string here = exclusive_programs(at);
        text += (text.empty() || here.empty() ? "" : ", ") + here;
        if (at == at.parent_path()) {
            break;
        }
        at = at.parent_path();
    }
    if (!text.empty()) {
        text += "; it was attached without BPF_F_ALLOW_MULTI, so no other program may join: have "
                "its owner attach it with that flag or as a link, or remove it";
    }
    return text;
}

std::vector<std::string> list_pins(const std::string& bpffs_dir) {
    std::vector<std::string> lines;
    for (const std::string& name : pin_names(bpffs_dir)) {
        lines.push_back(describe_pin(bpffs_dir + "/" + name, name));
    }
    return lines;
}

std::vector<std::string> remove_pins(const std::string& bpffs_dir) {
    std::vector<std::string> lines = list_pins(bpffs_dir);
    for (const std::string& name : pin_names(bpffs_dir)) {
        std::string path = bpffs_dir + "/" + name;
        UniqueFd object(bpf_obj_get(path.c_str()));
        if (object.valid() && name.starts_with("link_")) {
            bpf_link_detach(object.get());
        }
        ::unlink(path.c_str());
    }
    ::rmdir(bpffs_dir.c_str());
    return lines;
}

std::vector<PinnedPod> read_pinned_pods(const std::string& bpffs_dir) {
    std::vector<PinnedPod> found;
    UniqueFd map(bpf_obj_get((bpffs_dir + "/map_pods").c_str()));
    bpf_map_info info{};
    std::uint32_t size = sizeof(info);
    if (!map.valid() || bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0 ||
        info.value_size != sizeof(orlop_pod)) {
        return found;
    }
    std::uint32_t slot = 0;
    int error = bpf_map_get_next_key(map.get(), nullptr, &slot);
    while (error == 0 && found.size() < ORLOP_PODS_MAX) {
        orlop_pod pod{};
        if (bpf_map_lookup_elem(map.get(), &slot, &pod) == 0) {
            found.push_back({slot, pod.netns_cookie});
        }
        std::uint32_t previous = slot;
        error = bpf_map_get_next_key(map.get(), &previous, &slot);
    }
    return found;
}

}  // namespace orlop::datapath
