// HTTP/2 messages said in HTTP/1.1 and back (RFC 9113 section 8, RFC 9112).
//
// The proxy's own form of a message is strict HTTP/1.1: there is one grammar, one parser and one
// reading. What an HTTP/2 peer may say beyond it (CONNECT, pseudo-headers that do not fit in a
// start line, a Host that contradicts :authority) is refused here, before anybody could read it
// twice. Pure functions; views of what a Lowered returns live as long as it and the head it was
// made from.
//
//     auto head = render_request(event, room);        // HTTP/2 -> HTTP/1.1
//     Lowered fields; auto line = fields.request(parsed, "http");   // HTTP/1.1 -> HTTP/2
#pragma once

#include "daemon/base/error.h"
#include "daemon/codec/h1/head.h"
#include "daemon/codec/h2/session.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace orlop::h2 {

// How the body that follows is written in HTTP/1.1.
struct RenderedHead {
    std::size_t size = 0;  // bytes written
    h1::Framing framing = h1::Framing::none;
};

// Room that suffices for the head.
std::size_t rendered_bytes_max(std::span<const Field> fields);
std::size_t rendered_bytes_max(const RequestEvent& request);

Result<RenderedHead> render_request(const RequestEvent& request, std::span<char> room);
// `request_method` decides whether a body may follow (RFC 9110 section 9.3.2).
Result<RenderedHead>
render_response(const ResponseEvent& response, h1::Method request_method, std::span<char> room);

// The fields of an HTTP/1.1 head as HTTP/2 wants them: lower case, without those of a connection.
class Lowered {
public:
    std::span<const Field> fields(const h1::MessageHead& head, const Field* extra = nullptr);
    // `scheme`: http or https. gRPC requests say that they take trailers.
    RequestLine request(const h1::RequestHead& head, std::string_view scheme);
    std::span<const Field> last() const { return fields_; }
    std::span<const Field> trailers(std::span<const Field> from);

private:
    void add(const Field& field);
    std::vector<char> names_;
    std::vector<Field> fields_;
};

}  // namespace orlop::h2
