#include "daemon/lab/supervisor.h"

#include "daemon/lab/lab.h"
#include "daemon/lab/log_bound.h"
#include "daemon/lab/notes.h"
#include "daemon/lab/status_wire.h"

#include <fmt/core.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <poll.h>
#include <signal.h>

namespace orlop::lab {

namespace {

constexpr std::chrono::seconds log_check_interval{5};

Message error_message(const Error& error) {
    return {"error", std::to_string(static_cast<int>(error.kind)), error.context};
}

Message lines_message(Result<std::vector<std::string>> lines) {
    if (!lines) {
        return error_message(lines.error());
    }
    lines->insert(lines->begin(), "ok");
    return std::move(*lines);
}

Message done_message(const Result<void>& done) {
    return done ? Message{"ok"} : error_message(done.error());
}

Message answer_manifest(Cluster& cluster, const Message& request) {
    const auto manifest = parse_manifest(request[3], request[2], request[1]);
    if (!manifest) {
        return error_message(manifest.error());
    }
    return lines_message(request[0] == "apply" ? cluster.apply(*manifest)
                                               : cluster.remove(*manifest));
}

Message answer_meta(Cluster& cluster, const Message& request) {
    const std::vector<std::string> changes(request.begin() + 3, request.end());
    const MetaField field = request[0] == "label" ? MetaField::labels : MetaField::annotations;
    return done_message(cluster.change_meta(field, request[1], request[2], changes));
}

Message answer_remove_object(Cluster& cluster, const Message& request) {
    const std::size_t slash = request[2].find('/');
    if (slash == std::string::npos) {
        return error_message({ErrorKind::invalid_input, request[2] + ": must be kind/name"});
    }
    auto line = cluster.remove_object(
        request[2].substr(0, slash), request[1], request[2].substr(slash + 1));
    return line ? Message{"ok", *line} : error_message(line.error());
}

// Collects children, answers one request, and looks at the time, until SIGTERM.
class Loop {
public:
    struct Sources {
        UniqueFd listener;
        UniqueFd signals;
        std::string logs;  // the folder that holds them
    };
    Loop(Cluster& cluster, Sources sources) : cluster_(cluster), sources_(std::move(sources)) {}

    void run() {
        while (!stop_) {
            const Instant due = std::min(cluster_.tick(monotonic_now()), check_logs());
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - monotonic_now());
            pollfd fds[2] = {{sources_.listener.get(), POLLIN, 0},
                             {sources_.signals.get(), POLLIN, 0}};
            const auto limit = std::max<long>(0, std::min<long>(left.count(), 60'000));
            if (::poll(fds, 2, static_cast<int>(limit)) < 0 && errno != EINTR) {
                return;
            }
            if (fds[1].revents != 0) {
                take_signals();
            }
            if (fds[0].revents != 0) {
                take_request();
            }
        }
    }

private:
    // When to look at them again.
    Instant check_logs() {
        if (const Instant now = monotonic_now(); now >= logs_due_) {
            bound_logs(sources_.logs);
            logs_due_ = now + log_check_interval;
        }
        return logs_due_;
    }

    void take_signals() {
        signalfd_siginfo info{};
        while (::read(sources_.signals.get(), &info, sizeof info) == sizeof info) {
            stop_ = stop_ || info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
        }
        // Several children may share one SIGCHLD.
        int status = 0;
        for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0;
             pid = ::waitpid(-1, &status, WNOHANG)) {
            cluster_.child_exited(pid, status);
        }
    }

    void take_request() {
        UniqueFd peer(::accept4(sources_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer.valid()) {
            return;
        }
        const auto request = receive_message(peer.get(), Wait::peer_limit);
        if (!request) {
            return;
        }
        const auto sent = send_message(peer.get(), answer(cluster_, *request));
        if (!sent) {
            note("answer: {}", sent.error().context);
        }
    }

    Cluster& cluster_;
    Sources sources_;
    Instant logs_due_{};
    bool stop_ = false;
};

UniqueFd block_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) {
        ::sigaddset(&set, signal);
    }
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int refuse(const std::string& state_dir, const Error& error) {
    // up() shows this to whoever asked; the log keeps it as well.
    const auto kept = write_atomically(state_dir + "/supervisor.failed", error.context);
    fmt::print(stderr, "lab: {}\n", kept ? error.context : kept.error().context);
    return 1;
}

Result<LabFile> load_images(const std::string& path) {
    if (path.empty()) {
        return LabFile();
    }
    const auto text = read_text_file(path);
    if (!text) {
        return std::unexpected(text.error());
    }
    return parse_lab_file(*text, path);
}

}  // namespace

Message answer(Cluster& cluster, const Message& request) {
    const std::string word = request.empty() ? "" : request[0];
    const std::size_t fields = request.size();
    if (word == "ping") {
        return {"ok"};
    }
    if ((word == "apply" || word == "remove") && fields == 4) {
        return answer_manifest(cluster, request);
    }
    if (word == "remove-object" && fields == 3) {
        return answer_remove_object(cluster, request);
    }
    if (word == "scale" && fields == 4) {
        return done_message(cluster.scale(request[1], request[2], number_of(request[3], -1)));
    }
    if ((word == "label" || word == "annotate") && fields >= 4) {
        return answer_meta(cluster, request);
    }
    if (word == "mesh" && fields == 3) {
        const int action = number_of(request[2], -1);
        if (action < 0 || action > static_cast<int>(MeshAction::kill)) {
            return error_message({ErrorKind::invalid_input, "unknown mesh action"});
        }
        return done_message(cluster.mesh(request[1], static_cast<MeshAction>(action)));
    }
    if (word == "status") {
        Message message{"ok"};
        append_status(cluster.status(), message);
        return message;
    }
    return error_message({ErrorKind::invalid_input, "unknown request: " + word});
}

int run_supervisor(const std::string& state_dir) {
    const auto text = read_text_file(state_dir + "/lab.conf");
    if (!text) {
        return refuse(state_dir, text.error());
    }
    const auto config = parse_config(*text);
    if (!config) {
        return refuse(state_dir, config.error());
    }
    const auto images = load_images(config->lab_file);
    if (!images) {
        return refuse(state_dir, images.error());
    }
    UniqueFd signals = block_signals();
    Cluster cluster(*config, *images);
    if (auto started = cluster.start(); !started) {
        return refuse(state_dir, started.error());
    }
    auto listener = listen_on(LabLayout(*config).socket());
    if (!listener) {
        return refuse(state_dir, listener.error());
    }
    Loop(cluster, {std::move(*listener), std::move(signals), state_dir}).run();
    return 0;
}

}  // namespace orlop::lab
