// Messages of an HTTP/2 peer said in HTTP/1.1: what is rendered is one whole head for the strict
// parser, never less and never more, and says the same when it is lowered again.
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h2/translate.h"

#include <cstdlib>
#include <string>
#include <vector>

namespace orlop {
namespace {

// Pieces of the input: each ends at a zero byte.
class Pieces {
public:
    explicit Pieces(std::string_view bytes) : rest_(bytes) {}
    bool empty() const { return rest_.empty(); }
    std::string_view next() {
        auto end = rest_.find('\0');
        auto piece = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        return piece;
    }

private:
    std::string_view rest_;
};

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

std::vector<Field> fields_of(Pieces& pieces) {
    std::vector<Field> fields;
    while (!pieces.empty() && fields.size() < 64) {
        std::string_view name = pieces.next();
        fields.push_back({name, pieces.next()});
    }
    return fields;
}

// The session hands out only what nghttp2 lets through: lower-case tokens and clean values.
bool passes_nghttp2(const std::vector<Field>& fields) {
    for (const Field& field : fields) {
        if (field.name.empty() ||
            field.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") !=
                std::string_view::npos) {
            return false;
        }
        for (char c : field.value) {
            auto byte = static_cast<unsigned char>(c);
            if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
                return false;
            }
        }
    }
    return true;
}

void request(Pieces pieces, h2::StreamEnd end) {
    h2::RequestEvent event;
    event.method = pieces.next();
    event.authority = pieces.next();
    event.scheme = pieces.next();
    event.path = pieces.next();
    auto fields = fields_of(pieces);
    if (!passes_nghttp2(fields)) {
        return;
    }
    event.fields = fields;
    event.end = end;
    std::vector<char> room(h2::rendered_bytes_max(event));
    auto rendered = h2::render_request(event, room);
    if (!rendered) {
        return;
    }
    std::string_view text(room.data(), rendered->size);
    h1::RequestHead head;
    h1::HeadScan scan;
    auto parsed = h1::parse_request_head(text, head, scan);
    if (parsed.state == h1::ParseState::refused) {
        return;  // told to the peer; nobody else reads it
    }
    expect(parsed.state == h1::ParseState::complete && parsed.consumed == text.size());
    expect(head.method == event.method && head.target == event.path);
    h2::Lowered lowered;
    auto line = lowered.request(head, "http");
    expect(line.method == event.method && line.path == event.path);
}

void response(Pieces pieces, h2::StreamEnd end) {
    std::string_view number = pieces.next();
    h2::ResponseEvent event;
    for (char c : number.substr(0, 3)) {
        event.status = static_cast<std::uint16_t>(event.status * 10 + (c & 7));
    }
    if (event.status < 100 || event.status > 599) {
        return;
    }
    auto fields = fields_of(pieces);
    if (!passes_nghttp2(fields)) {
        return;
    }
    event.fields = fields;
    event.end = end;
    std::vector<char> room(h2::rendered_bytes_max(event.fields));
    auto rendered = h2::render_response(event, h1::Method::get, room);
    if (!rendered) {
        return;
    }
    std::string_view text(room.data(), rendered->size);
    h1::ResponseHead head;
    h1::HeadScan scan;
    auto parsed = h1::parse_response_head(text, {h1::Method::get, false}, head, scan);
    expect(parsed.state != h1::ParseState::need_more);
    if (parsed.state == h1::ParseState::complete) {
        expect(parsed.consumed == text.size() && head.status == event.status);
    }
}

}  // namespace
}  // namespace orlop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) {
        return 0;
    }
    std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
    auto end = (data[0] & 1U) != 0 ? orlop::h2::StreamEnd::ended : orlop::h2::StreamEnd::open;
    if ((data[0] & 2U) != 0) {
        orlop::request(orlop::Pieces(bytes), end);
    } else {
        orlop::response(orlop::Pieces(bytes), end);
    }
    return 0;
}
