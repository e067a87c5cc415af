// Pre-flight: what this machine lacks for capture, each with what to do about it.
#include "daemon/datapath/datapath.h"
#include "daemon/datapath/instance.h"
#include "daemon/datapath/kernel_objects.h"

#include <bpf/bpf.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace orlop::datapath {
namespace {

struct Capability {
    int number;
    const char* name;
    const char* purpose;
};
constexpr Capability capabilities[] = {
    {12, "CAP_NET_ADMIN", "sockets, rules and routes in pods"},
    {21, "CAP_SYS_ADMIN", "entering the pods' network namespaces"},
    {39, "CAP_BPF", "loading BPF programs"},
};

struct Needed {
    bpf_prog_type type;
    bpf_attach_type attach;
    int function;
    const char* name;
    const char* since;
};
constexpr Needed needed_functions[] = {
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
     BPF_CGROUP_INET4_CONNECT,
     BPF_FUNC_get_netns_cookie,
     "get_netns_cookie in connect4",
     "5.7"},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
     BPF_CGROUP_INET4_CONNECT,
     BPF_FUNC_setsockopt,
     "setsockopt in connect4",
     "5.8"},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
     BPF_CGROUP_INET6_CONNECT,
     BPF_FUNC_sk_storage_get,
     "sk_storage_get in connect6",
     "5.8"},
    {BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, BPF_FUNC_sk_assign, "sk_assign in sk_lookup", "5.9"},
};

std::uint64_t effective_capabilities() {
    FILE* status = std::fopen("/proc/thread-self/status", "re");
    std::array<char, 256> line{};
    unsigned long long found = 0;
    while (status != nullptr && std::fgets(line.data(), line.size(), status) != nullptr) {
        if (std::sscanf(line.data(), "CapEff: %llx", &found) == 1) {
            break;
        }
    }
    if (status != nullptr) {
        std::fclose(status);
    }
    return found;
}

Check check_capabilities() {
    std::uint64_t held = effective_capabilities();
    std::string missing;
    for (const Capability& one : capabilities) {
        if ((held >> one.number & 1) == 0) {
            missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", one.name, one.purpose);
        }
    }
    if (missing.empty()) {
        return {"privileges", CheckLevel::ok, "CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN", ""};
    }
    return {"privileges",
            CheckLevel::failure,
            "missing " + missing,
            "run as root, or add these capabilities to the container"};
}

Check check_cgroup(const Options& options) {
    auto cgroup = find_cgroup(options.cgroup_path);
    if (!cgroup) {
        return {"cgroup v2",
                CheckLevel::failure,
                cgroup.error().context,
                "mount cgroup v2 (beside v1 is enough): mount -t cgroup2 none <dir>"};
    }
    return {"cgroup v2", CheckLevel::ok, *cgroup, ""};
}

Check check_foreign_programs(const Options& options) {
    auto cgroup = find_cgroup(options.cgroup_path);
    std::string blockers = cgroup ? describe_blockers(*cgroup) : "";
    if (!blockers.empty()) {
        return {"other connect programs",
                CheckLevel::failure,
                blockers,
                "bpftool cgroup tree shows who attached it"};
    }
    return {"other connect programs", CheckLevel::ok, "none that keeps orlop away", ""};
}

Check check_bpffs(const Options& options) {
    std::string parent = std::filesystem::path(options.bpffs_dir).parent_path();
    struct statfs found{};
    if (::statfs(parent.c_str(), &found) == 0 && found.f_type == BPF_FS_MAGIC) {
        return {"bpffs", CheckLevel::ok, parent, ""};
    }
    if (auto mounted = ensure_bpffs(options.bpffs_dir); !mounted) {
        return {
            "bpffs", CheckLevel::failure, mounted.error().context, "mount -t bpf bpffs " + parent};
    }
    ::rmdir(options.bpffs_dir.c_str());  // only when empty; the mount is what we wanted
    return {"bpffs", CheckLevel::ok, parent + " (was not mounted, is now)", ""};
}

