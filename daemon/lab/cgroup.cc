#include "daemon/lab/cgroup.h"

#include "daemon/base/clock.h"
#include "daemon/base/unique_fd.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace orlop::lab {

namespace {

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

struct CloseDir {
    void operator()(DIR* dir) const { ::closedir(dir); }
};

}  // namespace

Result<std::string> find_cgroup_root() {
    const auto mounts = read_text_file("/proc/self/mounts");
    if (!mounts) {
        return std::unexpected(mounts.error());
    }
    std::size_t start = 0;
    while (start < mounts->size()) {
        const std::size_t end = std::min(mounts->find('\n', start), mounts->size());
        const std::string line = mounts->substr(start, end - start);
        const std::size_t path = line.find(' ');
        const std::size_t type = line.find(' ', path + 1);
        if (type != std::string::npos && line.compare(type + 1, 8, "cgroup2 ") == 0) {
            return line.substr(path + 1, type - path - 1);
        }
        start = end + 1;
    }
    return fail(ErrorKind::unsupported,
                "no cgroup v2 mount: mount one with `mount -t cgroup2 none /sys/fs/cgroup`");
}

Result<void> make_cgroup(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) {
        return {};
    }
    const int number = errno;
    const std::size_t slash = path.rfind('/');
    if (number == ENOENT && slash != std::string::npos && slash > 0) {
        if (auto parent = make_cgroup(path.substr(0, slash)); !parent) {
            return parent;
        }
        if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) {
            return {};
        }
    }
    return fail_errno(errno, "make cgroup " + path);
}

bool cgroup_populated(const std::string& path) {
    const auto events = read_text_file(path + "/cgroup.events");
    return events && events->find("populated 1") != std::string::npos;
}

Result<void> kill_cgroup(const std::string& path, std::chrono::milliseconds limit) {
    if (!exists(path)) {
        return {};
    }
    const Instant deadline = monotonic_now() + limit;
    UniqueFd kill(::open((path + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    if (!kill.valid() || ::write(kill.get(), "1", 1) != 1) {
        return fail_errno(errno, "write " + path + "/cgroup.kill (needs Linux 5.14)");
    }
    UniqueFd events(::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
    while (cgroup_populated(path)) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - monotonic_now());
        if (left.count() <= 0) {
            return fail(ErrorKind::timed_out, path + ": processes survive SIGKILL");
        }
        char buffer[256];
        [[maybe_unused]] const ssize_t count = ::pread(events.get(), buffer, sizeof buffer, 0);
        pollfd fd{events.get(), POLLPRI, 0};
        ::poll(&fd, 1, static_cast<int>(std::min<long>(left.count(), 50)));
    }
    return {};
}

void signal_cgroup(const std::string& path, int signal) {
    const auto procs = read_text_file(path + "/cgroup.procs");
    const char* at = procs ? procs->c_str() : "";
    while (*at != 0) {
        char* end = nullptr;
        const long pid = std::strtol(at, &end, 10);
        if (end == at) {
            return;
        }
        if (pid > 1) {
            ::kill(static_cast<pid_t>(pid), signal);
        }
        at = end;
    }
}

Result<void> remove_cgroup(const std::string& path) {
    if (!exists(path)) {
        return {};
    }
    std::unique_ptr<DIR, CloseDir> dir(::opendir(path.c_str()));
    while (dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            if (auto below = remove_cgroup(path + "/" + entry->d_name); !below) {
                return below;
            }
        }
    }
    // A killed process leaves its group a moment after `populated` drops.
    for (int attempt = 0; attempt < 100; ++attempt) {
        if (::rmdir(path.c_str()) == 0 || errno == ENOENT) {
            return {};
        }
        if (errno != EBUSY) {
            break;
        }
        ::poll(nullptr, 0, 10);
    }
    return fail_errno(errno, "remove cgroup " + path);
}

}  // namespace orlop::lab
