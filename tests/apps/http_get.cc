// A client: one call printed in full, or many counted.
//
//   http-get [-n COUNT] [-c CLIENTS] [-t LIMIT] [-i PAUSE] [-X METHOD] [-H 'Name: value'] [-d BODY]
//            [-k] [-4|-6] [-s] URL
//   -t  limit per call (default 10s)     -k  keep connections     -s  only the status code
//   -i  pause between calls of a client
// With -n above 1 it prints successes (below 400), errors, timeouts, refusals, p50 and p99, and a
// count per status. Exit code 0 when every call succeeded, 1 otherwise, 64 on wrong usage.
#include "tests/apps/client_options.h"

#include <atomic>
#include <map>
#include <mutex>

namespace {

using namespace orlop::apps;

struct Options {
    long count = 1;
    bool status_only = false;
    Call call;
    ClientOptions client;
};

[[noreturn]] void usage() {
    std::fprintf(stderr,
                 "usage: http-get [-n COUNT] [-c CLIENTS] [-t LIMIT] [-i PAUSE] [-X METHOD] "
                 "[-H 'Name: value'] [-d BODY] [-k] [-4|-6] [-s] URL\n");
    std::exit(64);
}

Options read_options(int argc, char** argv) {
    Options options;
    options.client.limit = std::chrono::seconds(10);
    const std::string letters = std::string(client_letters) + "n:X:H:d:s";
    int letter = 0;
    while ((letter = ::getopt(argc, argv, letters.c_str())) != -1) {
        if (take_option(options.client, letter, optarg)) {
            continue;
        }
        switch (letter) {
        case 'n':
            options.count = number_or(optarg, 0);
            break;
        case 'X':
            options.call.method = optarg;
            break;
        case 'H':
            options.call.fields.push_back(parse_field(optarg));
            break;
        case 'd':
            options.call.body = optarg;
            break;
        case 's':
            options.status_only = true;
            break;
        default:
            usage();
        }
    }
    if (optind + 1 != argc || options.count < 1 || options.client.clients < 1) {
        usage();
    }
    options.call.limit = options.client.limit;
    options.client.url = parse_url(argv[optind]);
    return options;
}

double millis(Clock::duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

int print_one(const Options& options) {
    Connection connection = options.client.connect();
    const auto started = Clock::now();
    const Answer answer = connection.call(options.call);
    const double took = millis(Clock::now() - started);
    if (options.status_only) {
        std::printf("%03d\n", answer.status);
    } else if (answer.outcome != Outcome::answered) {
        std::printf("failed after %.1f ms: %s\n", took, answer.error.c_str());
    } else {
        std::printf("%s\ntime: %.1f ms\n%s\n%s",
                    answer.status_line.c_str(),
                    took,
                    field_lines(answer.fields).c_str(),
                    answer.body.c_str());
        if (!answer.trailers.empty()) {
            std::printf("\ntrailers:\n%s", field_lines(answer.trailers).c_str());
        }
    }
    return answer.outcome == Outcome::answered && answer.status < 400 ? 0 : 1;
}

struct Tally {
    std::mutex mutex;
    std::vector<double> times;
    std::map<int, long> statuses;
    long success = 0;
    long errors = 0;
    long timeouts = 0;
    long refused = 0;

    void add(const Answer& answer, double took) {
        const std::lock_guard lock(mutex);
        times.push_back(took);
        if (answer.outcome == Outcome::timed_out) {
            ++timeouts;
        } else if (answer.outcome != Outcome::answered) {
            ++refused;
        } else {
            ++statuses[answer.status];
            ++(answer.status < 400 ? success : errors);
        }
    }
    double percentile(double part) {
        std::sort(times.begin(), times.end());
        const auto index = static_cast<std::size_t>(part * static_cast<double>(times.size()));
        return times[std::min(index, times.size() - 1)];
    }
};

int print_many(const Options& options) {
    Tally tally;
    std::atomic<long> left{options.count};
    const auto started = Clock::now();
    std::vector<std::thread> clients;
    for (int i = 0; i < options.client.clients; ++i) {
        clients.emplace_back([&] {
            Connection connection = options.client.connect();
            while (left.fetch_sub(1) > 0) {
                const auto begun = Clock::now();
                const Answer answer = connection.call(options.call);
                tally.add(answer, millis(Clock::now() - begun));
                std::this_thread::sleep_for(options.client.pause);
            }
        });
    }
    for (std::thread& client : clients) {
        client.join();
    }
    const double total = millis(Clock::now() - started);
    std::printf("requests %ld success %ld errors %ld timeouts %ld refused %ld p50_ms %.1f "
                "p99_ms %.1f max_ms %.1f total_ms %.1f\n",
                options.count,
                tally.success,
                tally.errors,
                tally.timeouts,
                tally.refused,
                tally.percentile(0.5),
                tally.percentile(0.99),
                tally.percentile(1.0),
                total);
    for (const auto& [status, count] : tally.statuses) {
        std::printf("status %d %ld\n", status, count);
    }
    return tally.success == options.count ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const Options options = read_options(argc, argv);
    return options.count == 1 ? print_one(options) : print_many(options);
}