Check check_btf() {
    if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) {
        return {"kernel BTF", CheckLevel::ok, "/sys/kernel/btf/vmlinux", ""};
    }
    return {"kernel BTF",
            CheckLevel::warning,
            "absent; orlop's programs do not need it, tracing tools do",
            "a kernel built with CONFIG_DEBUG_INFO_BTF"};
}

// A three-instruction program: the verifier says whether the program type knows the function before
// it looks at the arguments. Kernels report any function as supported to the usual probes.
bool has_function(const Needed& needed) {
    bpf_insn program[3]{};
    program[0].code = BPF_JMP | BPF_CALL;
    program[0].imm = needed.function;
    program[1].code = BPF_ALU64 | BPF_MOV | BPF_K;
    program[1].imm = 1;
    program[2].code = BPF_JMP | BPF_EXIT;
    std::array<char, 4096> log{};
    bpf_prog_load_opts options{};
    options.sz = sizeof(options);
    options.expected_attach_type = needed.attach;
    options.log_buf = log.data();
    options.log_size = log.size();
    options.log_level = 1;
    UniqueFd loaded(bpf_prog_load(needed.type, "orlop_probe", "Apache-2.0", program, 3, &options));
    // An empty log: refused before the verifier ran, by privilege or unknown type.
    return loaded.valid() ||
           (log[0] != '\0' && std::strstr(log.data(), "unknown func") == nullptr &&
            std::strstr(log.data(), "cannot use") == nullptr &&
            std::strstr(log.data(), "invalid func") == nullptr);
}

Check check_programs() {
    utsname kernel{};
    ::uname(&kernel);
    auto loaded = probe_load();
    if (loaded) {
        return {"BPF programs",
                CheckLevel::ok,
                fmt::format("Linux {} loads connect4, connect6 and sk_lookup", kernel.release),
                ""};
    }
    std::string missing;
    for (const Needed& needed : needed_functions) {
        if (!has_function(needed)) {
            missing += fmt::format(
                "{}{} (Linux {})", missing.empty() ? "" : ", ", needed.name, needed.since);
        }
    }
    return {"BPF programs",
            CheckLevel::failure,
            loaded.error().context + (missing.empty() ? "" : "; not available: " + missing),
            fmt::format("Linux 6.1 or newer with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF, this is "
                        "{}; or the privileges above",
                        kernel.release)};
}

Check check_source_address() {
    const char* path = "/proc/sys/net/ipv4/tcp_fwmark_accept";
    struct statvfs found{};
    if (::access(path, F_OK) != 0) {
        return {"caller's address",
                CheckLevel::warning,
                std::string(path) + " is absent",
                "apps will see the pod's own address as their peer; needs a newer kernel"};
    }
    if (::statvfs(path, &found) == 0 && (found.f_flag & ST_RDONLY) != 0) {
        return {"caller's address",
                CheckLevel::warning,
                "/proc/sys is mounted read-only",
                "mount it writable for orlopd, or switch the caller's address off"};
    }
    return {"caller's address", CheckLevel::ok, "tcp_fwmark_accept can be set", ""};
}

}  // namespace

std::vector<Check> Datapath::check(const Options& options) {
    Options complete = options;
    if (complete.bpffs_dir.empty()) {
        complete.bpffs_dir = "/sys/fs/bpf/orlop-" + complete.instance;
    }
    std::vector<Check> checks{check_capabilities(),
                              check_cgroup(complete),
                              check_bpffs(complete),
                              check_btf(),
                              check_programs(),
                              check_source_address(),
                              check_foreign_programs(complete)};
    if (auto usable = complete_options(complete); !usable) {
        checks.push_back({"state folder",
                          CheckLevel::failure,
                          usable.error().context,
                          "give a writable folder"});
    } else {
        checks.push_back({"state folder", CheckLevel::ok, usable->state_dir, ""});
    }
    return checks;
}

}  // namespace orlop::datapath
