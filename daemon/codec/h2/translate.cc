#include "daemon/codec/h2/translate.h"

#include "daemon/codec/grammar.h"
#include "daemon/codec/grpc.h"
#include "daemon/codec/h1/writer.h"
#include "daemon/codec/h2/state.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace orlop::h2 {
namespace {

// A part of a start line: anything that could end it or split it is refused.
bool fits_start_line(std::string_view text) {
    return !text.empty() && std::ranges::none_of(text, [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
    });
}

Error unsayable(std::string_view what) {
    return Error{ErrorKind::invalid_input,
                 "HTTP/2 message refused: " + std::string(what),
                 Side::downstream,
                 0};
}

// What each name of a head means, looked up once.
class Names {
public:
    static bool fit(std::span<const Field> fields) {
        return fields.size() <= limits::http_headers_max;
    }
    explicit Names(std::span<const Field> fields) {
        assert(fit(fields));
        for (std::size_t i = 0; i < fields.size(); ++i) {
            known_[i] = known_name(fields[i].name);
        }
    }
    Known operator[](std::size_t at) const { return known_[at]; }

private:
    std::array<Known, limits::http_headers_max> known_;  // filled as far as it is read
};

// The authority of a request: `host` may repeat it, never contradict it (RFC 9113 8.3.1).
Result<std::string_view> authority_of(const RequestEvent& request, const Names& names) {
    std::string_view authority = request.authority;
    for (std::size_t i = 0; i < request.fields.size(); ++i) {
        const Field& field = request.fields[i];
        if (names[i] != Known::host) {
            continue;
        }
        if (authority.empty()) {
            authority = field.value;
        } else if (!same_name(authority, field.value)) {
            return std::unexpected(unsayable(":authority and host differ"));
        }
    }
    if (!fits_start_line(authority)) {
        return std::unexpected(unsayable(":authority is missing or malformed"));
    }
    return authority;
}

// Cookie pairs may come in several fields and are one in HTTP/1.1 (RFC 9113 8.2.3).
void write_cookies(std::span<const Field> fields, h1::HeadWriter& writer) {
    std::string joined;
    for (const Field& field : fields) {
        if (known_name(field.name) == Known::cookie) {
            joined += joined.empty() ? "" : "; ";
            joined += field.value;
        }
    }
    if (!joined.empty()) {
        writer.field("cookie", joined);
    }
}

struct Written {
    bool has_length = false;
    std::size_t cookies = 0;
};

// A gRPC message is framed by chunks whatever it says of its length: they have room for trailers.
bool is_grpc(std::span<const Field> fields, const Names& names) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
        if (names[i] == Known::content_type && grpc::is_call(fields[i].value)) {
            return true;
        }
    }
    return false;
}

Written write_fields(std::span<const Field> fields, const Names& names, h1::HeadWriter& writer) {
    Written written;
    const bool any_length = !is_grpc(fields, names);
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const Field& field = fields[i];
        switch (names[i]) {
        case Known::host:
        case Known::te:
            break;
        case Known::cookie:
            ++written.cookies;
            break;
        case Known::content_length:
            if (!any_length) {
                break;
            }
            written.has_length = true;
            [[fallthrough]];
        default:
            writer.field(field.name, field.value);
        }
    }
    if (written.cookies != 0) {
        write_cookies(fields, writer);
    }
    return written;
}

h1::Framing body_framing(const Written& written, StreamEnd end) {
    return end == StreamEnd::ended ? h1::Framing::none
           : written.has_length    ? h1::Framing::length
                                   : h1::Framing::chunked;
}

Result<RenderedHead> finish(h1::HeadWriter& writer, h1::Framing framing) {
    if (framing == h1::Framing::chunked) {
        writer.framing(h1::Framing::chunked, 0);
    }
    auto size = writer.finish();
    if (!size) {
        return std::unexpected(size.error());
    }
    return RenderedHead{*size, framing};
}

}  // namespace

