// Starting processes, inside a pod's namespaces or outside, without a shell.
//
// spawn() forks, enters what `Place` names (cgroup first, so that no instruction of the program
// runs outside it), and executes argv; a failure of any step in the child comes back as an Error
// that names the step. run() waits and turns a non-zero exit into an Error with the program's
// standard error. Blocking, any thread; the child side only makes system calls.
#pragma once

#include "daemon/base/error.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace orlop::lab {

// Files laid over the machine's own in a pod's private mount namespace.
struct PodMounts {
    std::string resolv_conf;
    std::string hosts;
    std::string nsswitch;
    std::string tmp_dir;   // becomes /tmp
    std::string apps_dir;  // stays visible even when it lies in /tmp
};

struct Place {
    std::string cgroup;                 // absolute path; empty: stay
    std::string netns;                  // path; empty: stay
    std::string hostname;               // empty: no UTS namespace
    const PodMounts* mounts = nullptr;  // nullptr: no mount namespace; must outlive the call
};

enum class Session : unsigned char { inherit, own };

struct Spawn {
    std::vector<std::string> argv;  // argv[0] is looked up in the PATH of `env`
    std::vector<std::string> env;   // NAME=value; empty: inherit
    Place place;
    int stdin_fd = -1;  // -1: /dev/null for a session of its own, else inherited
    int stdout_fd = -1;
    int stderr_fd = -1;
    Session session = Session::inherit;
};

Result<pid_t> spawn(const Spawn& spawn);
Result<int> wait_exit(pid_t pid);  // exit code, or 128 + signal

struct RunOutput {
    int exit_code = 0;
    std::string out;
    std::string err;
};
// Each stream is cut at limits::lab_output_bytes_max. `input` goes to standard input.
Result<RunOutput> run_capture(Spawn spawn, const std::string& input);
Result<void>
run(std::vector<std::string> argv, const std::string& input = {}, const Place& place = {});

// A process as pid and start time, since pids are reused.
struct ProcessId {
    pid_t pid = 0;
    std::uint64_t start_ticks = 0;
};
ProcessId identify(pid_t pid);              // start_ticks 0 when gone
bool is_running(const ProcessId& process);  // not gone, not a zombie, not another process
std::vector<std::string> read_environment(pid_t pid);

bool program_exists(const std::string& program);  // in PATH or as a path

}  // namespace orlop::lab
