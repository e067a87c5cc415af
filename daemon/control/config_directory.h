// ConfigDirectory: files of a directory as sources of an ObjectStore, kept up to date.
//
// Reads *.yaml, *.yml and *.json directly in the directory, not below it; names that begin with a
// dot or end in `~`, `.tmp`, `.swp` are left alone. scan() reads again only what changed (mtime in
// ns, size, inode of the file that the name finally means), so swapping the `..data` symbolic link
// of a Kubernetes ConfigMap mount works. watch_fd() becomes readable when a scan is due.
//
// A directory or file that cannot be read is an error in the store's status; objects stay.
//
// Lifetime: control thread only; blocking file reads, bounded by limits.h. Many files at once, as
// at the start, are read and decoded by a few threads that end before scan() does.
//
//     auto directory = ConfigDirectory::open({.path = "/etc/orlop/config"});
//     directory->scan(store);
//     poll(directory->watch_fd()); directory->drain_events(); directory->scan(store);
#pragma once

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/control/decode.h"
#include "daemon/control/object_store.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace orlop::control {

struct DirectoryOptions {
    std::string path;
    Origin origin = Origin::config;
    std::string default_namespace = "default";
};

struct ScanResult {
    bool changed = false;  // an object in force changed: compile again
    std::size_t files_read = 0;
    std::size_t files_seen = 0;
};

class ConfigDirectory {
public:
    // Fails only when inotify is unavailable; a missing directory is reported by scan() and picked
    // up when it appears.
    static Result<ConfigDirectory> open(DirectoryOptions options);

    ScanResult scan(ObjectStore& store);
    int watch_fd() const { return inotify_.get(); }
    void drain_events();

    // The directory cannot be watched (it does not exist, or inotify's limit is reached): scan
    // again by a timer of a second or so until this is false.
    bool needs_polling() const { return watch_ < 0; }
    const std::string& path() const { return options_.path; }

private:
    struct FileState {
        std::int64_t mtime_ns = 0;
        std::int64_t ctime_ns = 0;
        std::uint64_t size = 0;
        std::uint64_t inode = 0;
        std::uint64_t device = 0;
        bool operator==(const FileState&) const = default;
    };
    // A file that is to be read, and then what was in it.
    struct Reading {
        std::string path;
        FileState state;
        std::optional<Finding> failure = std::nullopt;
        bool settled = true;  // false: it was not what `state` describes, look again next time
        DecodedText decoded = {};
    };
    explicit ConfigDirectory(DirectoryOptions options, UniqueFd inotify);
    void watch();
    void read_all(std::span<Reading> due) const;
    static void take(ObjectStore& store, Reading& reading, ScanResult& result);
    void read_one(Reading& reading) const;

    DirectoryOptions options_;
    UniqueFd inotify_;
    int watch_ = -1;
    std::map<std::string, FileState> files_;
};

}  // namespace orlop::control
