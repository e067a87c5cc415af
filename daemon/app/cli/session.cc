#include "daemon/app/cli/session.h"

#include "daemon/base/limits.h"
#include "daemon/base/unique_fd.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

namespace orlop::app::cli {
namespace {

constexpr const char* default_socket = "/run/orlop/orlopd.sock";
constexpr int answer_ms_max = 60'000;

Result<UniqueFd> connect_to(const std::string& socket) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.empty() || socket.size() >= sizeof address.sun_path) {
        return fail(ErrorKind::invalid_input,
                    "--socket: the path is empty or longer than 107 bytes");
    }
    socket.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
        return fail_errno(errno, "cannot make a socket");
    }
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        return fd;
    }
    switch (errno) {
    case ENOENT:
        return fail(ErrorKind::not_found,
                    "orlopd is not running: no socket " + socket +
                        "; start it, start a lab (sudo orlopctl lab up), or name its --socket");
    case ECONNREFUSED:
        return fail(ErrorKind::refused,
                    "orlopd does not serve " + socket +
                        " any more; start it again and look at its log");
    case EACCES:
    case EPERM:
        return fail(ErrorKind::denied, "no permission to use " + socket + "; run with sudo");
    default:
        return fail_errno(errno, "cannot connect to orlopd at " + socket);
    }
}

Result<void> send_all(int fd, std::string_view text) {
    while (!text.empty()) {
        ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return fail_errno(errno, "orlopd closed the connection");
        }
        text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
}

Result<std::string> receive_all(int fd) {
    std::string text;
    std::array<char, 64 * 1024> buffer;
    while (text.size() <= limits::admin_answer_bytes_max) {
        pollfd readable{fd, POLLIN, 0};
        int ready = ::poll(&readable, 1, answer_ms_max);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready == 0) {
            return fail(ErrorKind::timed_out,
                        "orlopd did not answer for 60 s; look at its log and at its CPU use");
        }
        ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(errno, "reading orlopd's answer");
        }
        if (got == 0) {
            return text;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return fail(ErrorKind::limit_exceeded, "orlopd's answer is larger than admin_answer_bytes_max");
}

// We ask for `connection: close` and the server frames by length: the body follows the head.
Result<Answer> parse_answer(const std::string& text) {
    Answer answer;
    std::size_t end = text.find("\r\n\r\n");
    std::size_t space = text.find(' ');
    if (!text.starts_with("HTTP/1.") || end == std::string::npos || space > end) {
        return fail(ErrorKind::closed,
                    "orlopd broke off its answer; it may be stopping: look at its log");
    }
    std::from_chars(text.data() + space + 1, text.data() + end, answer.status);
    answer.body = text.substr(end + 4);
    return answer;
}

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

int tell_error(Session& session, const Error& error) {
    bool bad_data = error.kind == ErrorKind::invalid_input;
    return tell_error(session, error.context, bad_data ? exit_code::bad_data : exit_code::failed);
}

int tell_error(Session& session, const std::string& message, int code) {
    fmt::print(session.err, "orlopctl: {}\n", message);
    return code;
}

namespace {

std::string named_socket(const Session& session) {
    const char* environment = std::getenv("ORLOP_SOCKET");
    return !session.socket.empty() ? session.socket : environment != nullptr ? environment : "";
}

// <lab>/nodes/<node>/orlopd.sock: then that lab is the session's.
bool is_of_lab(Session& session, const std::string& socket) {
    std::size_t nodes = socket.rfind("/nodes/");
    if (nodes == std::string::npos || !exists(socket.substr(0, nodes) + "/lab.sock")) {
        return false;
    }
    session.lab_dir = socket.substr(0, nodes);
    return true;
}

}  // namespace

Target find_target(Session& session) {
    std::string lab_nodes = session.lab_dir + "/nodes/";
    if (std::string named = named_socket(session); !named.empty()) {
        return {named, is_of_lab(session, named)};
    }
    if (exists(default_socket) || !exists(session.lab_dir + "/lab.sock")) {
        return {default_socket, false};
    }
    std::string socket = lab_nodes + "n1/orlopd.sock";
    if (!session.lab_was_named) {
        session.lab_was_named = true;
        fmt::print(session.err, "orlopctl: using the lab's node n1 ({})\n", socket);
    }
    return {socket, true};
}

std::vector<std::string> find_sockets(Session& session) {
    Target target = find_target(session);
    if (target.in_lab && named_socket(session).empty()) {
        auto all = lab_sockets(session);
        return all.empty() ? std::vector{target.socket} : all;
    }
    return {target.socket};
}

std::vector<std::string> lab_sockets(const Session& session) {
    std::vector<std::string> out;
    for (int node = 1; node <= 2; ++node) {
        std::string socket = fmt::format("{}/nodes/n{}/orlopd.sock", session.lab_dir, node);
        if (exists(socket)) {
            out.push_back(std::move(socket));
        }
    }
    return out;
}

Result<Answer> ask(const std::string& socket,
                   const std::string& method,
                   const std::string& target,
                   const std::string& body) {
    auto fd = connect_to(socket);
    if (!fd) {
        return std::unexpected(fd.error());
    }
    std::string request = fmt::format("{} {} HTTP/1.1\r\nhost: orlopd\r\nconnection: close\r\n"
                                      "content-length: {}\r\n\r\n",
                                      method,
                                      target,
                                      body.size());
    for (std::string_view piece : {std::string_view(request), std::string_view(body)}) {
        if (auto sent = send_all(fd->get(), piece); !sent) {
            return std::unexpected(sent.error());
        }
    }
    auto text = receive_all(fd->get());
    if (!text) {
        return std::unexpected(text.error());
    }
    return parse_answer(*text);
}

std::string refusal_of(const Answer& answer) {
    auto body = nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
    if (body.is_object() && body.contains("error") && body["error"].is_string()) {
        return body["error"];
    }
    return fmt::format("orlopd answered {}; do orlopctl and orlopd have the same version?",
                       answer.status);
}

Result<std::string> fetch(Session& session, const std::string& target) {
    auto answer = ask(find_target(session).socket, "GET", target);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (answer->status == 200) {
        return std::move(answer->body);
    }
    return fail(answer->status == 404 ? ErrorKind::not_found : ErrorKind::internal,
                refusal_of(*answer));
}

std::string percent_encode(std::string_view text) {
    std::string out;
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
    }
    return out;
}

Result<std::string> read_input(Session& session, const std::string& path) {
    std::FILE* file = path == "-" ? session.in : std::fopen(path.c_str(), "re");
    if (file == nullptr) {
        Error error = system_error(errno, "cannot read " + path);
        error.context += "; check the path and its permissions";
        return std::unexpected(error);
    }
    std::string text;
    std::array<char, 64 * 1024> buffer;
    std::size_t got = 1;
    while (got > 0 && text.size() <= limits::yaml_file_bytes_max) {
        got = std::fread(buffer.data(), 1, buffer.size(), file);
        text.append(buffer.data(), got);
    }
    bool failed = std::ferror(file) != 0;
    if (file != session.in) {
        std::fclose(file);
    }
    if (failed) {
        return fail(ErrorKind::system, "cannot read " + path + "; is it a directory?");
    }
    if (text.size() > limits::yaml_file_bytes_max) {
        return fail(ErrorKind::invalid_input, path + ": larger than 8 MiB (yaml_file_bytes_max)");
    }
    return text;
}

}  // namespace orlop::app::cli
