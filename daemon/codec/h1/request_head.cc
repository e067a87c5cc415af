// Request heads: RFC 9112 sections 2, 3 and 6.
#include "daemon/base/limits.h"
#include "daemon/codec/grammar.h"
#include "daemon/codec/h1/fields.h"
#include "daemon/codec/h1/head.h"
#include "daemon/codec/uri.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace orlop::h1 {
namespace {

constexpr std::string_view version_prefix = "HTTP/1.";
constexpr std::size_t version_bytes = 8;

void reset(RequestHead& out) {
    out.fields.clear();
    out.framing = Framing::none;
    out.content_length = 0;
    out.has_content_length = false;
    out.version_minor = 1;
    out.keep_alive = true;
    out.upgrade_requested = false;
    out.te_trailers = false;
    out.connection_names_fields = false;
    out.form = TargetForm::origin;
    out.path = {};
    out.query = {};
    out.has_query = false;
    out.scheme = {};
    out.authority = {};
    out.expect_continue = false;
}

// `line` does not end in " HTTP/1.0" or " HTTP/1.1": name the kind of mismatch.
Reason bad_request_line(std::string_view line) {
    if (line == "PRI * HTTP/2.0") {
        return Reason::http_2_preface;
    }
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || !grammar::token(line.substr(0, space))) {
        return Reason::bad_method;
    }
    const std::string_view rest = line.substr(space + 1);
    const std::size_t second = rest.find(' ');
    if (second == std::string_view::npos) {
        return rest.empty() ? Reason::malformed_request_line : Reason::http_0_9;
    }
    const std::string_view version = rest.substr(second + 1);
    const bool version_shape = version.size() == version_bytes && version.substr(0, 5) == "HTTP/" &&
                               version[6] == '.' && grammar::is(version[5], grammar::digit_bit) &&
                               grammar::is(version[7], grammar::digit_bit);
    return version_shape ? Reason::unsupported_version : Reason::malformed_request_line;
}

void split_query(std::string_view path_and_query, RequestHead& out) {
    const std::size_t mark = path_and_query.find('?');
    out.path = path_and_query.substr(0, mark);
    out.has_query = mark != std::string_view::npos;
    out.query = out.has_query ? path_and_query.substr(mark + 1) : std::string_view();
}

Reason parse_absolute_target(RequestHead& out) {
    const std::size_t colon = out.target.find("://");
    if (colon == std::string_view::npos) {
        return Reason::bad_target_form;
    }
    out.scheme = out.target.substr(0, colon);
    if (!same_name(out.scheme, "http") && !same_name(out.scheme, "https")) {
        return Reason::bad_target_form;
    }
    out.form = TargetForm::absolute;
    const std::string_view rest = out.target.substr(colon + 3);
    const std::size_t authority_end = rest.find_first_of("/?");
    out.authority = rest.substr(0, authority_end);
    if (!uri::split_host_port(out.authority)) {
        return Reason::bad_authority;
    }
    if (authority_end != std::string_view::npos) {
        split_query(rest.substr(authority_end), out);
    }
    if (out.path.empty()) {
        // RFC 9112 section 3.2.4: OPTIONS without path is the asterisk form of that server.
        out.path = out.method_kind == Method::options && !out.has_query ? "*" : "/";
    }
    return Reason::none;
}

Reason parse_target(RequestHead& out) {
    if (!grammar::all(out.target, grammar::target_bit)) [[unlikely]] {
        const auto bad = [](char c) { return !grammar::is(c, grammar::target_bit); };
        const bool fragment = *std::ranges::find_if(out.target, bad) == '#';
        return fragment ? Reason::fragment_in_target : Reason::bad_target_byte;
    }
    if (out.target.empty()) {
        return Reason::malformed_request_line;
    }
    if (out.method_kind == Method::connect) {
        const auto authority = uri::split_host_port(out.target);
        if (!authority || authority->port == 0) {
            return Reason::bad_authority;
        }
        out.form = TargetForm::authority;
        out.authority = out.target;
        return Reason::none;
    }
    if (out.target.front() == '/') {
        split_query(out.target, out);
        return Reason::none;
    }
    if (out.target == "*") {
        if (out.method_kind != Method::options) {
            return Reason::bad_target_form;
        }
        out.form = TargetForm::asterisk;
        out.path = out.target;
        return Reason::none;
    }
    return parse_absolute_target(out);
}

Reason parse_request_line(std::string_view line, const RequestOptions& options, RequestHead& out) {
    if (line.size() > limits::http_request_line_bytes_max) {
        return Reason::target_too_long;
    }
    const std::size_t size = line.size();
    const bool version_known =
        size > version_bytes && line[size - version_bytes - 1] == ' ' &&
        line.substr(size - version_bytes, version_prefix.size()) == version_prefix &&
        (line[size - 1] == '1' || line[size - 1] == '0');
    if (!version_known) {
        return bad_request_line(line);
    }
    out.version_minor = static_cast<std::uint8_t>(line[size - 1] - '0');
    const std::string_view request = line.substr(0, size - version_bytes - 1);
    const std::size_t space = request.find(' ');
    out.method = request.substr(0, space);
    if (!grammar::token(out.method)) {
        return Reason::bad_method;
    }
    if (space == std::string_view::npos) {
        return Reason::malformed_request_line;
    }
    out.method_kind = method_of(out.method);
    out.target = request.substr(space + 1);
    const Reason reason = parse_target(out);
    if (reason != Reason::none) {
        return reason;
    }
    const bool too_old = out.version_minor == 0 && options.http10 == Http10::refuse;
    return too_old ? Reason::http_1_0 : Reason::none;
}

