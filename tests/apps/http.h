// HTTP/1.1 for the sample programs: blocking sockets, one thread per connection.
//
// Server: serve(port text, handler) never returns; the handler gets a Request and fills a Response.
// Client: Connection calls one origin, keeps the connection when it may, and obeys a deadline.
// Meant for tests: bounded, but not hardened as the proxy is.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace orlop::apps {

using Clock = std::chrono::steady_clock;
using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string env_or(const char* name, const std::string& fallback) {
    const char* value = std::getenv(name);
    return value == nullptr || *value == 0 ? fallback : value;
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
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Status";
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

struct Request {
    std::string method;
    std::string path;
    std::string version;
    Fields fields;
    std::string body;
    Fields trailers;
    std::string peer;
};

enum class Framing : unsigned char { length, chunked, close };

struct Response {
    int status = 200;
    Fields fields;
    std::string body;
    Framing framing = Framing::length;
    Fields trailers;  // with Framing::chunked
};

inline bool read_fields(Stream& stream, Fields& fields) {
    std::string line;
    while (fields.size() < 200 && stream.read_line(line)) {
        if (line.empty()) {
            return true;
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos) {
            return false;
        }
        std::size_t start = line.find_first_not_of(" \t", colon + 1);
        start = start == std::string::npos ? line.size() : start;
        fields.emplace_back(line.substr(0, colon), line.substr(start));
    }
    return false;
}

inline bool read_chunked(Stream& stream, std::string& body, Fields& trailers) {
    std::string line;
    while (stream.read_line(line)) {
        const std::size_t size = std::strtoul(line.c_str(), nullptr, 16);
        if (size == 0) {
            return read_fields(stream, trailers);
        }
        if (size > 256U * 1024 * 1024 || !stream.read_exactly(size, body) ||
            !stream.read_line(line)) {
            return false;
        }
    }
    return false;
}

inline std::string field_lines(const Fields& fields) {
    std::string text;
    for (const auto& [name, value] : fields) {
        text += name + ": " + value + "\r\n";
    }
    return text;
}

// `body` in chunks of at most 4096 bytes.
inline std::string chunked(std::string_view body, const Fields& trailers) {
    std::string text;
    while (!body.empty()) {
        const std::size_t size = std::min<std::size_t>(body.size(), 4096);
        char head[20];
        std::snprintf(head, sizeof head, "%zx\r\n", size);
        text += head;
        text += body.substr(0, size);
        text += "\r\n";
        body.remove_prefix(size);
    }
    return text + "0\r\n" + field_lines(trailers) + "\r\n";
}

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
    const int port = std::atoi(where.substr(colon == std::string::npos ? 0 : colon + 1).c_str());
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

inline bool read_request(Stream& stream, Request& request) {
    std::string line;
    do {
        if (!stream.read_line(line)) {
            return false;
        }
    } while (line.empty());
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string::npos || last == first) {
        return false;
    }
    request.method = line.substr(0, first);
    request.path = line.substr(first + 1, last - first - 1);
    request.version = line.substr(last + 1);
    if (!read_fields(stream, request.fields)) {
        return false;
    }
    if (same_name(field(request.fields, "expect"), "100-continue")) {
        stream.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (same_name(field(request.fields, "transfer-encoding"), "chunked")) {
        return read_chunked(stream, request.body, request.trailers);
    }
    const std::string length = field(request.fields, "content-length");
    return length.empty() || stream.read_exactly(std::strtoul(length.c_str(), nullptr, 10),
                                                 request.body);
}

inline bool write_response(Stream& stream, const Request& request, const Response& response,
                           const char* connection) {
    std::string text = "HTTP/1.1 " + std::to_string(response.status) + " " +
                       reason_of(response.status) + "\r\n" + field_lines(response.fields);
    const bool bodyless = response.status == 204 || response.status == 304;
    if (response.framing == Framing::chunked) {
        text += "Transfer-Encoding: chunked\r\n";
    } else if (response.framing == Framing::length && !bodyless) {
        text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    }
    text += std::string("Connection: ") + connection + "\r\n\r\n";
    if (request.method != "HEAD" && !bodyless) {
        text += response.framing == Framing::chunked ? chunked(response.body, response.trailers)
                                                     : response.body;
    }
    return stream.write(text);
}

using Handler = std::function<void(const Request&, Response&)>;

inline void serve_connection(int fd, const Handler& handler) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Stream stream(fd);
    const std::string peer = peer_text(fd);
    for (;;) {
        Request request;
        request.peer = peer;
        if (!read_request(stream, request)) {
            return;
        }
        Response response;
        handler(request, response);
        const bool close = same_name(field(request.fields, "connection"), "close") ||
                           request.version == "HTTP/1.0" || response.framing == Framing::close;
        if (!write_response(stream, request, response, close ? "close" : "keep-alive") || close) {
            return;
        }
    }
}

[[noreturn]] inline void serve(const std::string& where, const Handler& handler) {
    ::signal(SIGPIPE, SIG_IGN);
    const int listener = listen_on(where);
    log_line("listening on " + where);
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                ::poll(nullptr, 0, 10);
            }
            continue;
        }
        std::thread(serve_connection, fd, std::cref(handler)).detach();
    }
}

struct Url {
    std::string host;
    std::string port = "80";
    std::string path = "/";
    std::string authority;
};

inline Url parse_url(std::string text) {
    Url url;
    if (const std::size_t scheme = text.find("://"); scheme != std::string::npos) {
        text.erase(0, scheme + 3);
    }
    const std::size_t slash = text.find('/');
    if (slash != std::string::npos) {
        url.path = text.substr(slash);
        text.erase(slash);
    }
    url.authority = text;
    const std::size_t bracket = text.find(']');
    const std::size_t colon = text.find(':', bracket == std::string::npos ? 0 : bracket);
    if (colon != std::string::npos) {
        url.port = text.substr(colon + 1);
        text.erase(colon);
    }
    url.host = bracket == std::string::npos ? text : text.substr(1, text.size() - 2);
    return url;
}

