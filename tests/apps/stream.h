// What every sample program needs: environment, log lines, a socket with deadlines, threads, dice.
#pragma once

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <poll.h>
#include <random>
#include <signal.h>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace orlop::apps {

using Clock = std::chrono::steady_clock;
using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string env_or(const char* name, const std::string& fallback) {
    const char* value = std::getenv(name);
    return value == nullptr || *value == 0 ? fallback : value;
}

inline long number_or(std::string_view text, long fallback) {
    long value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    return code == std::errc{} && end != text.data() ? value : fallback;
}

inline bool same_name(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return std::tolower(static_cast<unsigned char>(x)) ==
                      std::tolower(static_cast<unsigned char>(y));
           });
}

inline std::string field(const Fields& fields, std::string_view name) {
    for (const auto& [key, value] : fields) {
        if (same_name(key, name)) {
            return value;
        }
    }
    return {};
}

// "3s", "500ms", "1.5s", "2m", "10us"; a bare number is milliseconds.
inline std::chrono::microseconds parse_duration(const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const std::string_view unit(end);
    double micros = value * 1e3;
    if (unit == "us" || unit == "µs") {
        micros = value;
    } else if (unit == "s") {
        micros = value * 1e6;
    } else if (unit == "m") {
        micros = value * 6e7;
    }
    return std::chrono::microseconds(static_cast<std::int64_t>(micros));
}

inline void log_line(const std::string& text) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    ::gmtime_r(&now.tv_sec, &parts);
    char stamp[40];
    const std::size_t size = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(stamp + size, sizeof stamp - size, ".%03ldZ ", now.tv_nsec / 1'000'000);
    const std::string line = stamp + text + "\n";
    [[maybe_unused]] const ssize_t written = ::write(1, line.data(), line.size());
}

inline std::string json_quote(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", byte);
            out += code;
        } else {
            out += c;
        }
    }
    return out + "\"";
}

inline const char* reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 302:
        return "Found";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Status";
    }
}

// Bytes of a socket with a deadline on every wait.
class Stream {
public:
    explicit Stream(int fd) : fd_(fd) {}
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { close(); }

    void close() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
        fd_ = -1;
        buffer_.clear();
    }
    void adopt(int fd) {
        close();
        fd_ = fd;
    }
    bool open() const { return fd_ >= 0; }
    int fd() const { return fd_; }
    void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
    bool timed_out() const { return timed_out_; }

    bool write(std::string_view data) {
        while (!data.empty()) {
            const ssize_t count = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) {
                continue;
            }
            if (count < 0 && errno == EAGAIN && wait(POLLOUT)) {
                continue;
            }
            if (count < 0) {
                return false;
            }
            data.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }

    // One line without its CRLF; false at the end, on an error or beyond 64 KiB.
    bool read_line(std::string& line) {
        for (;;) {
            const std::size_t end = buffer_.find('\n');
            if (end != std::string::npos) {
                line = buffer_.substr(0, end > 0 && buffer_[end - 1] == '\r' ? end - 1 : end);
                buffer_.erase(0, end + 1);
                return true;
            }
            if (buffer_.size() > 65'536 || !fill()) {
                return false;
            }
        }
    }
    bool read_exactly(std::size_t size, std::string& out) {
        while (buffer_.size() < size) {
            if (!fill()) {
                return false;
            }
        }
        out.append(buffer_, 0, size);
        buffer_.erase(0, size);
        return true;
    }
    void read_to_end(std::string& out) {
        while (fill()) {
        }
        out += buffer_;
        buffer_.clear();
    }

private:
    bool wait(short events) {
        int limit = -1;
        if (deadline_ != Clock::time_point::max()) {
            limit = static_cast<int>(std::max<std::int64_t>(
                0, std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count()));
        }
        pollfd fd{fd_, events, 0};
        int ready = 0;
        do {
            ready = ::poll(&fd, 1, limit);
        } while (ready < 0 && errno == EINTR);
        timed_out_ = timed_out_ || ready == 0;
        return ready > 0;
    }
    bool fill() {
        char chunk[16 * 1024];
        for (;;) {
            if (deadline_ != Clock::time_point::max() && !wait(POLLIN)) {
                return false;
            }
            const ssize_t count = ::recv(fd_, chunk, sizeof chunk, 0);
            if (count > 0) {
                buffer_.append(chunk, static_cast<std::size_t>(count));
                return true;
            }
            if (count == 0 || errno != EINTR) {
                return false;
            }
        }
    }

    int fd_;
    std::string buffer_;
    Clock::time_point deadline_ = Clock::time_point::max();
    bool timed_out_ = false;
};

inline std::string address_text(const sockaddr_storage& address) {
    char text[INET6_ADDRSTRLEN] = "";
    int port = 0;
    if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        port = ntohs(v6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            ::inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof text);
            return std::string(text) + ":" + std::to_string(port);
        }
        ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        return "[" + std::string(text) + "]:" + std::to_string(port);
    }
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
}

inline std::string peer_text(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size);
    return address_text(address);
}

// Dual stack; "host:port", ":port" or "port". Only the port counts unless the host is an address.
inline int listen_on(const std::string& where) {
    const std::size_t colon = where.rfind(':');
    const long port = number_or(where.substr(colon == std::string::npos ? 0 : colon + 1), 0);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(static_cast<std::uint16_t>(port));
    const int on = 1;
    const int off = 0;
    int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = false;
    if (fd >= 0) {
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        bound = ::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0;
    }
    if (!bound) {  // no IPv6 here
        if (fd >= 0) {
            ::close(fd);
        }
        sockaddr_in any4{};
        any4.sin_family = AF_INET;
        any4.sin_port = any.sin6_port;
        fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        bound = ::bind(fd, reinterpret_cast<sockaddr*>(&any4), sizeof any4) == 0;
    }
    if (!bound || ::listen(fd, 4096) != 0) {
        std::perror(("listen on " + where).c_str());
        std::exit(1);
    }
    return fd;
}

// Threads that are joined once they have ended, at the latest when the next one starts.
class Workers {
public:
    void start(std::function<void()> work) {
        std::erase_if(running_,
                      [](const std::unique_ptr<Worker>& worker) { return worker->ended.load(); });
        running_.push_back(std::make_unique<Worker>());
        Worker& worker = *running_.back();
        worker.thread = std::jthread([&worker, work = std::move(work)] {
            work();
            worker.ended = true;
        });
    }

private:
    struct Worker {
        std::atomic<bool> ended{false};
        std::jthread thread;  // joins before `ended` goes
    };
    std::vector<std::unique_ptr<Worker>> running_;
};

// Uniform draws in [0, 1): from SEED when set, so that a run can be repeated.
class Dice {
public:
    Dice() {
        const std::string seed = env_or("SEED", "");
        engine_.seed(seed.empty() ? std::random_device{}() : std::stoul(seed));
    }
    double roll() { return std::uniform_real_distribution<double>(0.0, 1.0)(engine_); }

private:
    std::mt19937_64 engine_;
};

}  // namespace orlop::apps
