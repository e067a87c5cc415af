#include "bench/load/options.h"

#include <charconv>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string_view>

namespace orlop::bench {
namespace {

using Failure = std::unexpected<std::string>;

std::expected<double, std::string> number(const std::string& name, const std::string& text) {
    char* end = nullptr;
    double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || value < 0) {
        return Failure("--" + name + " wants a number that is not negative, got '" + text + "'");
    }
    return value;
}

std::expected<WatchedGroup, std::string> watched(const std::string& text) {
    auto equals = text.find('=');
    if (equals == std::string::npos) {
        return Failure("--watch wants NAME=PID,PID, got '" + text + "'");
    }
    WatchedGroup group{text.substr(0, equals), {}};
    std::istringstream pids(text.substr(equals + 1));
    for (std::string pid; std::getline(pids, pid, ',');) {
        int value = 0;
        if (std::from_chars(pid.data(), pid.data() + pid.size(), value).ec != std::errc()) {
            return Failure("--watch: '" + pid + "' is not a process id");
        }
        group.pids.push_back(value);
    }
    return group;
}

std::expected<Target, std::string> target(const std::string& text) {
    std::istringstream words(text);
    Target made;
    std::getline(words, made.address, ',');
    std::getline(words, made.host, ',');
    std::getline(words, made.severed, ',');
    if (made.severed.empty() || !words.eof()) {
        return Failure("--target wants ADDRESS,HOST,SEVERED, got '" + text + "'");
    }
    return made;
}

std::expected<Traffic, std::string> traffic(const std::string& text) {
    static const std::map<std::string, Traffic, std::less<>> names{
        {"keepalive", Traffic::keepalive},
        {"connect", Traffic::connect},
        {"h2", Traffic::h2},
        {"echo", Traffic::echo}};
    auto found = names.find(text);
    if (found == names.end()) {
        return Failure("--traffic wants keepalive, connect, h2 or echo, got '" + text + "'");
    }
    return found->second;
}

// Empty when the value was taken.
std::string set_option(Options& options, const std::string& name, const std::string& value) {
    if (name == "address") {
        options.address = value;
    } else if (name == "host") {
        options.host = value;
    } else if (name == "path") {
        options.path = value;
    } else if (name == "counter-file") {
        options.counter_file = value;
    } else if (name == "traffic") {
        auto kind = traffic(value);
        if (!kind) {
            return kind.error();
        }
        options.traffic = *kind;
    } else if (name == "target") {
        auto made = target(value);
        if (!made) {
            return made.error();
        }
        options.targets.push_back(*made);
    } else if (name == "watch") {
        auto group = watched(value);
        if (!group) {
            return group.error();
        }
        options.groups.push_back(*group);
    } else {
        auto parsed = number(name, value);
        if (!parsed) {
            return parsed.error();
        }
        std::map<std::string, double*> reals{{"rate", &options.rate_per_s},
                                             {"seconds", &options.seconds},
                                             {"warmup", &options.warmup_s}};
        if (auto real = reals.find(name); real != reals.end()) {
            *real->second = *parsed;
        } else if (name == "port") {
            options.port = static_cast<std::uint16_t>(*parsed);
        } else if (name == "connections") {
            options.connections = static_cast<int>(*parsed);
        } else if (name == "streams") {
            options.streams = static_cast<int>(*parsed);
        } else if (name == "sever-port") {
            options.sever_port = static_cast<int>(*parsed);
        } else if (name == "slice-ms") {
            options.slice_ms = static_cast<std::int64_t>(*parsed);
        } else if (name == "reply-bytes") {
            options.reply_bytes = static_cast<std::int64_t>(*parsed);
        } else if (name == "message-bytes") {
            options.message_bytes = static_cast<std::int64_t>(*parsed);
        } else if (name == "check-content") {
            options.check_content = *parsed != 0;
        } else {
            return "unknown option --" + name;
        }
    }
    return {};
}

}  // namespace

std::expected<Options, std::string> parse_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        std::string_view word = argv[i];
        if (!word.starts_with("--")) {
            return Failure("unexpected '" + std::string(word) + "'; options are --name value");
        }
        if (i + 1 == argc) {
            return Failure(std::string(word) + " wants a value");
        }
        if (auto wrong = set_option(options, std::string(word.substr(2)), argv[++i]);
            !wrong.empty()) {
            return Failure(wrong);
        }
    }
    if (options.address.empty() || options.port == 0) {
        return Failure("--address and --port are needed");
    }
    if (options.connections < 1 || options.connections > 20'000) {
        return Failure("--connections wants 1 to 20000");
    }
    if (options.streams < 1 || options.streams > 1000 ||
        (options.streams > 1 && options.traffic != Traffic::h2)) {
        return Failure("--streams wants 1 to 1000, and more than 1 only with --traffic h2");
    }
    auto each_its_own = options.targets.empty()
                            ? options.connections == 1
                            : options.connections == static_cast<int>(options.targets.size());
    if (!options.targets.empty() && (!each_its_own || options.traffic == Traffic::h2)) {
        return Failure("--target is wanted once for each of --connections, and not with h2");
    }
    if (options.sever_port != 0 && (!each_its_own || options.streams != 1)) {
        return Failure("--sever-port wants --connections 1, or a --target for each connection");
    }
    if (options.message_bytes < 1 || options.message_bytes > 65'536) {
        return Failure("--message-bytes wants 1 to 65536");
    }
    return options;
}

}  // namespace orlop::bench
