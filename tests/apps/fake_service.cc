// Stand-in for nicholasjackson/fake-service v0.26 (HTTP only), driven by the same environment.
//
// A request first waits its own time (TIMING_50_PERCENTILE +- TIMING_VARIANCE percent), draws its
// fault (ERROR_RATE of the requests: http_error answers ERROR_CODE, delay waits ERROR_DELAY), then
// calls UPSTREAM_URIS one after another. An upstream answer of 400 or more, or none, makes it 500.
#include "tests/apps/http.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace {

using namespace orlop::apps;

struct Settings {
    std::string name = env_or("NAME", "Service");
    std::string message = env_or("MESSAGE", "Hello World");
    std::vector<std::string> upstreams;
    bool keep_alive = env_or("HTTP_CLIENT_KEEP_ALIVES", "true") == "true";
    std::chrono::milliseconds request_timeout =
        std::chrono::duration_cast<std::chrono::milliseconds>(
            parse_duration(env_or("HTTP_CLIENT_REQUEST_TIMEOUT", "30s")));
    double error_rate = std::strtod(env_or("ERROR_RATE", "0").c_str(), nullptr);
    std::string error_type = env_or("ERROR_TYPE", "http_error");
    int error_code = static_cast<int>(number_or(env_or("ERROR_CODE", "500"), 500));
    std::chrono::microseconds error_delay = parse_duration(env_or("ERROR_DELAY", "0s"));
    std::chrono::microseconds timing = parse_duration(env_or("TIMING_50_PERCENTILE", "0s"));
    double timing_variance = std::strtod(env_or("TIMING_VARIANCE", "0").c_str(), nullptr);
};

Settings read_settings() {
    Settings settings;
    std::string rest = env_or("UPSTREAM_URIS", "");
    while (!rest.empty()) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        std::string uri = rest.substr(0, comma);
        uri.erase(0, uri.find_first_not_of(' '));
        uri.erase(uri.find_last_not_of(' ') + 1);
        if (!uri.empty()) {
            settings.upstreams.push_back(uri);
        }
        rest.erase(0, std::min(comma + 1, rest.size()));
    }
    return settings;
}

std::string iso_now() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    ::gmtime_r(&now.tv_sec, &parts);
    char text[48];
    const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text + size, sizeof text - size, ".%06ld", now.tv_nsec / 1000);
    return text;
}

std::string millis_text(Clock::duration duration) {
    char text[40];
    std::snprintf(
        text, sizeof text, "%.3fms", std::chrono::duration<double, std::milli>(duration).count());
    return text;
}

class Service {
public:
    explicit Service(Settings settings) : settings_(std::move(settings)) {}

    void handle(const Request& request, Response& response) {
        const auto started = Clock::now();
        const std::string started_at = iso_now();
        if (request.path == "/health" || request.path == "/ready") {
            response.body = "OK\n";
            return;
        }
        const double draw = roll();
        wait_own_time();
        int status = 200;
        const bool faulty = draw < settings_.error_rate;
        if (faulty && settings_.error_type == "delay") {
            std::this_thread::sleep_for(settings_.error_delay);
        } else if (faulty) {
            status = settings_.error_code;
        }
        std::string calls;
        if (status == 200) {
            status = call_upstreams(request, calls);
        }
        response.status = status;
        response.fields.emplace_back("Content-Type", "application/json");
        response.body = body(request, started_at, Clock::now() - started, status, calls);
        log_line(settings_.name + " request " + std::to_string(++served_) + " " + request.method +
                 " " + request.path + " from " + request.peer + " " + std::to_string(status) + " " +
                 millis_text(Clock::now() - started));
    }

private:
    double roll() {
        const std::lock_guard lock(dice_mutex_);
        return dice_.roll();
    }

    void wait_own_time() {
        if (settings_.timing.count() == 0) {
            return;
        }
        const double spread = settings_.timing_variance / 100 * (2 * roll() - 1);
        std::this_thread::sleep_for(settings_.timing * (1 + spread));
    }

