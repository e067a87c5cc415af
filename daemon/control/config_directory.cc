#include "daemon/control/config_directory.h"

#include "daemon/base/limits.h"
#include "daemon/control/field_reader.h"

#include <fmt/core.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <atomic>
#include <dirent.h>
#include <fcntl.h>
#include <span>
#include <thread>
#include <tuple>
#include <vector>

namespace orlop::control {
namespace {

// Not IN_MODIFY: a file is read when its writer closes it, not between two writes.
constexpr std::uint32_t watched_events = IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE |
                                         IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
                                         IN_MOVE_SELF | IN_ONLYDIR;

constexpr std::size_t files_per_reader_min = 4;
constexpr std::size_t readers_max = 8;
constexpr std::size_t files_at_once = 32;

bool is_config_name(std::string_view name) {
    if (name.starts_with('.') || name.ends_with('~') || name.ends_with(".tmp") ||
        name.ends_with(".swp")) {
        return false;
    }
    return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

std::int64_t to_ns(const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

Finding file_error(const std::string& path, std::string message, std::string hint) {
    Finding finding;
    finding.code = "ORL001";
    finding.file = path;
    finding.message = std::move(message);
    finding.hint = std::move(hint);
    return finding;
}

Result<std::vector<std::string>> list_names(const std::string& directory) {
    DIR* handle = ::opendir(directory.c_str());
    if (handle == nullptr) {
        return fail_errno(errno, "cannot list " + directory);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(handle)) {
        if (is_config_name(entry->d_name)) {
            names.emplace_back(entry->d_name);
        }
        errno = 0;
    }
    int error = errno;
    ::closedir(handle);
    if (error != 0) {
        return fail_errno(error, "cannot list " + directory);
    }
    if (names.size() > limits::yaml_files_max) {
        return fail(ErrorKind::limit_exceeded,
                    fmt::format("{}: {} files, more than {} (yaml_files_max)",
                                directory,
                                names.size(),
                                limits::yaml_files_max));
    }
    return names;
}

Result<std::string> read_file(const UniqueFd& fd, const std::string& path) {
    std::string text;
    std::array<char, 64 * 1024> buffer;
    while (true) {
        ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(errno, "cannot read " + path);
        }
        if (got == 0) {
            return text;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
        if (text.size() > limits::yaml_file_bytes_max) {
            return fail(ErrorKind::limit_exceeded,
                        fmt::format("larger than {} bytes (yaml_file_bytes_max)",
                                    limits::yaml_file_bytes_max));
        }
    }
}

// A private key that others may read is hardly private.
void warn_of_open_secrets(const std::string& path, mode_t mode, DecodedText& decoded) {
    if ((mode & 077) == 0) {
        return;
    }
    for (DecodedObject& object : decoded.objects) {
        if (object.object != nullptr && object.key.kind == "Secret") {
            Report report(object.findings, object.key, path);
            report.warn("ORL032",
                        object.line,
                        "",
                        "others than the file's owner may read it",
                        "chmod 0600 the file");
        }
    }
}

}  // namespace

ConfigDirectory::ConfigDirectory(DirectoryOptions options, UniqueFd inotify)
    : options_(std::move(options)), inotify_(std::move(inotify)) {
    while (options_.path.size() > 1 && options_.path.ends_with('/')) {
        options_.path.pop_back();
    }
}

Result<ConfigDirectory> ConfigDirectory::open(DirectoryOptions options) {
    UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify.valid()) {
        return fail_errno(errno,
                          "cannot watch " + options.path + "; check fs.inotify.max_user_instances");
    }
    ConfigDirectory directory(std::move(options), std::move(inotify));
    directory.watch();
    return directory;
}

void ConfigDirectory::watch() {
    watch_ = ::inotify_add_watch(inotify_.get(), options_.path.c_str(), watched_events);
}

void ConfigDirectory::drain_events() {
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    while (true) {
        ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return;
        }
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            bool gone = (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0;
            if (gone && event->wd == watch_) {
                ::inotify_rm_watch(inotify_.get(), watch_);
                watch_ = -1;
            }
            at += sizeof(inotify_event) + event->len;
        }
    }
}

ScanResult ConfigDirectory::scan(ObjectStore& store) {
    ScanResult result;
    if (watch_ < 0) {
        watch();  // before listing: a file that appears in between raises an event
    }
    auto names = list_names(options_.path);
    if (!names) {
        store.fail_source(options_.path,
                          file_error(options_.path,
                                     names.error().context,
                                     "objects stay as they were; check that the directory exists "
                                     "and may be read"));
        return result;
    }
    store.remove_source(options_.path);  // forgets an earlier failure to list
    std::vector<std::tuple<std::int64_t, std::string, FileState>> found;
    std::map<std::string, FileState> seen;
    for (const std::string& name : *names) {
        std::string path = options_.path + "/" + name;
        struct stat status = {};
        FileState state;
        if (::stat(path.c_str(), &status) == 0) {
            if (S_ISDIR(status.st_mode)) {
                continue;
            }
            state = {to_ns(status.st_mtim),
                     to_ns(status.st_ctim),
                     static_cast<std::uint64_t>(status.st_size),
                     status.st_ino,
                     status.st_dev};
        } else if (errno == ENOENT && ::lstat(path.c_str(), &status) != 0) {
            continue;  // removed since it was listed
        }
        found.emplace_back(state.mtime_ns, path, state);
    }
    // The order of first sight is part of the conflict rules: oldest file first, then by name.
    std::ranges::sort(found, [](const auto& a, const auto& b) {
        return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
    });
    result.files_seen = found.size();
    std::vector<Reading> due;
    for (const auto& [mtime, path, state] : found) {
        auto known = files_.find(path);
        seen[path] = state;
        if (known == files_.end() || known->second != state) {
            due.push_back({.path = path, .state = state});
        }
    }
    // A few at a time: what is read but not yet in the store is memory at its peak.
    for (std::span<Reading> left = due; !left.empty();) {
        auto batch = left.first(std::min(left.size(), files_at_once));
        left = left.subspan(batch.size());
        read_all(batch);
        for (Reading& reading : batch) {
            if (!reading.settled) {
                seen[reading.path] = FileState{};
            }
            take(store, reading, result);
        }
    }
    for (const auto& [path, state] : files_) {
        if (!seen.contains(path)) {
            result.changed = store.remove_source(path) || result.changed;
        }
    }
    files_ = std::move(seen);
    return result;
}

void ConfigDirectory::take(ObjectStore& store, Reading& reading, ScanResult& result) {
    if (reading.failure) {
        store.fail_source(reading.path, std::move(*reading.failure));
        return;
    }
    ++result.files_read;
    bool replaced =
        store.replace_source(reading.path, std::move(reading.decoded), reading.state.mtime_ns);
    result.changed = replaced || result.changed;
}

// What is read is decoded here too, which is nearly all of the work; the store is told afterwards,
// in their order.
void ConfigDirectory::read_all(std::span<Reading> due) const {
    std::atomic<std::size_t> next = 0;
    auto work = [this, due, &next] {
        for (std::size_t at = next++; at < due.size(); at = next++) {
            read_one(due[at]);
        }
    };
    std::size_t readers = std::min<std::size_t>(due.size() / files_per_reader_min, readers_max);
    readers = std::min<std::size_t>(readers, std::thread::hardware_concurrency());
    std::vector<std::jthread> others;
    try {
        for (std::size_t i = 1; i < readers; ++i) {
            others.emplace_back(work);
        }
    } catch (const std::system_error&) {
        // No more threads to be had: those that there are, and this one, do it all.
    }
    work();
}

void ConfigDirectory::read_one(Reading& reading) const {
    const std::string& path = reading.path;
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd.valid()) {
        reading.failure = file_error(path,
                                     fmt::format("cannot open: {}", std::strerror(errno)),
                                     "its objects stay as they were; check permissions");
        reading.settled = false;
        return;
    }
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        reading.failure = file_error(path, "not a regular file", "replace it by a file");
        return;
    }
    auto text = read_file(fd, path);
    if (!text) {
        reading.failure = file_error(path, text.error().context, "its objects stay as they were");
        reading.settled = text.error().kind == ErrorKind::limit_exceeded;
        return;
    }
    reading.decoded = decode_text(
        *text,
        {.file = path, .origin = options_.origin, .default_namespace = options_.default_namespace});
    warn_of_open_secrets(path, status.st_mode, reading.decoded);
}

}  // namespace orlop::control
