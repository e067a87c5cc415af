// A client that calls one URL until it is told to stop, and shares its counters while it runs.
//
//   steady-client -p FILE [-c CLIENTS] [-t LIMIT] [-i PAUSE] [-m LONGEST] [-k] [-4|-6] URL
//   -p  counters shared through FILE (tests/apps/progress.h); its `stop` ends the run
//   -t  limit per call (default 5s)      -i  pause between calls of a client (default 5ms)
//   -m  longest run (default 120s)       -k  keep connections
// A connection that was kept and found closed counts as a refusal: nothing is tried again.
#include "tests/apps/client_options.h"
#include "tests/apps/progress.h"

#include <ctime>
#include <mutex>

namespace {

using namespace orlop::apps;

struct Options {
    std::string progress;
    std::chrono::microseconds longest{120'000'000};
    ClientOptions client;
};

[[noreturn]] void usage() {
    std::fprintf(stderr,
                 "usage: steady-client -p FILE [-c CLIENTS] [-t LIMIT] [-i PAUSE] [-m LONGEST] "
                 "[-k] [-4|-6] URL\n");
    std::exit(64);
}

Options read_options(int argc, char** argv) {
    Options options;
    options.client.limit = std::chrono::seconds(5);
    options.client.pause = std::chrono::milliseconds(5);
    const std::string letters = std::string(client_letters) + "p:m:";
    int letter = 0;
    while ((letter = ::getopt(argc, argv, letters.c_str())) != -1) {
        if (take_option(options.client, letter, optarg)) {
            continue;
        }
        if (letter == 'p') {
            options.progress = optarg;
        } else if (letter == 'm') {
            options.longest = parse_duration(optarg);
        } else {
            usage();
        }
    }
    if (optind + 1 != argc || options.progress.empty() || options.client.clients < 1) {
        usage();
    }
    options.client.url = parse_url(argv[optind]);
    return options;
}

void note_failure(Progress& progress, const std::string& text) {
    const std::uint64_t place = progress.failures_noted++;
    if (place < std::size(progress.first_failures)) {
        timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        std::snprintf(progress.first_failures[place],
                      sizeof progress.first_failures[place],
                      "%ld.%03ld call %llu: %s",
                      static_cast<long>(now.tv_sec),
                      now.tv_nsec / 1'000'000,
                      static_cast<unsigned long long>(progress.attempts.load()),
                      text.c_str());
    }
}

// The client's address as http-echo tells it; empty when the server tells none.
std::string seen_as(const std::string& body) {
    const std::size_t start = body.find("peer: ");
    return start == std::string::npos ? "" : body.substr(start, body.find('\n', start) - start);
}

void count(Progress& progress, const Answer& answer) {
    if (answer.outcome == Outcome::answered && answer.status < 400) {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        progress.last_success_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
                                   static_cast<std::uint64_t>(now.tv_nsec);
        ++progress.success;
        return;
    }
    note_failure(progress,
                 answer.outcome == Outcome::answered ? std::to_string(answer.status)
                                                     : answer.error);
    if (answer.outcome == Outcome::answered) {
        ++progress.errors;
    } else if (answer.outcome == Outcome::timed_out) {
        ++progress.timeouts;
    } else {
        ++progress.refused;
    }
}

void run_client(const Options& options, Progress& progress, Clock::time_point end) {
    Connection connection = options.client.connect();
    Call call;
    call.method = "OPTIONS";  // not GET: Connection must not repeat it by itself
    call.limit = options.client.limit;
    std::string peer;
    while (progress.stop == 0 && Clock::now() < end) {
        ++progress.attempts;
        const Answer answer = connection.call(call);
        count(progress, answer);
        if (const std::string now = seen_as(answer.body); !now.empty()) {
            progress.peer_changes += !peer.empty() && now != peer ? 1 : 0;
            peer = now;
        }
        std::this_thread::sleep_for(options.client.pause);
    }
}

}  // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const Options options = read_options(argc, argv);
    Progress* progress = map_progress(options.progress.c_str());
    if (progress == nullptr) {
        std::perror(options.progress.c_str());
        return 1;
    }
    const auto end = Clock::now() + options.longest;
    std::vector<std::jthread> clients;
    for (int i = 0; i < options.client.clients; ++i) {
        clients.emplace_back([&] { run_client(options, *progress, end); });
    }
    clients.clear();
    std::printf("attempts %llu success %llu errors %llu timeouts %llu refused %llu\n",
                static_cast<unsigned long long>(progress->attempts.load()),
                static_cast<unsigned long long>(progress->success.load()),
                static_cast<unsigned long long>(progress->errors.load()),
                static_cast<unsigned long long>(progress->timeouts.load()),
                static_cast<unsigned long long>(progress->refused.load()));
    return progress->failed() == 0 ? 0 : 1;
}
