#include "tests/support/wire_tap.h"

#include "daemon/base/unique_fd.h"
#include "daemon/lab/process.h"
#include "tests/support/await.h"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <sstream>

namespace orlop::support {

namespace {

constexpr std::chrono::seconds start_limit{10};

std::string read_all(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

WireTap::WireTap(const std::string& netns, const std::string& interface, const std::string& file)
    : file_(file) {
    const std::string said = file + ".log";
    const UniqueFd log(::open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    lab::Spawn request;
    // -Z root: it must not give up the right to write beside the lab's files. Its buffer is emptied
    // packet by packet (-U, --immediate-mode), so that stop() misses nothing.
    request.argv = {
        "tcpdump", "-i", interface, "-s", "0", "-U", "--immediate-mode", "-Z", "root", "-w", file};
    request.place.netns = netns;
    request.stderr_fd = log.get();
    const auto pid = lab::spawn(request);
    if (!pid) {
        return;
    }
    pid_ = *pid;
    const auto started = [&] { return read_all(said).find("listening on") != std::string::npos; };
    if (!await(started, start_limit)) {
        stop();
        pid_ = -1;
    }
}

WireTap::~WireTap() {
    stop();
}

const std::string& WireTap::stop() {
    if (pid_ > 0) {
        ::kill(pid_, SIGINT);
        (void)lab::wait_exit(pid_);
        pid_ = 0;
        bytes_ = read_all(file_);
    }
    return bytes_;
}

long WireTap::packets(const std::string& filter) const {
    lab::Spawn request;
    request.argv = {"tcpdump", "-n", "-Z", "root", "-r", file_, filter};
    const auto result = lab::run_capture(std::move(request), {});
    return result ? std::count(result->out.begin(), result->out.end(), '\n') : -1;
}

}  // namespace orlop::support
