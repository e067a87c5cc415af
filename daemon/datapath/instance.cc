#include "daemon/datapath/instance.h"

#include "daemon/datapath/journal.h"
#include "daemon/datapath/kernel_objects.h"
#include "daemon/datapath/pod_namespace.h"
#include "daemon/datapath/routing.h"

#include <fmt/core.h>
#include <sys/file.h>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <unistd.h>

namespace orlop::datapath {
namespace {

std::string lock_path(const Options& options) {
    return options.state_dir + "/datapath-" + options.instance + ".lock";
}

// Journal and maps joined: what is known of pods that may have rules in their namespaces.
std::vector<JournalPod> known_pods(const Options& options) {
    auto journal = read_journal(journal_path(options));
    std::vector<JournalPod> pods = journal ? std::move(*journal) : std::vector<JournalPod>{};
    for (const PinnedPod& pinned : read_pinned_pods(options.bpffs_dir)) {
        auto same = [&](const JournalPod& pod) { return pod.netns_cookie == pinned.netns_cookie; };
        if (!std::ranges::any_of(pods, same)) {
            JournalPod pod;
            pod.uid = fmt::format("slot:{}", pinned.slot);
            pod.slot = pinned.slot;
            pod.netns_cookie = pinned.netns_cookie;
            pod.mark_sysctls_before = 0;
            pods.push_back(std::move(pod));
        }
    }
    return pods;
}

std::vector<std::string> list_routing_of(int netns_fd, const std::string& uid) {
    auto visit = NetnsVisit::enter(netns_fd);
    std::vector<std::string> lines;
    if (visit) {
        for (const std::string& line : list_loop_routing()) {
            lines.push_back(fmt::format("{} in pod {}", line, uid));
        }
    }
    return lines;
}

}  // namespace

Result<Options> complete_options(Options options) {
    auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (options.instance.empty() || options.instance.size() > 32 ||
        !std::ranges::all_of(options.instance, allowed)) {
        return fail(ErrorKind::invalid_input,
                    "an instance name is 1 to 32 characters of [a-z0-9-]: '" + options.instance +
                        "'");
    }
    if (options.bpffs_dir.empty()) {
        options.bpffs_dir = "/sys/fs/bpf/orlop-" + options.instance;
    }
    std::error_code error;
    std::filesystem::create_directories(options.state_dir, error);
    if (error || ::access(options.state_dir.c_str(), W_OK) != 0) {
        int number = error ? error.value() : errno;
        return fail_errno(number,
                          "state folder " + options.state_dir +
                              " cannot be written (read-only? give another with "
                              "--state-dir)");
    }
    return options;
}

std::string journal_path(const Options& options) {
    return options.state_dir + "/datapath-" + options.instance + ".journal";
}

Result<UniqueFd> lock_instance(const Options& options) {
    std::string path = lock_path(options);
    UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock.valid()) {
        return fail_errno(errno, "open " + path);
    }
    // A killed predecessor lets go only when the kernel has torn down its rings.
    constexpr int tries_max = 50;
    for (int i = 0; i < tries_max; ++i) {
        if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) {
            return lock;
        }
        ::poll(nullptr, 0, 20);
    }
    return fail(ErrorKind::denied,
                "another orlopd of instance '" + options.instance + "' is running (it holds " +
                    path + "); stop it first");
}

std::vector<std::string> Datapath::list_owned(const Options& options) {
    auto complete = complete_options(options);
    if (!complete) {
        return {};
    }
    std::vector<std::string> lines = list_pins(complete->bpffs_dir);
    for (const JournalPod& pod : known_pods(*complete)) {
        if (auto netns = find_netns(pod.netns_path, pod.netns_cookie)) {
            auto routing = list_routing_of(netns->get(), pod.uid);
            lines.insert(lines.end(), routing.begin(), routing.end());
        }
    }
    return lines;
}

Result<std::vector<std::string>> Datapath::uninstall(const Options& options) {
    auto complete = complete_options(options);
    if (!complete) {
        return std::unexpected(complete.error());
    }
    auto lock = lock_instance(*complete);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    std::vector<JournalPod> pods = known_pods(*complete);
    // Links before rules: without them nothing is marked any more, so no connection meets a rule.
    std::vector<std::string> removed = remove_pins(complete->bpffs_dir);
    std::optional<Error> first_failure;
    for (const JournalPod& pod : pods) {
        auto netns = find_netns(pod.netns_path, pod.netns_cookie);
        if (!netns) {
            continue;  // gone, with everything in it
        }
        auto routing = list_routing_of(netns->get(), pod.uid);
        auto cleaned = remove_routing(netns->get(), pod.mark_sysctls_before);
        if (!cleaned && !first_failure) {
            first_failure = cleaned.error();
        }
        removed.insert(removed.end(), routing.begin(), routing.end());
    }
    if (first_failure) {  // the journal stays, so that another try knows where to go
        return std::unexpected(std::move(*first_failure));
    }
    ::unlink(journal_path(*complete).c_str());
    ::unlink((journal_path(*complete) + ".bad").c_str());
    ::unlink(lock_path(*complete).c_str());
    return removed;
}

}  // namespace orlop::datapath