std::size_t rendered_bytes_max(std::span<const Field> fields) {
    std::size_t bytes = 128;  // start line, framing, empty line
    for (const Field& field : fields) {
        bytes += field.name.size() + field.value.size() + 4;
    }
    return bytes;
}

std::size_t rendered_bytes_max(const RequestEvent& request) {
    return rendered_bytes_max(request.fields) + request.method.size() + request.path.size() +
           request.authority.size();
}

Result<RenderedHead> render_request(const RequestEvent& request, std::span<char> room) {
    if (!Names::fit(request.fields)) {
        return std::unexpected(unsayable("more than http_headers_max fields"));
    }
    const Names names(request.fields);
    auto authority = authority_of(request, names);
    if (!authority) {
        return std::unexpected(authority.error());
    }
    if (request.method == "CONNECT" || !grammar::token(request.method)) {
        return std::unexpected(unsayable("CONNECT is not served here"));
    }
    if (request.scheme != "http" && request.scheme != "https") {
        return std::unexpected(unsayable(":scheme is neither http nor https"));
    }
    bool asterisk = request.method == "OPTIONS" && request.path == "*";
    if (!fits_start_line(request.path) || !(asterisk || request.path.starts_with('/'))) {
        return std::unexpected(unsayable(":path does not begin with a slash"));
    }
    h1::HeadWriter writer(room);
    writer.request_line(request.method, request.path);
    writer.field("host", *authority);
    Written written = write_fields(request.fields, names, writer);
    return finish(writer, body_framing(written, request.end));
}

Result<RenderedHead>
render_response(const ResponseEvent& response, h1::Method request_method, std::span<char> room) {
    if (response.status == 101) {
        return std::unexpected(unsayable("101 has no meaning in HTTP/2"));
    }
    if (!Names::fit(response.fields)) {
        return std::unexpected(unsayable("more than http_headers_max fields"));
    }
    h1::HeadWriter writer(room);
    writer.status_line(response.status, "");
    Written written = write_fields(response.fields, Names(response.fields), writer);
    bool bodyless = response.status < 200 || response.status == 204 || response.status == 304 ||
                    request_method == h1::Method::head;
    if (bodyless) {
        return finish(writer, h1::Framing::none);
    }
    if (response.end == StreamEnd::ended && !written.has_length) {
        writer.framing(h1::Framing::length, 0);
    }
    return finish(writer, body_framing(written, response.end));
}

// --- HTTP/1.1 to HTTP/2 ---

void Lowered::add(const Field& field) {
    std::size_t at = names_.size();
    for (char c : field.name) {
        names_.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    }
    fields_.push_back({std::string_view(names_.data() + at, field.name.size()), field.value});
}

std::span<const Field> Lowered::fields(const h1::MessageHead& head, const Field* extra) {
    names_.clear();
    fields_.clear();
    // Views into names_ must hold while it fills.
    std::size_t bytes = 0;
    for (const Field& field : head.fields) {
        bytes += field.name.size();
    }
    names_.reserve(bytes);
    for (std::size_t i = 0; i < head.fields.count; ++i) {
        const Field& field = head.fields.items[i];
        Known known = head.fields.known[i];
        bool ours = known == Known::host || known == Known::te || known == Known::http2_settings;
        if (!ours && !connection_specific_known(known)) {
            add(field);
        }
    }
    if (extra != nullptr) {
        fields_.push_back(*extra);
    }
    return fields_;
}

RequestLine Lowered::request(const h1::RequestHead& head, std::string_view scheme) {
    static constexpr Field te{"te", "trailers"};
    bool grpc = grpc::is_call(head.fields.value(Known::content_type));
    (void)fields(head, grpc ? &te : nullptr);
    return {head.method, scheme, head.authority, head.target};
}

std::span<const Field> Lowered::trailers(std::span<const Field> from) {
    names_.clear();
    fields_.clear();
    std::size_t bytes = 0;
    for (const Field& field : from) {
        bytes += field.name.size();
    }
    names_.reserve(bytes);
    for (const Field& field : from) {
        add(field);
    }
    return fields_;
}

}  // namespace orlop::h2
