// Sends back what it reads, and closes its side when the peer has closed its own. BANNER (text sent
// first, newline added) makes it a server-first protocol. PORT defaults to 9000.
#include "tests/apps/stream.h"

namespace {

using namespace orlop::apps;

void echo(int fd, const std::string& banner) {
    Stream stream(fd);
    if (!banner.empty() && !stream.write(banner + "\n")) {
        return;
    }
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0 || !stream.write({buffer, static_cast<std::size_t>(count)})) {
            return;
        }
    }
}

}  // namespace

int main() {
    ::signal(SIGPIPE, SIG_IGN);
    const std::string banner = env_or("BANNER", "");
    const std::string port = env_or("PORT", "9000");
    const int listener = listen_on(port);
    log_line("listening on " + port);
    Workers workers;
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) {
            log_line("connection from " + peer_text(fd));
            workers.start([fd, &banner] { echo(fd, banner); });
        }
    }
}