    // Calls until one fails, as the original does when it works sequentially.
    int call_upstreams(const Request& request, std::string& calls) {
        for (const std::string& uri : settings_.upstreams) {
            const auto started = Clock::now();
            const Answer answer = connection(uri).call(call_for(request));
            if (!calls.empty()) {
                calls += ",";
            }
            calls += json_quote(uri) + ":{\"uri\":" + json_quote(uri) +
                     ",\"duration\":" + json_quote(millis_text(Clock::now() - started)) +
                     ",\"code\":" + std::to_string(answer.status);
            if (answer.outcome != Outcome::answered) {
                calls += ",\"error\":" + json_quote(answer.error);
            } else if (!answer.body.empty() && answer.body.front() == '{') {
                calls += ",\"response\":" + answer.body;
            } else {
                calls += ",\"body\":" + json_quote(answer.body);
            }
            calls += "}";
            if (answer.outcome != Outcome::answered || answer.status >= 400) {
                return 500;
            }
        }
        return 200;
    }

    Call call_for(const Request& request) const {
        Call call;
        call.limit = settings_.request_timeout;
        call.fields.emplace_back("User-Agent", "fake-service");
        // Tracing headers travel on, as an instrumented application passes them.
        for (const char* name : {"x-request-id",
                                 "traceparent",
                                 "tracestate",
                                 "x-b3-traceid",
                                 "x-b3-spanid",
                                 "x-b3-sampled",
                                 "end-user"}) {
            if (const std::string value = field(request.fields, name); !value.empty()) {
                call.fields.emplace_back(name, value);
            }
        }
        return call;
    }

    Connection& connection(const std::string& uri) {
        // One per thread and upstream: the serving thread lives as long as its client's connection.
        thread_local std::vector<std::pair<std::string, std::unique_ptr<Connection>>> open;
        for (auto& [known, kept] : open) {
            if (known == uri) {
                return *kept;
            }
        }
        const auto reuse =
            settings_.keep_alive ? Connection::Reuse::keep : Connection::Reuse::fresh;
        open.emplace_back(uri, std::make_unique<Connection>(parse_url(uri), reuse));
        return *open.back().second;
    }

    std::string body(const Request& request,
                     const std::string& started_at,
                     Clock::duration duration,
                     int status,
                     const std::string& calls) const {
        std::string text = "{\n  \"name\": " + json_quote(settings_.name) +
                           ",\n  \"uri\": " + json_quote(request.path) +
                           ",\n  \"type\": \"HTTP\",\n  \"ip_addresses\": [" + addresses_ +
                           "],\n  \"start_time\": " + json_quote(started_at) +
                           ",\n  \"end_time\": " + json_quote(iso_now()) +
                           ",\n  \"duration\": " + json_quote(millis_text(duration));
        if (status < 400) {
            text += ",\n  \"body\": " + json_quote(settings_.message);
        }
        if (!calls.empty()) {
            text += ",\n  \"upstream_calls\": {" + calls + "}";
        }
        return text + ",\n  \"code\": " + std::to_string(status) + "\n}\n";
    }

    static std::string own_addresses();

    Settings settings_;
    std::string addresses_ = own_addresses();
    Dice dice_;
    std::mutex dice_mutex_;
    std::atomic<unsigned long> served_{0};
};

std::string Service::own_addresses() {
    char host[256] = "";
    ::gethostname(host, sizeof host - 1);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    std::string list;
    if (::getaddrinfo(host, nullptr, &hints, &found) != 0) {
        return list;
    }
    for (addrinfo* at = found; at != nullptr; at = at->ai_next) {
        char text[NI_MAXHOST] = "";
        ::getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
        list += (list.empty() ? "" : ",") + json_quote(text);
    }
    ::freeaddrinfo(found);
    return list;
}

}  // namespace

int main() {
    Service service(read_settings());
    serve(env_or("LISTEN_ADDR", "0.0.0.0:9090"),
          [&service](const Request& request, Response& response) {
              service.handle(request, response);
          });
}
