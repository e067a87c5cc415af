// Session: what every command of orlopctl has: where to write, whom to ask, how to print.
//
// Data goes to `out`, talk to `err`; a command returns an exit code of ExitCode. One thread,
// blocking; a session lives as long as main().
#pragma once

#include "daemon/base/error.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace orlop::app::cli {

namespace exit_code {
inline constexpr int ok = 0;
inline constexpr int failed = 1;
inline constexpr int usage = 64;
inline constexpr int bad_data = 65;
inline constexpr int findings = 79;
}  // namespace exit_code

enum class Output : unsigned char { table, json, yaml };

struct Session {
    std::FILE* out = stdout;
    std::FILE* err = stderr;
    std::FILE* in = stdin;
    std::string socket;  // --socket; empty: found by find_target()
    Output output = Output::table;
    std::string ns;  // -n; empty: default, or all where a command lists
    std::string lab_dir = "/run/orlop-lab";
    std::string lab_prefix = "orlop-lab";
    bool lab_was_named = false;  // the talk about using the lab is said once

    std::string ns_or_default() const { return ns.empty() ? "default" : ns; }
};

// One line on `err`; the exit code that the error's kind means.
int tell_error(Session& session, const Error& error);
int tell_error(Session& session, const std::string& message, int code = exit_code::failed);

// The orlopd to talk to: --socket, else $ORLOP_SOCKET, else /run/orlop/orlopd.sock, else the first
// node of a lab (said on `err`).
struct Target {
    std::string socket;
    bool in_lab = false;  // the socket belongs to the lab at session.lab_dir
};
Target find_target(Session& session);
// One socket, or those of every node when the target is a lab that nobody named a socket of.
std::vector<std::string> find_sockets(Session& session);
// Every node's socket of the lab, in order; none without a lab.
std::vector<std::string> lab_sockets(const Session& session);

struct Answer {
    int status = 0;
    std::string body;
};
// One HTTP request over the Unix socket. A refusal of the daemon (status >= 400) is an Answer, too.
// Errors name the cause and the remedy: not running, no permission, no answer.
Result<Answer> ask(const std::string& socket,
                   const std::string& method,
                   const std::string& target,
                   const std::string& body = {});
// The reason in the daemon's refusal.
std::string refusal_of(const Answer& answer);
// GET that fails on every status but 200, with the daemon's own words.
Result<std::string> fetch(Session& session, const std::string& target);

std::string percent_encode(std::string_view text);

// A file's text; "-" is standard input. Bounded by limits::yaml_file_bytes_max.
Result<std::string> read_input(Session& session, const std::string& path);

}  // namespace orlop::app::cli
