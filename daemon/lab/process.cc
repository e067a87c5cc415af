#include "daemon/lab/process.h"

#include "daemon/base/limits.h"
#include "daemon/base/unique_fd.h"
#include "daemon/lab/object_files.h"

#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

namespace orlop::lab {

namespace {

// What the child could not do; written through a close-on-exec pipe.
struct ChildFailure {
    int number;
    char step[60];
};

[[noreturn]] void give_up(int pipe, const char* step) {
    ChildFailure failure{errno, {}};
    for (std::size_t i = 0; i + 1 < sizeof failure.step && step[i] != 0; ++i) {
        failure.step[i] = step[i];
    }
    [[maybe_unused]] const ssize_t written = ::write(pipe, &failure, sizeof failure);
    ::_exit(127);
}

// mkdir -p without memory allocation; `path` fits since it was a path already.
void make_folders(const char* path) {
    char copy[4096];
    std::size_t i = 0;
    for (; path[i] != 0 && i + 1 < sizeof copy; ++i) {
        copy[i] = path[i];
        if (path[i] == '/' && i > 0) {
            copy[i] = 0;
            ::mkdir(copy, 0755);
            copy[i] = '/';
        }
    }
    copy[i] = 0;
    ::mkdir(copy, 0755);
}

void bind_over(int pipe, const std::string& source, const char* target) {
    if (!source.empty() && ::access(target, F_OK) == 0 &&
        ::mount(source.c_str(), target, nullptr, MS_BIND, nullptr) != 0) {
        give_up(pipe, target);
    }
}

void enter_mounts(int pipe, const PodMounts& mounts) {
    if (::unshare(CLONE_NEWNS) != 0) {
        give_up(pipe, "unshare mount namespace");
    }
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        give_up(pipe, "make mounts private");
    }
    bind_over(pipe, mounts.resolv_conf, "/etc/resolv.conf");
    bind_over(pipe, mounts.hosts, "/etc/hosts");
    bind_over(pipe, mounts.nsswitch, "/etc/nsswitch.conf");
    if (mounts.tmp_dir.empty()) {
        return;
    }
    const bool hidden = mounts.apps_dir.starts_with("/tmp/");
    int apps = -1;
    if (hidden) {
        apps = ::open_tree(AT_FDCWD, mounts.apps_dir.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (apps < 0) {
            give_up(pipe, "clone the programs' folder");
        }
    }
    bind_over(pipe, mounts.tmp_dir, "/tmp");
    if (hidden) {
        make_folders(mounts.apps_dir.c_str());
        if (::move_mount(apps, "", AT_FDCWD, mounts.apps_dir.c_str(), MOVE_MOUNT_F_EMPTY_PATH) !=
            0) {
            give_up(pipe, "mount the programs' folder");
        }
        ::close(apps);
    }
}

void enter_place(int pipe, const Place& place) {
    if (!place.cgroup.empty()) {
        const std::string& path = place.cgroup;
        char procs[4096];
        if (path.size() + sizeof "/cgroup.procs" > sizeof procs) {
            give_up(pipe, "cgroup path too long");
        }
        path.copy(procs, path.size());
        std::memcpy(procs + path.size(), "/cgroup.procs", sizeof "/cgroup.procs");
        const int fd = ::open(procs, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || ::write(fd, "0", 1) != 1) {
            give_up(pipe, "join cgroup");
        }
        ::close(fd);
    }
    if (!place.netns.empty()) {
        const int fd = ::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) {
            give_up(pipe, "enter network namespace");
        }
        ::close(fd);
    }
    if (place.mounts != nullptr) {
        enter_mounts(pipe, *place.mounts);
    }
    if (!place.hostname.empty()) {
        const std::size_t size = std::min<std::size_t>(place.hostname.size(), 63);
        if (::unshare(CLONE_NEWUTS | CLONE_NEWIPC) != 0 ||
            ::sethostname(place.hostname.c_str(), size) != 0) {
            give_up(pipe, "set host name");
        }
    }
}

void place_fd(int pipe, int source, int target) {
    if (source >= 0 && source != target && ::dup2(source, target) < 0) {
        give_up(pipe, "dup2");
    }
    if (source >= 0) {
        ::fcntl(target, F_SETFD, 0);
    }
}

[[noreturn]] void child_main(int pipe, const Spawn& spawn, char** argv, char** env) {
    enter_place(pipe, spawn.place);
    int input = spawn.stdin_fd;
    if (spawn.session == Session::own) {
        ::setsid();
        if (input < 0) {
            input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
    }
    place_fd(pipe, input, 0);
    place_fd(pipe, spawn.stdout_fd, 1);
    place_fd(pipe, spawn.stderr_fd, 2);
    for (int signal = 1; signal < NSIG; ++signal) {
        ::signal(signal, SIG_DFL);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::syscall(SYS_close_range, 3U, ~0U, 1U << 2);  // CLOSE_RANGE_CLOEXEC
    if (env != nullptr) {
        environ = env;  // execvp looks at PATH of `environ`
    }
    if (spawn.session == Session::own && ::chdir("/") != 0) {
        give_up(pipe, "chdir /");
    }
    ::execvp(argv[0], argv);
    give_up(pipe, "execute");
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
    std::vector<char*> out;
    out.reserve(words.size() + 1);
    for (const std::string& word : words) {
        out.push_back(const_cast<char*>(word.c_str()));
    }
    out.push_back(nullptr);
    return out;
}

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

Result<Pipe> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) {
        return fail_errno(errno, "pipe");
    }
    return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Reads what is there; false at the end of the stream. Beyond the bound bytes are dropped.
bool drain_into(int fd, std::string& text) {
    char buffer[16 * 1024];
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    const std::size_t room = limits::lab_output_bytes_max - text.size();
    text.append(buffer, std::min(room, static_cast<std::size_t>(count)));
    return count > 0;
}

// Feeds `input` and collects both streams at once, or a full pipe on either side would deadlock.
void pump(Pipe& in, Pipe& out, Pipe& err, std::string_view input, RunOutput& result) {
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    while (out.read.valid() || err.read.valid()) {
        if (input.empty()) {
            in.write.reset();
        }
        pollfd fds[3] = {
            {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}};
        if (::poll(fds, 3, -1) < 0 && errno != EINTR) {
            return;
        }
        if (fds[0].revents != 0 && !drain_into(out.read.get(), result.out)) {
            out.read.reset();
        }
        if (fds[1].revents != 0 && !drain_into(err.read.get(), result.err)) {
            err.read.reset();
        }
        if (fds[2].revents != 0 && in.write.valid()) {
            const ssize_t count = ::write(in.write.get(), input.data(), input.size());
            input.remove_prefix(count < 0 ? (errno == EAGAIN ? 0 : input.size())
                                          : static_cast<std::size_t>(count));
        }
    }
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

}  // namespace

Result<pid_t> spawn(const Spawn& spawn) {
    if (spawn.argv.empty()) {
        return fail(ErrorKind::invalid_input, "no program to run");
    }
    auto pipe = make_pipe();
    if (!pipe) {
        return std::unexpected(pipe.error());
    }
    std::vector<char*> argv = pointers(spawn.argv);
    std::vector<char*> env = pointers(spawn.env);
    const pid_t pid = ::fork();
    if (pid < 0) {
        return fail_errno(errno, "fork");
    }
    if (pid == 0) {
        child_main(pipe->write.get(), spawn, argv.data(), spawn.env.empty() ? nullptr : env.data());
    }
    pipe->write.reset();
    ChildFailure failure{};
    ssize_t count = 0;
    do {
        count = ::read(pipe->read.get(), &failure, sizeof failure);
    } while (count < 0 && errno == EINTR);
    if (count == static_cast<ssize_t>(sizeof failure)) {
        ::waitpid(pid, nullptr, 0);
        return fail_errno(failure.number, fmt::format("{}: {}", spawn.argv[0], failure.step));
    }
    return pid;
}

Result<int> wait_exit(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return fail_errno(errno, "waitpid");
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<RunOutput> run_capture(Spawn request, const std::string& input) {
    auto in = make_pipe();
    auto out = make_pipe();
    auto err = make_pipe();
    if (!in || !out || !err) {
        return fail(ErrorKind::system, "pipe: too many open files");
    }
    // A program may end without reading its input.
    ::signal(SIGPIPE, SIG_IGN);
    request.stdin_fd = in->read.get();
    request.stdout_fd = out->write.get();
    request.stderr_fd = err->write.get();
    const auto pid = spawn(request);
    if (!pid) {
        return std::unexpected(pid.error());
    }
    in->read.reset();
    out->write.reset();
    err->write.reset();
    RunOutput result;
    pump(*in, *out, *err, input, result);
    const auto code = wait_exit(*pid);
    if (!code) {
        return std::unexpected(code.error());
    }
    result.exit_code = *code;
    return result;
}

Result<void> run(std::vector<std::string> argv, const std::string& input, const Place& place) {
    const std::string words = joined(argv);
    Spawn request;
    request.argv = std::move(argv);
    request.place = place;
    const auto result = run_capture(std::move(request), input);
    if (!result) {
        return std::unexpected(result.error());
    }
    if (result->exit_code != 0) {
        return fail(
            ErrorKind::system,
            fmt::format(
                "`{}` ended with {}: {}{}", words, result->exit_code, result->err, result->out));
    }
    return {};
}

ProcessId identify(pid_t pid) {
    const auto stat = read_text_file(fmt::format("/proc/{}/stat", pid));
    if (!stat) {
        return {pid, 0};
    }
    // Field 22; the name in parentheses may hold spaces.
    std::size_t at = stat->rfind(')');
    for (int field = 2; field < 22 && at != std::string::npos; ++field) {
        at = stat->find(' ', at + 1);
    }
    return {pid, at == std::string::npos ? 0 : std::strtoull(stat->c_str() + at, nullptr, 10)};
}

bool is_running(const ProcessId& process) {
    const ProcessId now = identify(process.pid);
    if (process.start_ticks == 0 || now.start_ticks != process.start_ticks) {
        return false;
    }
    const auto stat = read_text_file(fmt::format("/proc/{}/stat", process.pid));
    if (!stat) {
        return false;
    }
    const std::size_t at = stat->rfind(')');
    return at != std::string::npos && at + 2 < stat->size() && (*stat)[at + 2] != 'Z';
}

std::vector<std::string> read_environment(pid_t pid) {
    std::vector<std::string> variables;
    const auto text = read_text_file(fmt::format("/proc/{}/environ", pid));
    std::size_t start = 0;
    while (text && start < text->size()) {
        const std::size_t end = std::min(text->find('\0', start), text->size());
        variables.push_back(text->substr(start, end - start));
        start = end + 1;
    }
    return variables;
}

bool program_exists(const std::string& program) {
    if (program.find('/') != std::string::npos) {
        return ::access(program.c_str(), X_OK) == 0;
    }
    const char* path = std::getenv("PATH");
    std::string_view rest = path == nullptr ? "/usr/sbin:/usr/bin:/sbin:/bin" : path;
    while (!rest.empty()) {
        const std::size_t colon = std::min(rest.find(':'), rest.size());
        const std::string candidate = std::string(rest.substr(0, colon)) + "/" + program;
        if (::access(candidate.c_str(), X_OK) == 0) {
            return true;
        }
        rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    return false;
}

}  // namespace orlop::lab
