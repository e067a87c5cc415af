#include "daemon/decide/header_text.h"

#include "daemon/base/limits.h"

#include <array>
#include <chrono>
#include <ctime>

namespace orlop::decide {
namespace {

using Operator = model::HeaderText::Operator;
using Piece = model::HeaderText::Piece;

bool read_request(const HeaderTextInput& input, std::string_view name, std::string_view& value) {
    if (name == ":method") {
        value = input.method;
    } else if (name == ":path") {
        value = input.target;
    } else if (name == ":authority" || name == "host") {
        value = input.authority;
    } else if (name == ":scheme") {
        value = input.scheme;
    } else {
        return find_header(input.request, name, &value);
    }
    return true;
}

bool read_response(const HeaderTextInput& input, std::string_view name, std::string_view& value) {
    return find_header(input.response, name, &value);
}

template <class Read> void append_header(const Read& read, const Piece& piece, std::string& out) {
    std::string_view value;
    bool found = read(piece.text, value);
    if (!found && !piece.alternative.empty()) {
        found = read(piece.alternative, value);
    }
    if (found) {
        out += piece.bytes_max == 0 ? value : value.substr(0, piece.bytes_max);
    }
}

void append_address(const std::optional<SocketAddress>& address, std::string& out) {
    if (address) {
        out += address->to_string();
    }
}

void append_ip(const std::optional<SocketAddress>& address, std::string& out) {
    if (address) {
        out += address->ip.to_string();
    }
}

// Operators that are one text of the input.
std::string_view text_of(Operator op, const HeaderTextInput& input) {
    switch (op) {
    case Operator::protocol:
        return input.protocol;
    case Operator::response_code_details:
        return input.code_details;
    case Operator::response_flags:
        return input.flags;
    case Operator::route_name:
        return input.route_name;
    case Operator::upstream_cluster:
        return input.cluster;
    case Operator::requested_server_name:
        return input.server_name;
    case Operator::hostname:
        return input.hostname;
    case Operator::stream_id:
        return input.stream_id;
    default:
        return {};
    }
}

void append_number(std::uint64_t number, std::string& out) {
    out += std::to_string(number);
}

void append_piece(const Piece& piece, const HeaderTextInput& input, std::string& out) {
    switch (piece.op) {
    case Operator::literal:
        out += piece.text;
        break;
    case Operator::request_header:
        append_header(
            [&](auto name, auto& value) { return read_request(input, name, value); }, piece, out);
        break;
    case Operator::response_header:
        append_header(
            [&](auto name, auto& value) { return read_response(input, name, value); }, piece, out);
        break;
    case Operator::response_code:
        if (input.response_code != 0) {
            append_number(input.response_code, out);
        }
        break;
    case Operator::upstream_host:
        append_address(input.upstream_host, out);
        break;
    case Operator::downstream_remote_address:
        append_address(input.downstream_remote, out);
        break;
    case Operator::downstream_local_address:
        append_address(input.downstream_local, out);
        break;
    case Operator::downstream_remote_address_without_port:
        append_ip(input.downstream_remote, out);
        break;
    case Operator::downstream_local_address_without_port:
        append_ip(input.downstream_local, out);
        break;
    case Operator::start_time:
        out += format_start_time(input.start_time, piece.text);
        break;
    case Operator::bytes_received:
        append_number(input.bytes_received, out);
        break;
    case Operator::attempt_count:
        append_number(input.attempts, out);
        break;
    default:
        out += text_of(piece.op, input);
        break;
    }
}

std::string fraction(std::int64_t nanoseconds, std::size_t digits) {
    std::string text = std::to_string(1'000'000'000 + nanoseconds);
    return text.substr(1, digits);
}

// `%3f` and its kin, at the start of `format`; bytes taken, 0 when it is something else.
std::size_t append_extension(std::string_view format,
                             std::int64_t nanoseconds,
                             std::time_t seconds,
                             std::string& out) {
    if (format.starts_with("%s")) {
        out += std::to_string(seconds);
        return 2;
    }
    if (format.starts_with("%f")) {
        out += fraction(nanoseconds, 9);
        return 2;
    }
    bool sized = format.size() >= 3 && format[2] == 'f' && format[1] >= '1' && format[1] <= '9';
    if (!sized) {
        return 0;
    }
    out += fraction(nanoseconds, static_cast<std::size_t>(format[1] - '0'));
    return 3;
}

}  // namespace

std::string format_start_time(WallTime time, std::string_view format) {
    auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
    auto whole = std::chrono::floor<std::chrono::seconds>(since);
    auto seconds = static_cast<std::time_t>(whole.count());
    std::int64_t nanoseconds = (since - whole).count();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    if (format.empty()) {
        format = "%Y-%m-%dT%H:%M:%S.%3fZ";
    }
    std::string out;
    while (!format.empty()) {
        if (std::size_t taken = append_extension(format, nanoseconds, seconds, out)) {
            format.remove_prefix(taken);
            continue;
        }
        std::size_t length = format.front() == '%' && format.size() > 1 ? 2 : 1;
        std::string one(format.substr(0, length));
        std::array<char, 64> room{};
        std::size_t written =
            length == 1 ? 0 : std::strftime(room.data(), room.size(), one.c_str(), &parts);
        out += length == 1 ? one : std::string(room.data(), written);
        format.remove_prefix(length);
    }
    return out;
}

bool fill_header_text(const model::HeaderText& text,
                      const HeaderTextInput& input,
                      std::string& out) {
    out.clear();
    for (const Piece& piece : text.pieces) {
        append_piece(piece, input, out);
        if (out.size() > limits::header_text_bytes_max) {
            return false;
        }
    }
    return !out.empty();
}

}  // namespace orlop::decide
