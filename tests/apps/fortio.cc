// Stand-in for fortio, as far as tutorial 003 uses it.
//
//   fortio load [-c CONNECTIONS] [-qps RATE] [-n CALLS] [-loglevel LEVEL] [-H 'Name: value'] URL
//   fortio load -curl URL        one call, printed
//   fortio server                waits until it is ended
//
// Calls are divided evenly among the connections beforehand, as the original does: a connection
// that is refused quickly is done early. A connection whose call did not end with 200 is opened
// anew. -qps 0 is as fast as it goes.
#include "tests/apps/http.h"

#include <map>
#include <mutex>

namespace {

using namespace orlop::apps;

struct Options {
    long connections = 4;
    long calls = 100;
    double rate = 8;
    bool curl = false;
    Fields fields;
    Url url;
};

[[noreturn]] void usage() {
    std::fprintf(stderr,
                 "usage: fortio load [-c CONNECTIONS] [-qps RATE] [-n CALLS] [-loglevel LEVEL] "
                 "[-H 'Name: value'] [-curl] URL\n       fortio server\n");
    std::exit(64);
}

Options read_options(const std::vector<std::string>& words) {
    Options options;
    std::size_t at = 0;
    const auto value = [&]() -> const std::string& {
        if (++at >= words.size()) {
            usage();
        }
        return words[at];
    };
    for (; at < words.size() && words[at].starts_with('-'); ++at) {
        const std::string& word = words[at];
        if (word == "-c") {
            options.connections = number_or(value(), 0);
        } else if (word == "-n") {
            options.calls = number_or(value(), 0);
        } else if (word == "-qps") {
            options.rate = std::strtod(value().c_str(), nullptr);
        } else if (word == "-loglevel") {
            value();
        } else if (word == "-H") {
            options.fields.push_back(parse_field(value()));
        } else if (word == "-curl") {
            options.curl = true;
        } else {
            usage();
        }
    }
    if (at + 1 != words.size() || options.connections < 1 || options.calls < options.connections) {
        usage();
    }
    options.url = parse_url(words[at]);
    return options;
}

struct Totals {
    std::mutex mutex;
    std::map<int, long> codes;  // -1: no answer
    std::vector<double> seconds;
    long sockets = 0;
};

void run_connection(const Options& options, long calls, Totals& totals) {
    Connection connection(options.url);
    Call call;
    call.fields = options.fields;
    call.fields.emplace_back("User-Agent", "fortio.org/fortio-stand-in");
    call.limit = std::chrono::seconds(30);
    const double share = options.rate / static_cast<double>(options.connections);
    const auto gap =
        share > 0 ? std::chrono::duration<double>(1 / share) : std::chrono::duration<double>(0);
    bool fresh = true;
    for (long i = 0; i < calls; ++i) {
        const auto started = Clock::now();
        const Answer answer = connection.call(call);
        const std::chrono::duration<double> took = Clock::now() - started;
        {
            const std::lock_guard lock(totals.mutex);
            totals.sockets += fresh ? 1 : 0;
            ++totals.codes[answer.outcome == Outcome::answered ? answer.status : -1];
            totals.seconds.push_back(took.count());
        }
        fresh = answer.status != 200 || !connection.kept();
        if (fresh) {
            connection.close();
        }
        if (gap > took) {
            std::this_thread::sleep_for(gap - took);
        }
    }
}

void print_totals(const Options& options, Totals& totals, double elapsed) {
    double sum = 0;
    for (const double each : totals.seconds) {
        sum += each;
    }
    const auto [least, most] = std::minmax_element(totals.seconds.begin(), totals.seconds.end());
    const auto count = static_cast<double>(options.calls);
    std::printf("Ended after %.3fms : %ld calls. qps=%.5g\n",
                elapsed * 1e3,
                options.calls,
                count / elapsed);
    std::printf("Aggregated Function Time : count %ld avg %.9g min %.9g max %.9g sum %.9g\n",
                options.calls,
                sum / count,
                *least,
                *most,
                sum);
    std::printf("Sockets used: %ld (for perfect keepalive, would be %ld)\n",
                totals.sockets,
                options.connections);
    for (const auto& [code, times] : totals.codes) {
        std::printf(
            "Code %3d : %ld (%.1f %%)\n", code, times, 100.0 * static_cast<double>(times) / count);
    }
    std::printf("All done %ld calls (plus 0 warmup) %.3f ms avg, %.1f qps\n",
                options.calls,
                1e3 * sum / count,
                count / elapsed);
}

int load(const Options& options) {
    std::printf("Fortio stand-in running at %g queries per second, for %ld calls: %s%s\n",
                options.rate,
                options.calls,
                options.url.authority.c_str(),
                options.url.path.c_str());
    const long each = options.calls / options.connections;
    const long more = options.calls % options.connections;
    std::printf("Starting at %s with %ld thread(s) for exactly %ld calls (%ld per thread + %ld)\n",
                options.rate > 0 ? "a rate" : "max qps",
                options.connections,
                options.calls,
                each,
                more);
    Totals totals;
    const auto started = Clock::now();
    std::vector<std::jthread> threads;
    for (long i = 0; i < options.connections; ++i) {
        const long calls = each + (i < more ? 1 : 0);
        threads.emplace_back(
            [&options, &totals, calls] { run_connection(options, calls, totals); });
    }
    threads.clear();
    print_totals(options, totals, std::chrono::duration<double>(Clock::now() - started).count());
    return 0;
}

int print_one(const Options& options) {
    Call call;
    call.fields = options.fields;
    call.limit = std::chrono::seconds(30);
    const Answer answer = Connection(options.url).call(call);
    if (answer.outcome != Outcome::answered) {
        std::fprintf(stderr, "%s\n", answer.error.c_str());
        return 1;
    }
    std::printf("%s\n%s\n%s",
                answer.status_line.c_str(),
                field_lines(answer.fields).c_str(),
                answer.body.c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty() && words.front() == "server") {
        ::pause();
        return 0;
    }
    if (words.empty() || words.front() != "load") {
        usage();
    }
    const Options options = read_options({words.begin() + 1, words.end()});
    return options.curl ? print_one(options) : load(options);
}
