#include "daemon/codec/h1/writer.h"

#include "daemon/codec/grammar.h"
#include "daemon/codec/uri.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

namespace orlop::h1 {
namespace {

constexpr std::size_t decimal_digits_max = 20;

// Never copied: they speak about one connection, or are written by us from what was understood.
bool rewritten(Known known) {
    switch (known) {
    case Known::host:
    case Known::connection:
    case Known::content_length:
    case Known::transfer_encoding:
    case Known::te:
    case Known::keep_alive:
    case Known::proxy_connection:
    case Known::http2_settings:
        return true;
    default:
        return false;
    }
}

bool nominated(const FieldList& fields, std::string_view name) {
    for (std::size_t i = 0; i < fields.count; ++i) {
        if (fields.known[i] != Known::connection) {
            continue;
        }
        grammar::ListReader options(fields.items[i].value);
        std::string_view option;
        while (options.next(option)) {
            if (same_name(option, name)) {
                return true;
            }
        }
    }
    return false;
}

bool valid_target(std::string_view target) {
    return grammar::all(target, grammar::target_bit);
}

}  // namespace

// Passes the end-to-end fields of one received head on, with the edits applied.
class FieldCopy {
public:
    FieldCopy(HeadWriter& writer, const MessageHead& head, std::span<const FieldEdit> edits)
        : writer_(writer), head_(head), edits_(edits) {}

    void run(Framing framing, Upgrading upgrading) {
        const FieldList& fields = head_.fields;
        for (std::size_t i = 0; i < fields.count; ++i) {
            const Known known = fields.known[i];
            const bool skipped =
                rewritten(known) || (known == Known::upgrade && upgrading == Upgrading::no) ||
                (known == Known::trailer && framing != Framing::chunked) ||
                (known == Known::expect && head_.version_minor == 0) ||  // means nothing in 1.0
                edited_away(fields.items[i].name) ||
                (head_.connection_names_fields && known == Known::none &&
                 nominated(fields, fields.items[i].name));
            if (!skipped) {
                writer_.put_field(fields.items[i].name, fields.items[i].value);
            }
        }
        for (const FieldEdit& edit : edits_) {
            write_edit(edit);
        }
    }

    void connection(ConnectionFate fate, Upgrading upgrading, std::string_view extra) {
        std::array<std::string_view, 3> options = {fate == ConnectionFate::close ? "close" : "",
                                                   upgrading == Upgrading::yes ? "upgrade" : "",
                                                   extra};
        std::string_view separator = "connection: ";
        for (const std::string_view option : options) {
            if (!option.empty()) {
                writer_.put(separator);
                writer_.put(option);
                separator = ", ";
            }
        }
        if (separator == ", ") {
            writer_.put("\r\n");
        }
    }

private:
    bool edited_away(std::string_view name) const {
        for (const FieldEdit& edit : edits_) {
            const bool drops =
                edit.kind == FieldEdit::Kind::set || edit.kind == FieldEdit::Kind::remove;
            if (drops && same_name(edit.name, name)) {
                return true;
            }
        }
        return false;
    }

    void write_edit(const FieldEdit& edit) {
        const bool absent_wanted = edit.kind == FieldEdit::Kind::set_if_absent;
        if (edit.kind == FieldEdit::Kind::remove ||
            (absent_wanted && head_.fields.find(edit.name) != nullptr)) {
            return;
        }
        if (rewritten(known_name(edit.name))) {
            writer_.invalid_ = edit.name;  // framing and connection fields are ours alone
            return;
        }
        writer_.field(edit.name, edit.value);
    }

