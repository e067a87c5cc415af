#include "daemon/datapath/kernel_objects.h"

#include "bpf/connect.skel.h"
#include "daemon/base/clock.h"
#include "daemon/datapath/libbpf_words.h"
#include "daemon/datapath/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace orlop::datapath {
namespace {

namespace fs = std::filesystem;

struct ConnectDeleter {
    void operator()(connect_bpf* object) const { connect_bpf__destroy(object); }
};
using Connect = std::unique_ptr<connect_bpf, ConnectDeleter>;

template <class Key> std::vector<Key> list_keys(int map) {
    std::vector<Key> keys;
    Key key{};
    int error = bpf_map_get_next_key(map, nullptr, &key);
    while (error == 0 && keys.size() < ORLOP_PODS_MAX * ORLOP_LISTENER_KINDS) {
        keys.push_back(key);
        Key previous = key;
        error = bpf_map_get_next_key(map, &previous, &key);
    }
    return keys;
}

Result<void> check_layout(const std::string& bpffs_dir) {
    UniqueFd pinned(bpf_obj_get((bpffs_dir + "/map_meta").c_str()));
    if (!pinned.valid()) {
        return {};
    }
    std::uint32_t zero = 0;
    orlop_meta found{};
    bpf_map_lookup_elem(pinned.get(), &zero, &found);
    // abi 0: the predecessor died between creating and filling the maps, so nothing is in them.
    if (found.abi != 0 &&
        (found.abi != ORLOP_ABI_VERSION || found.reason_count != ORLOP_REASON_COUNT)) {
        return fail(ErrorKind::unsupported,
                    fmt::format("maps pinned in {} have layout {}, this orlopd has {}: run "
                                "`orlopctl uninstall`, then start again",
                                bpffs_dir,
                                found.abi,
                                ORLOP_ABI_VERSION));
    }
    return {};
}

// Replaces the program under a pinned link without a moment of no program; false when there is no
// such link or its target (cgroup, namespace) is gone.
bool replace_program(const std::string& pin, int program, std::uint64_t target) {
    UniqueFd link(bpf_obj_get(pin.c_str()));
    if (!link.valid()) {
        return false;
    }
    bpf_link_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) {
        return false;
    }
    std::uint64_t attached =
        info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : info.netns.netns_ino;
    return attached == target && bpf_link_update(link.get(), program, nullptr) == 0;
}

// Pins `link` at `pin`, in place of what is there.
Result<void> pin_over(int link, const std::string& pin) {
    std::string fresh = pin + "_new";
    ::unlink(fresh.c_str());
    if (bpf_obj_pin(link, fresh.c_str()) != 0) {
        return fail_errno(errno, "pin " + fresh);
    }
    if (::rename(fresh.c_str(), pin.c_str()) != 0) {
        int error = errno;
        ::unlink(fresh.c_str());
        return fail_errno(error, "rename to " + pin);
    }
    return {};
}

Result<void> attach(const std::string& pin, int program, int target_fd, bpf_attach_type type) {
    struct stat target{};
    if (::fstat(target_fd, &target) != 0) {
        return fail_errno(errno, "stat the target of " + pin);
    }
    if (replace_program(pin, program, target.st_ino)) {
        return {};
    }
    UniqueFd link(bpf_link_create(program, target_fd, type, nullptr));
    if (!link.valid()) {
        return fail_errno(errno, "attach " + pin.substr(pin.rfind('/') + 1));
    }
    return pin_over(link.get(), pin);
}

Result<Connect> load_connect(const std::string& bpffs_dir) {
    Connect connect(connect_bpf__open());
    if (!connect) {
        return fail_libbpf(errno, "open the connect programs");
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, connect->obj) {
        if (!bpffs_dir.empty() && !bpf_map__is_internal(map)) {
            std::string pin = bpffs_dir + "/map_" + bpf_map__name(map);
            bpf_map__set_pin_path(map, pin.c_str());
        }
    }
    if (int error = connect_bpf__load(connect.get()); error != 0) {
        return fail_libbpf(error,
                           "load the connect programs (CAP_BPF and CAP_NET_ADMIN needed, "
                           "kernel 6.1 or newer; see `orlopctl check --pre`)");
    }
    return connect;
}

std::string steer_pin(const std::string& bpffs_dir, std::uint32_t slot) {
    return fmt::format("{}/link_steer_{}", bpffs_dir, slot);
}

}  // namespace

