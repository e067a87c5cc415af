#include "daemon/base/log.h"

#include "daemon/base/limits.h"

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace orlop {
namespace {

struct Record {
    bool access = false;
    LogLevel level = LogLevel::info;
    std::string component;
    std::string text;
    std::chrono::system_clock::time_point when;
};

// The one process-wide object: its users are every thread, its writer is one thread.
struct LogState {
    std::mutex mutex;
    std::condition_variable wake;
    std::vector<Record> queue;
    bool running = false;
    bool stopping = false;
    LogOptions options;
    int access_fd = -1;
    std::thread writer;
    std::atomic<unsigned long long> dropped{0};
    std::atomic<int> lowest{static_cast<int>(LogLevel::info)};
    std::mutex levels_mutex;
    std::map<std::string, LogLevel, std::less<>> levels;
    LogLevel default_level = LogLevel::info;

    LogState() {
        for (const char* room : {"base",
                                 "model",
                                 "runtime",
                                 "codec",
                                 "net",
                                 "decide",
                                 "proxy",
                                 "control",
                                 "datapath",
                                 "telemetry",
                                 "admin",
                                 "app",
                                 "mtls",
                                 "upstream",
                                 "outlier",
                                 "hbone",
                                 "lab"}) {
            levels.emplace(room, LogLevel::info);
        }
    }
    void recompute_lowest() {
        int low = static_cast<int>(default_level);
        for (const auto& [name, level] : levels) {
            low = std::min(low, static_cast<int>(level));
        }
        lowest.store(low, std::memory_order_relaxed);
    }
};

LogState& state() {
    static LogState* instance = new LogState;  // outlives every thread that may still log at exit
    return *instance;
}

constexpr std::string_view level_names[] = {"trace", "debug", "info", "warning", "error", "off"};

std::string timestamp(std::chrono::system_clock::time_point when) {
    auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
    std::time_t seconds = micros / 1'000'000;
    std::tm tm{};
    gmtime_r(&seconds, &tm);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                       tm.tm_year + 1900,
                       tm.tm_mon + 1,
                       tm.tm_mday,
                       tm.tm_hour,
                       tm.tm_min,
                       tm.tm_sec,
                       micros % 1'000'000);
}

// A log line must stay one line whatever bytes a peer put into it.
std::string escaped(std::string_view text, bool json) {
    std::string out;
    out.reserve(text.size());
    for (unsigned char c : text) {
        if (json && (c == '"' || c == '\\')) {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c < 0x20 || c == 0x7f) {
            out += json ? fmt::format("\\u{:04x}", c) : fmt::format("\\x{:02x}", c);
        } else {
            out += static_cast<char>(c);
        }
    }
    return out;
}

std::string render(const Record& record, LogFormat format) {
    if (record.access) {
        return record.text + "\n";
    }
    auto level = log_level_name(record.level);
    if (format == LogFormat::json) {
        return fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"scope\":\"{}\",\"msg\":\"{}\"}}\n",
                           timestamp(record.when),
                           level,
                           record.component,
                           escaped(record.text, true));
    }
    return fmt::format("{}\t{}\t{}\t{}\n",
                       timestamp(record.when),
                       level,
                       record.component,
                       escaped(record.text, false));
}

void write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;  // nowhere left to complain
        }
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

void write_batch(const std::vector<Record>& batch, const LogOptions& options, int access_fd) {
    std::string talk;
    std::string access;
    for (const auto& record : batch) {
        (record.access ? access : talk) += render(record, options.format);
    }
    write_all(2, talk);
    if (access_fd >= 0) {
        write_all(access_fd, access);
    }
}

void run_writer() {
    pthread_setname_np(pthread_self(), "orlop-log");
    auto& log = state();
    std::unique_lock lock(log.mutex);
    while (true) {
        log.wake.wait(lock, [&] { return !log.queue.empty() || log.stopping; });
        if (log.queue.empty()) {
            return;
        }
        std::vector<Record> batch;
        batch.swap(log.queue);
        auto options = log.options;
        int access_fd = log.access_fd;
        lock.unlock();
        write_batch(batch, options, access_fd);
        lock.lock();
    }
}

void enqueue(Record record) {
    auto& log = state();
    std::unique_lock lock(log.mutex);
    if (!log.running) {  // early start-up, tests and command-line tools: write at once
        auto options = log.options;
        lock.unlock();
        write_all(record.access ? 1 : 2, render(record, options.format));
        return;
    }
    if (log.queue.size() >= limits::log_queue_records_max) {
        log.dropped.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    bool was_empty = log.queue.empty();
    log.queue.push_back(std::move(record));
    lock.unlock();
    if (was_empty) {
        log.wake.notify_one();
    }
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view text) {
    for (std::size_t i = 0; i < std::size(level_names); ++i) {
        if (text == level_names[i] || (text == "warn" && level_names[i] == "warning")) {
            return static_cast<LogLevel>(i);
        }
    }
    return fail(ErrorKind::invalid_input,
                "unknown log level '" + std::string(text) +
                    "'; use trace, debug, info, warning, error or off");
}

std::string_view log_level_name(LogLevel level) {
    return level_names[static_cast<std::size_t>(level)];
}

bool log_enabled(LogLevel level, std::string_view component) {
    auto& log = state();
    if (static_cast<int>(level) < log.lowest.load(std::memory_order_relaxed)) {
        return false;
    }
    std::lock_guard lock(log.levels_mutex);
    auto found = log.levels.find(component);
    return level >= (found == log.levels.end() ? log.default_level : found->second);
}

void write_log(LogLevel level, std::string_view component, std::string text) {
    enqueue(
        {false, level, std::string(component), std::move(text), std::chrono::system_clock::now()});
}

void write_access_log(std::string line) {
    enqueue({true, LogLevel::info, "", std::move(line), {}});
}

Result<void> set_log_level(std::string_view component, LogLevel level) {
    auto& log = state();
    std::lock_guard lock(log.levels_mutex);
    if (component == "all") {
        log.default_level = level;
        for (auto& [name, current] : log.levels) {
            current = level;
        }
    } else if (auto found = log.levels.find(component); found != log.levels.end()) {
        found->second = level;
    } else {
        std::string known;
        for (const auto& [name, current] : log.levels) {
            known += (known.empty() ? "" : ", ") + name;
        }
        return fail(ErrorKind::not_found,
                    "unknown log component '" + std::string(component) + "'; known are all, " +
                        known);
    }
    log.recompute_lowest();
    return {};
}

std::string list_log_levels() {
    auto& log = state();
    std::lock_guard lock(log.levels_mutex);
    std::string out;
    for (const auto& [name, level] : log.levels) {
        out += fmt::format("{} {}\n", name, log_level_name(level));
    }
    return out;
}

void start_log_writer(const LogOptions& options) {
    auto& log = state();
    std::lock_guard lock(log.mutex);
    if (log.running) {
        return;
    }
    log.options = options;
    if (!options.access_log_path.empty()) {
        log.access_fd = options.access_log_path == "/dev/stdout"
                            ? 1
                            : ::open(options.access_log_path.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                     0640);
    }
    log.running = true;
    log.stopping = false;
    log.writer = std::thread(run_writer);
}

void stop_log_writer() {
    auto& log = state();
    {
        std::lock_guard lock(log.mutex);
        if (!log.running) {
            return;
        }
        log.stopping = true;
    }
    log.wake.notify_one();
    log.writer.join();
    std::lock_guard lock(log.mutex);
    log.running = false;
}

unsigned long long log_lines_dropped() {
    return state().dropped.load(std::memory_order_relaxed);
}

}  // namespace orlop