    HeadWriter& writer_;
    const MessageHead& head_;
    std::span<const FieldEdit> edits_;
};

void HeadWriter::put(std::string_view text) {
    if (text.size() > room_.size() - used_) {
        overflow_ = true;
        return;
    }
    if (!text.empty()) {
        std::memcpy(room_.data() + used_, text.data(), text.size());
        used_ += text.size();
    }
}

void HeadWriter::put_field(std::string_view name, std::string_view value) {
    const std::size_t bytes = name.size() + value.size() + 4;
    if (bytes > room_.size() - used_ || overflow_) {
        overflow_ = true;
        return;
    }
    char* at = room_.data() + used_;
    std::memcpy(at, name.data(), name.size());
    at += name.size();
    *at++ = ':';
    *at++ = ' ';
    if (!value.empty()) {
        std::memcpy(at, value.data(), value.size());
        at += value.size();
    }
    *at++ = '\r';
    *at = '\n';
    used_ += bytes;
}

void HeadWriter::request_line(std::string_view method, std::string_view target) {
    if (!grammar::token(method)) {
        invalid_ = "method";
    } else if (target.empty() || !valid_target(target)) {
        invalid_ = "target";
    }
    put(method);
    put(" ");
    put(target);
    put(" HTTP/1.1\r\n");
}

void HeadWriter::status_line(std::uint16_t status, std::string_view reason_phrase) {
    if (status < 100 || status > 599 || !grammar::valid_value(reason_phrase)) {
        invalid_ = "status line";
        return;
    }
    const std::array<char, 4> digits = {static_cast<char>('0' + status / 100),
                                        static_cast<char>('0' + status / 10 % 10),
                                        static_cast<char>('0' + status % 10),
                                        ' '};
    put("HTTP/1.1 ");
    put({digits.data(), digits.size()});
    put(reason_phrase);
    put("\r\n");
}

void HeadWriter::field(std::string_view name, std::string_view value) {
    if (!grammar::token(name) || !grammar::valid_value(value)) {
        invalid_ = name.empty() ? std::string_view("empty field name") : name;
        return;
    }
    put_field(name, grammar::trim(value));
}

void HeadWriter::field(std::string_view name, std::uint64_t value) {
    std::array<char, decimal_digits_max> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    field(name, std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

void HeadWriter::framing(Framing framing, std::uint64_t content_length) {
    if (framing == Framing::length) {
        field("content-length", content_length);
    } else if (framing == Framing::chunked) {
        put_field("transfer-encoding", "chunked");
    }
}

Result<std::size_t> HeadWriter::finish() {
    put("\r\n");
    if (!invalid_.empty()) {
        return fail(ErrorKind::invalid_input,
                    "head not written: bad " + std::string(invalid_.substr(0, 64)) +
                        "; check the configured header operations");
    }
    if (overflow_) {
        return fail(ErrorKind::limit_exceeded,
                    "head does not fit its buffer of " + std::to_string(room_.size()) +
                        " bytes; check http_head_bytes_max and added headers");
    }
    return used_;
}

Result<std::size_t>
write_request_head(std::span<char> room, const RequestHead& head, const RequestRewrite& how) {
    HeadWriter writer(room);
    FieldCopy copy(writer, head, how.edits);
    const std::string_view method = how.method.empty() ? head.method : how.method;
    const std::string_view authority = how.authority.empty() ? head.authority : how.authority;
    const bool connect = method == "CONNECT";
    if (!uri::split_host_port(authority)) {  // also when 1.0 named none: HTTP/1.1 has to
        return fail(ErrorKind::invalid_input,
                    "request not written: authority '" + std::string(authority.substr(0, 64)) +
                        "' is not host[:port]");
    }
    if (connect) {
        writer.request_line(method, authority);
    } else {
        // Built in place, since path and query are views of different buffers.
        const bool own_query = !how.query.empty() || how.drop_query;
        const std::string_view path = how.path.empty() ? head.path : how.path;
        const std::string_view query = own_query ? how.query : head.query;
        const bool has_query = !query.empty() || (head.has_query && !own_query);
        if (path.empty() || !grammar::token(method) || !valid_target(path) ||
            path.find('?') != std::string_view::npos || !valid_target(query)) {
            return fail(ErrorKind::invalid_input,
                        "request not written: bad method, path or query; check the rewrite rule");
        }
        writer.put(method);
        writer.put(" ");
        writer.put(path);
        writer.put(has_query ? "?" : "");
        writer.put(query);
        writer.put(" HTTP/1.1\r\n");
    }
    writer.field("host", authority);
    const Upgrading upgrading =
        how.upgrading == Upgrading::yes && head.upgrade_requested ? Upgrading::yes : Upgrading::no;
    copy.run(how.framing, upgrading);
    if (head.te_trailers && !connect) {
        writer.field("te", "trailers");
    }
    if (how.framing == Framing::until_close) {
        return fail(ErrorKind::invalid_input,
                    "request not written: requests cannot be framed by closing");
    }
    if (!connect) {
        writer.framing(how.framing, how.content_length);
    }
    copy.connection(how.connection, upgrading, head.te_trailers && !connect ? "te" : "");
    return writer.finish();
}

Result<std::size_t>
write_response_head(std::span<char> room, const ResponseHead& head, const ResponseRewrite& how) {
    if (how.framing == Framing::chunked && how.peer_version_minor == 0) {
        return fail(ErrorKind::invalid_input,
                    "response not written: chunked to an HTTP/1.0 peer; use until_close");
    }
    HeadWriter writer(room);
    FieldCopy copy(writer, head, how.edits);
    const Upgrading upgrading =
        how.upgrading == Upgrading::yes && head.upgrade_requested ? Upgrading::yes : Upgrading::no;
    writer.status_line(head.status, head.reason_phrase);
    copy.run(how.framing, upgrading);
    const bool may_announce = head.status >= 200 && head.status != 204 && !head.switches_protocol;
    if (how.framing == Framing::none && head.has_content_length && may_announce) {
        writer.field("content-length", head.content_length);  // what GET would have brought
    } else if (may_announce) {
        writer.framing(how.framing, how.content_length);
    }
    const bool closing =
        how.connection == ConnectionFate::close || how.framing == Framing::until_close;
    const bool spell_keep_alive = !closing && how.peer_version_minor == 0;
    copy.connection(closing && !head.interim ? ConnectionFate::close : ConnectionFate::keep_alive,
                    upgrading,
                    spell_keep_alive ? "keep-alive" : "");
    return writer.finish();
}

std::size_t write_chunk_header(std::span<char, chunk_header_bytes_max> room, std::uint64_t bytes) {
    char* end = std::to_chars(room.data(), room.data() + room.size() - 2, bytes, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    return static_cast<std::size_t>(end - room.data());
}

Result<std::size_t> write_last_chunk(std::span<char> room, std::span<const Field> trailers) {
    constexpr std::string_view last = "0\r\n";
    if (room.size() < last.size()) {
        return fail(ErrorKind::limit_exceeded, "last chunk does not fit its buffer");
    }
    std::memcpy(room.data(), last.data(), last.size());
    HeadWriter writer(room.subspan(last.size()));
    for (const Field& trailer : trailers) {
        writer.field(trailer.name, trailer.value);
    }
    Result<std::size_t> written = writer.finish();
    if (written) {
        *written += last.size();
    }
    return written;
}

Result<std::size_t> write_local_reply(std::span<char> room, const LocalReply& reply) {
    HeadWriter writer(room);
    writer.status_line(reply.status, status_text(reply.status));
    for (const Field& field : reply.fields) {
        writer.field(field.name, field.value);
    }
    const bool bodyless = reply.status < 200 || reply.status == 204 || reply.status == 304;
    if (!bodyless) {
        if (!reply.body.empty()) {
            writer.field("content-type", "text/plain");
        }
        writer.field("content-length", reply.body.size());
    }
    if (reply.connection == ConnectionFate::close) {
        writer.field("connection", "close");
    }
    Result<std::size_t> written = writer.finish();
    if (!written || bodyless || reply.request_method == Method::head || reply.body.empty()) {
        return written;
    }
    if (reply.body.size() > room.size() - *written) {
        return fail(ErrorKind::limit_exceeded, "local reply does not fit its buffer");
    }
    std::memcpy(room.data() + *written, reply.body.data(), reply.body.size());
    return *written + reply.body.size();
}

}  // namespace orlop::h1