struct KernelObjects::Loaded {
    Connect connect;
    Steering steering;
    int enrolled() const { return bpf_map__fd(connect->maps.enrolled); }
    int pods() const { return bpf_map__fd(connect->maps.pods); }
    int listeners() const { return bpf_map__fd(connect->maps.listeners); }
    int app_ports() const { return bpf_map__fd(connect->maps.app_ports); }
    int beat() const { return bpf_map__fd(connect->maps.beat); }
    int stats() const { return bpf_map__fd(connect->maps.stats); }
};

KernelObjects::KernelObjects(std::string bpffs_dir, std::unique_ptr<Loaded> loaded)
    : bpffs_dir_(std::move(bpffs_dir)), loaded_(std::move(loaded)) {}
KernelObjects::~KernelObjects() = default;

Result<std::unique_ptr<KernelObjects>> KernelObjects::open(const std::string& bpffs_dir,
                                                           const std::string& cgroup_path) {
    listen_to_libbpf();
    if (auto same = check_layout(bpffs_dir); !same) {
        return std::unexpected(same.error());
    }
    auto connect = load_connect(bpffs_dir);
    if (!connect) {
        return std::unexpected(connect.error());
    }
    std::uint32_t zero = 0;
    orlop_meta layout{.abi = ORLOP_ABI_VERSION, .reason_count = ORLOP_REASON_COUNT};
    bpf_map_update_elem(bpf_map__fd((*connect)->maps.meta), &zero, &layout, BPF_ANY);

    auto steering = Steering::load((*connect)->obj);
    if (!steering) {
        return std::unexpected(steering.error());
    }
    UniqueFd cgroup(::open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.valid()) {
        return fail_errno(errno, "open cgroup v2 directory " + cgroup_path);
    }
    struct Hook {
        const char* pin;
        bpf_program* program;
        bpf_attach_type type;
    };
    for (const Hook& hook :
         {Hook{"/link_connect4", (*connect)->progs.orlop_connect4, BPF_CGROUP_INET4_CONNECT},
          Hook{"/link_connect6", (*connect)->progs.orlop_connect6, BPF_CGROUP_INET6_CONNECT}}) {
        auto done =
            attach(bpffs_dir + hook.pin, bpf_program__fd(hook.program), cgroup.get(), hook.type);
        if (!done) {
            Error error = done.error();
            error.context += " to " + cgroup_path;
            if (std::string blockers = describe_blockers(cgroup_path); !blockers.empty()) {
                error.context += ": " + blockers;
            }
            return std::unexpected(std::move(error));
        }
    }
    auto loaded = std::make_unique<Loaded>(std::move(*connect), std::move(*steering));
    return std::unique_ptr<KernelObjects>(new KernelObjects(bpffs_dir, std::move(loaded)));
}

Result<void> KernelObjects::attach_steer(std::uint32_t slot, int netns_fd) {
    auto entry = loaded_->steering.make_entry(slot);
    if (!entry) {
        return std::unexpected(entry.error());
    }
    return attach(steer_pin(bpffs_dir_, slot), entry->get(), netns_fd, BPF_SK_LOOKUP);
}

void KernelObjects::detach_steer(std::uint32_t slot) {
    std::string pin = steer_pin(bpffs_dir_, slot);
    // Detach by hand first: a process that lists links may hold another reference for a moment.
    UniqueFd link(bpf_obj_get(pin.c_str()));
    if (link.valid()) {
        bpf_link_detach(link.get());
    }
    ::unlink(pin.c_str());
}

std::vector<std::uint32_t> KernelObjects::list_steer_slots() const {
    std::vector<std::uint32_t> slots;
    std::error_code ignored;
    constexpr std::string_view prefix = "link_steer_";
    for (const auto& entry : fs::directory_iterator(bpffs_dir_, ignored)) {
        std::string name = entry.path().filename();
        if (name.starts_with(prefix)) {
            slots.push_back(static_cast<std::uint32_t>(
                std::strtoul(name.c_str() + prefix.size(), nullptr, 10)));
        }
    }
    return slots;
}

Result<void> KernelObjects::enroll(std::uint64_t netns_cookie, std::uint32_t slot) {
    orlop_enrolled value{.slot = slot, .abi = ORLOP_ABI_VERSION};
    if (bpf_map_update_elem(loaded_->enrolled(), &netns_cookie, &value, BPF_ANY) != 0) {
        return fail_errno(errno, "write map enrolled");
    }
    return {};
}

