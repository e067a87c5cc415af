// HTTP/1.1 for the sample programs: blocking sockets, one thread per connection.
//
// Server: serve(port text, handler) never returns; the handler gets a Request and fills a Response.
// Client: Connection calls one origin, keeps the connection when it may, and obeys a deadline.
// Meant for tests: bounded, but not hardened as the proxy is.
#pragma once

#include "tests/apps/stream.h"

namespace orlop::apps {

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

// "Name: value"
inline std::pair<std::string, std::string> parse_field(const std::string& text) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::size_t value = text.find_first_not_of(": ", colon);
    return {text.substr(0, colon), value == std::string::npos ? "" : text.substr(value)};
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
    return length.empty() ||
           stream.read_exactly(std::strtoul(length.c_str(), nullptr, 10), request.body);
}

inline bool write_response(Stream& stream,
                           const Request& request,
                           const Response& response,
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
    Workers workers;
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                ::poll(nullptr, 0, 10);
            }
            continue;
        }
        workers.start([fd, &handler] { serve_connection(fd, handler); });
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
        const auto deadline =
            call.limit.count() == 0 ? Clock::time_point::max() : Clock::now() + call.limit;
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
    bool kept() const { return stream_.open(); }
    void close() { stream_.close(); }

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
            if (!stream_.read_line(answer.status_line) || answer.status_line.size() < 12 ||
                !read_fields(stream_, answer.fields)) {
                return false;
            }
            answer.status =
                static_cast<int>(number_or(std::string_view(answer.status_line).substr(9), 0));
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
        const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int code = 0;
        if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
            code = errno;
        }
        if (code == EINPROGRESS) {
            int limit = -1;
            if (deadline != Clock::time_point::max()) {
                limit = static_cast<int>(std::max<std::int64_t>(
                    0,
                    std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count()));
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

}  // namespace orlop::apps
