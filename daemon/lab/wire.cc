#include "daemon/lab/wire.h"

#include "daemon/base/limits.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <unistd.h>

namespace orlop::lab {

namespace {

Result<void> write_all(int fd, const char* data, std::size_t size) {
    while (size > 0) {
        const ssize_t count = ::send(fd, data, size, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return fail_errno(errno, "send to the lab's socket");
        }
        data += count;
        size -= static_cast<std::size_t>(count);
    }
    return {};
}

Result<void> read_all(int fd, char* data, std::size_t size) {
    while (size > 0) {
        const ssize_t count = ::recv(fd, data, size, 0);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return fail_errno(errno, "receive from the lab's socket");
        }
        if (count == 0) {
            return fail(ErrorKind::closed, "the lab's socket was closed: see supervisor.log");
        }
        data += count;
        size -= static_cast<std::size_t>(count);
    }
    return {};
}

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return fail(ErrorKind::invalid_input, path + ": too long for a Unix socket (107 bytes)");
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

}  // namespace

Result<void> send_message(int fd, const Message& message) {
    std::string body;
    for (const std::string& text : message) {
        body += text;
        body += '\0';
    }
    if (body.size() > limits::lab_message_bytes_max) {
        return fail(ErrorKind::limit_exceeded, "message larger than lab_message_bytes_max");
    }
    const auto size = static_cast<std::uint32_t>(body.size());
    std::string frame(sizeof size, '\0');
    std::memcpy(frame.data(), &size, sizeof size);
    frame += body;
    return write_all(fd, frame.data(), frame.size());
}

Result<Message> receive_message(int fd, Wait wait) {
    if (wait == Wait::peer_limit) {
        const timeval limit{10, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    std::uint32_t size = 0;
    char raw[sizeof size];
    if (auto head = read_all(fd, raw, sizeof raw); !head) {
        return std::unexpected(head.error());
    }
    std::memcpy(&size, raw, sizeof size);
    if (size > limits::lab_message_bytes_max) {
        return fail(ErrorKind::limit_exceeded, "message larger than lab_message_bytes_max");
    }
    std::string body(size, '\0');
    if (auto rest = read_all(fd, body.data(), body.size()); !rest) {
        return std::unexpected(rest.error());
    }
    Message message;
    std::size_t start = 0;
    while (start < body.size()) {
        const std::size_t end = body.find('\0', start);
        if (end == std::string::npos) {
            return fail(ErrorKind::invalid_input, "message does not end with NUL");
        }
        message.push_back(body.substr(start, end - start));
        start = end + 1;
    }
    return message;
}

int number_of(std::string_view text, int fallback) {
    int value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    return code == std::errc{} && end == text.data() + text.size() ? value : fallback;
}

Result<UniqueFd> listen_on(const std::string& path) {
    const auto address = address_of(path);
    if (!address) {
        return std::unexpected(address.error());
    }
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::unlink(path.c_str());
    const mode_t before = ::umask(0177);  // the socket is born with mode 0600
    const bool bound =
        fd.valid() &&
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
    const int number = errno;
    ::umask(before);
    if (!bound || ::listen(fd.get(), 64) != 0) {
        return fail_errno(bound ? errno : number, "listen on " + path);
    }
    return fd;
}

Result<UniqueFd> connect_to(const std::string& path) {
    const auto address = address_of(path);
    if (!address) {
        return std::unexpected(address.error());
    }
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid() ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
        return fail_errno(errno, "connect to " + path);
    }
    return fd;
}

}  // namespace orlop::lab