enum class Outcome : unsigned char { answered, unresolved, refused, timed_out, broken };

struct Answer {
    Outcome outcome = Outcome::broken;
    int status = 0;
    std::string status_line;
    Fields fields;
    std::string body;
    Fields trailers;
    std::string error;  // when not answered
};

struct Call {
    std::string method = "GET";
    Fields fields;
    std::string body;
    Framing framing = Framing::length;
    std::chrono::milliseconds limit{0};  // 0: none
};

// A client of one origin. Not thread-safe: one per thread.
class Connection {
public:
    enum class Family : int { any = AF_UNSPEC, v4 = AF_INET, v6 = AF_INET6 };
    enum class Reuse : unsigned char { keep, fresh };

    explicit Connection(Url url, Reuse reuse = Reuse::keep, Family family = Family::any)
        : url_(std::move(url)), reuse_(reuse), family_(family) {}

    Answer call(const Call& call) {
        const auto deadline = call.limit.count() == 0 ? Clock::time_point::max()
                                                      : Clock::now() + call.limit;
        const bool kept = stream_.open();
        Answer answer = attempt(call, deadline);
        // A kept connection that the server had just closed proves nothing about the server.
        if (kept && answer.outcome == Outcome::broken && answer.status_line.empty() &&
            call.method == "GET") {
            stream_.close();
            answer = attempt(call, deadline);
        }
        const bool closes = reuse_ == Reuse::fresh || answer.outcome != Outcome::answered ||
                            same_name(field(answer.fields, "connection"), "close");
        if (closes) {
            stream_.close();
        }
        return answer;
    }

private:
    Answer attempt(const Call& call, Clock::time_point deadline) {
        Answer answer;
        if (!stream_.open() && !connect(answer, deadline)) {
            return answer;
        }
        stream_.set_deadline(deadline);
        std::string text = call.method + " " + url_.path + " HTTP/1.1\r\n";
        if (field(call.fields, "host").empty()) {
            text += "Host: " + url_.authority + "\r\n";
        }
        text += field_lines(call.fields);
        if (reuse_ == Reuse::fresh) {
            text += "Connection: close\r\n";
        }
        if (call.framing == Framing::chunked) {
            text += "Transfer-Encoding: chunked\r\n\r\n" + chunked(call.body, {});
        } else if (!call.body.empty()) {
            text += "Content-Length: " + std::to_string(call.body.size()) + "\r\n\r\n" + call.body;
        } else {
            text += "\r\n";
        }
        if (!stream_.write(text) || !read_answer(call, answer)) {
            answer.outcome = stream_.timed_out() ? Outcome::timed_out : Outcome::broken;
            answer.error = stream_.timed_out() ? "timed out" : "connection broke";
            return answer;
        }
        answer.outcome = Outcome::answered;
        return answer;
    }

    bool read_answer(const Call& call, Answer& answer) {
        do {
            answer.fields.clear();
            if (!stream_.read_line(answer.status_line) ||
                answer.status_line.size() < 12 || !read_fields(stream_, answer.fields)) {
                return false;
            }
            answer.status = std::atoi(answer.status_line.c_str() + 9);
        } while (answer.status >= 100 && answer.status < 200);
        if (call.method == "HEAD" || answer.status == 204 || answer.status == 304) {
            return true;
        }
        if (same_name(field(answer.fields, "transfer-encoding"), "chunked")) {
            return read_chunked(stream_, answer.body, answer.trailers);
        }
        const std::string length = field(answer.fields, "content-length");
        if (!length.empty()) {
            return stream_.read_exactly(std::strtoul(length.c_str(), nullptr, 10), answer.body);
        }
        stream_.read_to_end(answer.body);
        stream_.close();
        return !stream_.timed_out();
    }

    bool connect(Answer& answer, Clock::time_point deadline) {
        addrinfo hints{};
        hints.ai_family = static_cast<int>(family_);
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        if (const int code = ::getaddrinfo(url_.host.c_str(), url_.port.c_str(), &hints, &found);
            code != 0) {
            answer.outcome = Outcome::unresolved;
            answer.error = url_.host + ": " + ::gai_strerror(code);
            return false;
        }
        for (addrinfo* at = found; at != nullptr && !stream_.open(); at = at->ai_next) {
            try_address(*at, answer, deadline);
        }
        ::freeaddrinfo(found);
        return stream_.open();
    }

    void try_address(const addrinfo& address, Answer& answer, Clock::time_point deadline) {
        const int fd = ::socket(address.ai_family,
                                SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int code = 0;
        if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
            code = errno;
        }
        if (code == EINPROGRESS) {
            int limit = -1;
            if (deadline != Clock::time_point::max()) {
                limit = static_cast<int>(std::max<std::int64_t>(
                    0, std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now())
                           .count()));
            }
            pollfd wait{fd, POLLOUT, 0};
            socklen_t size = sizeof code;
            code = ETIMEDOUT;
            if (::poll(&wait, 1, limit) > 0) {
                ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
            }
        }
        if (code != 0) {
            answer.outcome = code == ETIMEDOUT ? Outcome::timed_out : Outcome::refused;
            answer.error = std::strerror(code);
            ::close(fd);
            return;
        }
        ::fcntl(fd, F_SETFL, 0);
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        stream_.adopt(fd);
    }

    Url url_;
    Reuse reuse_;
    Family family_;
    Stream stream_{-1};
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