void KernelObjects::unenroll(std::uint64_t netns_cookie) {
    bpf_map_delete_elem(loaded_->enrolled(), &netns_cookie);
}

bool KernelObjects::is_enrolled(std::uint64_t netns_cookie) const {
    orlop_enrolled value{};
    return bpf_map_lookup_elem(loaded_->enrolled(), &netns_cookie, &value) == 0;
}

std::vector<std::uint64_t> KernelObjects::list_enrolled() const {
    return list_keys<std::uint64_t>(loaded_->enrolled());
}

Result<void> KernelObjects::write_pod(std::uint32_t slot, const orlop_pod& pod) {
    if (bpf_map_update_elem(loaded_->pods(), &slot, &pod, BPF_ANY) != 0) {
        return fail_errno(errno, "write map pods");
    }
    return {};
}

Result<orlop_pod> KernelObjects::read_pod(std::uint32_t slot) const {
    orlop_pod pod{};
    if (bpf_map_lookup_elem(loaded_->pods(), &slot, &pod) != 0) {
        return fail_errno(errno, fmt::format("read slot {} of map pods", slot));
    }
    return pod;
}

void KernelObjects::remove_pod(std::uint32_t slot) {
    bpf_map_delete_elem(loaded_->pods(), &slot);
    orlop_app_ports none{};
    bpf_map_update_elem(loaded_->app_ports(), &slot, &none, BPF_ANY);
}

std::vector<std::uint32_t> KernelObjects::list_pod_slots() const {
    return list_keys<std::uint32_t>(loaded_->pods());
}

Result<void>
KernelObjects::enter_listener(std::uint32_t slot, orlop_listener_kind kind, int socket) {
    orlop_listener_key key{.slot = slot, .kind = static_cast<std::uint32_t>(kind)};
    std::uint64_t value = static_cast<std::uint64_t>(socket);
    if (bpf_map_update_elem(loaded_->listeners(), &key, &value, BPF_ANY) != 0) {
        return fail_errno(errno, "enter a listener into map listeners");
    }
    return {};
}

bool KernelObjects::has_listener(std::uint32_t slot, orlop_listener_kind kind) const {
    orlop_listener_key key{.slot = slot, .kind = static_cast<std::uint32_t>(kind)};
    std::uint64_t cookie = 0;
    return bpf_map_lookup_elem(loaded_->listeners(), &key, &cookie) == 0;
}

void KernelObjects::remove_listeners(std::uint32_t slot) {
    for (std::uint32_t kind = 0; kind < ORLOP_LISTENER_KINDS; ++kind) {
        orlop_listener_key key{.slot = slot, .kind = kind};
        bpf_map_delete_elem(loaded_->listeners(), &key);
    }
}

void KernelObjects::beat() {
    std::uint32_t zero = 0;
    orlop_beat now{.at_ns = static_cast<std::uint64_t>(monotonic_now().time_since_epoch().count())};
    bpf_map_update_elem(loaded_->beat(), &zero, &now, BPF_ANY);
}

std::vector<std::uint64_t> KernelObjects::read_stats() const {
    int cpus = std::max(libbpf_num_possible_cpus(), 1);
    std::vector<std::uint64_t> totals(ORLOP_REASON_COUNT);
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(cpus));
    for (std::uint32_t reason = 0; reason < ORLOP_REASON_COUNT; ++reason) {
        if (bpf_map_lookup_elem(loaded_->stats(), &reason, per_cpu.data()) != 0) {
            continue;
        }
        for (std::uint64_t count : per_cpu) {
            totals[reason] += count;
        }
    }
    return totals;
}

Result<UniqueFd> KernelObjects::exemptions() const {
    UniqueFd own(::fcntl(bpf_map__fd(loaded_->connect->maps.exempt), F_DUPFD_CLOEXEC, 0));
    if (!own.valid()) {
        return fail_errno(errno, "duplicate the socket register's descriptor");
    }
    return own;
}

Result<void> probe_load() {
    listen_to_libbpf();
    auto connect = load_connect("");
    if (!connect) {
        return std::unexpected(connect.error());
    }
    auto steering = Steering::load((*connect)->obj);
    return steering ? Result<void>{} : std::unexpected(steering.error());
}

}  // namespace orlop::datapath