Reason settle_host(RequestHead& out, const Gathered& gathered) {
    if (gathered.hosts > 1) {
        return Reason::repeated_host;
    }
    if (gathered.hosts == 0) {
        return out.version_minor == 1 ? Reason::missing_host : Reason::none;
    }
    const std::string_view host = out.fields.value(Known::host);
    if (!uri::split_host_port(host)) {
        return Reason::bad_host;
    }
    // RFC 9112 section 3.2.2: the authority of the target replaces a Host that disagrees.
    if (out.form == TargetForm::origin || out.form == TargetForm::asterisk) {
        out.authority = host;
    }
    return Reason::none;
}

Reason settle(RequestHead& out, const Gathered& gathered) {
    Reason reason = settle_connection(out, gathered);
    if (reason == Reason::none) {
        reason = settle_host(out, gathered);
    }
    if (reason != Reason::none) {
        return reason;
    }
    if (gathered.transfer_encoding) {
        out.framing = Framing::chunked;
    } else if (out.has_content_length) {
        out.framing = Framing::length;
    }
    const bool bodyless = out.method_kind == Method::connect || out.method_kind == Method::trace;
    if (bodyless && out.framing != Framing::none) {
        return Reason::framing_on_bodyless_status;
    }
    if (gathered.expect && out.version_minor == 1) {  // section 10.1.1: ignored from 1.0
        if (!same_name(out.fields.value(Known::expect), "100-continue")) {
            return Reason::bad_expectation;
        }
        out.expect_continue = out.framing != Framing::none;
    }
    return Reason::none;
}

// Bytes that can never become a request are refused before the first line is complete.
bool hopeless(std::string_view buffer) {
    return !buffer.empty() && buffer[0] != '\r' && !grammar::is(buffer[0], grammar::token_bit);
}

ParseResult incomplete_request(std::string_view buffer, HeadScan& scan) {
    const bool first_line_too_long =
        buffer.size() > limits::http_request_line_bytes_max + 2 &&
        std::memchr(buffer.data(), '\n', limits::http_request_line_bytes_max + 2) == nullptr;
    if (first_line_too_long) {
        return refused(Reason::target_too_long);
    }
    return incomplete(buffer, scan);
}

}  // namespace

Method method_of(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, Method>, 9> methods = {{
        {"GET", Method::get},
        {"POST", Method::post},
        {"HEAD", Method::head},
        {"PUT", Method::put},
        {"DELETE", Method::del},
        {"OPTIONS", Method::options},
        {"PATCH", Method::patch},
        {"CONNECT", Method::connect},
        {"TRACE", Method::trace},
    }};
    for (const auto& [name, method] : methods) {
        if (name == text) {
            return method;
        }
    }
    return Method::other;
}

ParseResult parse_request_head(std::string_view buffer,
                               RequestHead& out,
                               HeadScan& scan,
                               const RequestOptions& options) {
    if (hopeless(buffer)) {
        return refused(Reason::bad_method);
    }
    if (!worth_parsing(buffer, scan)) {
        return incomplete_request(buffer, scan);
    }
    reset(out);
    LineCursor cursor{buffer, 0};
    if (buffer.starts_with("\r\n")) {
        cursor.at = 2;  // RFC 9112 section 2.2: one empty line before the request line is ignored
    }
    std::string_view line;
    Reason reason = Reason::none;
    switch (cursor.next(line, reason)) {
    case LineCursor::Got::incomplete:
        return incomplete_request(buffer, scan);
    case LineCursor::Got::refused:
        return refused(reason);
    case LineCursor::Got::line:
        reason = parse_request_line(line, options, out);
        break;
    }
    if (reason != Reason::none) {
        return refused(reason);
    }
    Gathered gathered;
    const ParseResult fields = parse_fields(cursor, out, gathered);
    if (fields.state == ParseState::need_more) {
        return incomplete_request(buffer, scan);
    }
    if (fields.state == ParseState::complete) {
        reason = settle(out, gathered);
        if (reason != Reason::none) {
            return refused(reason);
        }
    }
    return fields;
}

Looks look_at_first_bytes(std::string_view bytes) {
    static constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const std::string_view head = bytes.substr(0, preface.size());
    if (preface.starts_with(head)) {
        return head.size() == preface.size() ? Looks::http2 : Looks::undecided;
    }
    // A method, a space, and the beginning of a target. Methods beyond 20 bytes are not expected
    // by anyone who asks; upper case tells HTTP from most line-based protocols.
    std::size_t at = 0;
    while (at < head.size() && ((head[at] >= 'A' && head[at] <= 'Z') || head[at] == '-')) {
        ++at;
    }
    if (at == head.size()) {
        return at < preface.size() ? Looks::undecided : Looks::other;
    }
    if (at < 3 || head[at] != ' ') {
        return Looks::other;
    }
    if (at + 1 == head.size()) {
        return at + 1 < preface.size() ? Looks::undecided : Looks::other;
    }
    const char first = head[at + 1];
    const bool target_begins =
        first == '/' || first == '*' || grammar::is(first, grammar::host_bit) || first == '[';
    if (!target_begins) {
        return Looks::other;
    }
    // Line protocols in upper case ("HELO name", "USER x") pass so far: wait for the next bytes
    // only when the target is not a path.
    return first == '/' || method_of(head.substr(0, at)) != Method::other ? Looks::http1
                                                                          : Looks::other;
}

}  // namespace orlop::h1
