#include "mtls/ca_files.h"

#include "daemon/base/limits.h"

#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

namespace orlop::mtls {
namespace {

std::unexpected<Error>
file_failure(const std::string& path, const std::string& name, std::string_view what) {
    return fail_errno(errno, fmt::format("{}/{}: {}", path, name, what));
}

Result<void> check_mode(const struct stat& state, Secrecy secrecy, const std::string& file) {
    if (!S_ISREG(state.st_mode)) {
        return fail(ErrorKind::invalid_input, file + ": not a regular file");
    }
    unsigned forbidden = secrecy == Secrecy::owner_only       ? 0077U
                         : secrecy == Secrecy::not_for_others ? 0027U
                                                              : 0U;
    if ((state.st_mode & forbidden) != 0) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: private key with mode {:04o}; run `chmod 600 {}` (a secret "
                                "volume: defaultMode: 0400), and replace the key if others could "
                                "have read it",
                                file,
                                state.st_mode & 07777U,
                                file));
    }
    if (secrecy == Secrecy::owner_only && state.st_uid != ::geteuid()) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: owned by uid {}, not by us (uid {}); run `chown {} {}`",
                                file,
                                state.st_uid,
                                ::geteuid(),
                                ::geteuid(),
                                file));
    }
    return {};
}

Result<void> write_all(int fd, std::string_view content, const std::string& what) {
    while (!content.empty()) {
        ssize_t written = ::write(fd, content.data(), content.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return fail_errno(written < 0 ? errno : EIO, what);
        }
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace

Result<UniqueFd> open_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return fail_errno(errno, fmt::format("{}: cannot make the CA directory", path));
    }
    UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) {
        return fail_errno(errno, fmt::format("{}: cannot open the CA directory", path));
    }
    return directory;
}

Result<void> lock_directory(int directory, const std::string& path) {
    // Waits: another orlopd holds it only while it makes its CA, and the kernel frees a dead one's.
    while (::flock(directory, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return fail_errno(errno, fmt::format("{}: cannot lock the CA directory", path));
        }
    }
    return {};
}

bool file_exists(int directory, const std::string& name) {
    struct stat state{};
    return ::fstatat(directory, name.c_str(), &state, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<std::string>
read_file(int directory, const std::string& path, const std::string& name, Secrecy secrecy) {
    // O_NONBLOCK: a FIFO under this name must not stop the start; check_mode refuses it.
    UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat state{};
    if (!fd.valid() || ::fstat(fd.get(), &state) != 0) {
        return file_failure(path, name, "cannot read");
    }
    if (auto fit = check_mode(state, secrecy, path + "/" + name); !fit) {
        return std::unexpected(fit.error());
    }
    std::string content(limits::ca_file_bytes_max + 1, '\0');
    std::size_t size = 0;
    while (size < content.size()) {
        ssize_t got = ::read(fd.get(), content.data() + size, content.size() - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return file_failure(path, name, "cannot read");
        }
        if (got == 0) {
            content.resize(size);
            return content;
        }
        size += static_cast<std::size_t>(got);
    }
    return fail(ErrorKind::limit_exceeded,
                fmt::format("{}/{}: larger than {} bytes", path, name, limits::ca_file_bytes_max));
}

Result<void> write_file(int directory,
                        const std::string& path,
                        const std::string& name,
                        std::string_view content,
                        unsigned mode) {
    std::string temporary = "." + name + ".new";
    ::unlinkat(directory, temporary.c_str(), 0);  // left by a crash; the directory is locked
    UniqueFd fd(::openat(
        directory, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!fd.valid() || ::fchmod(fd.get(), mode) != 0) {
        return file_failure(path, name, "cannot create");
    }
    auto written = write_all(fd.get(), content, fmt::format("{}/{}: cannot write", path, name));
    if (written && ::fsync(fd.get()) != 0) {
        written = file_failure(path, name, "cannot flush");
    }
    // link, not rename: a file that appeared meanwhile (a hand-placed key) is never overwritten.
    if (written && ::linkat(directory, temporary.c_str(), directory, name.c_str(), 0) != 0) {
        written = file_failure(path, name, "cannot put in place");
    }
    ::unlinkat(directory, temporary.c_str(), 0);
    if (written && ::fsync(directory) != 0) {
        written = file_failure(path, name, "cannot flush the directory");
    }
    return written;
}

}  // namespace orlop::mtls
