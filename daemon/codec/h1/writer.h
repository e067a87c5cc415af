// Heads, chunks and answers written anew. Nothing received is ever copied as a whole: fields pass
// one by one, hop-by-hop ones are left out, and the framing is ours.
//
// All functions write into room supplied by the caller and allocate only to describe a failure:
// limit_exceeded when the room is too small (nothing useful was written), invalid_input when a
// given name or value could not be read back as what it was meant to be.
//
//     RequestRewrite how{.authority = head.authority, .path = normalised, .query = head.query};
//     Result<std::size_t> written = write_request_head(room, head, how);
#pragma once

#include "daemon/base/error.h"
#include "daemon/codec/field.h"
#include "daemon/codec/h1/body.h"
#include "daemon/codec/h1/head.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace orlop::h1 {

struct FieldEdit {
    enum class Kind : std::uint8_t {
        set,     // drops every field of that name, then writes one
        add,     // writes one more
        remove,  // drops every field of that name
        set_if_absent,
    };
    Kind kind = Kind::set;
    std::string_view name;
    std::string_view value;
};

struct RequestRewrite;

// The bytes of one head, field by field. Errors stick; finish() reports the first one.
class HeadWriter {
public:
    explicit HeadWriter(std::span<char> room) : room_(room) {}

    void request_line(std::string_view method, std::string_view target);
    void status_line(std::uint16_t status, std::string_view reason_phrase);
    void field(std::string_view name, std::string_view value);
    void field(std::string_view name, std::uint64_t value);
    void framing(Framing framing, std::uint64_t content_length);
    Result<std::size_t> finish();  // writes the empty line; returns the length of the head

private:
    friend class FieldCopy;
    friend Result<std::size_t>
    write_request_head(std::span<char>, const RequestHead&, const RequestRewrite&);
    void put(std::string_view text);
    void put_field(std::string_view name, std::string_view value);  // already known to be valid

    std::span<char> room_;
    std::size_t used_ = 0;
    bool overflow_ = false;
    std::string_view invalid_;  // the first thing that may not be written
};

enum class ConnectionFate : std::uint8_t { keep_alive, close };
enum class Upgrading : std::uint8_t { no, yes };  // pass Upgrade and Connection: upgrade on

struct RequestRewrite {
    std::string_view authority = {};  // written as Host; empty: that of the head
    std::string_view path = {};       // empty: that of the head
    std::string_view query = {};      // empty: that of the head, unless drop_query
    bool drop_query = false;
    std::string_view method = {};     // empty: that of the head
    Framing framing = Framing::none;  // set both from the head, or from a buffered body
    std::uint64_t content_length = 0;
    ConnectionFate connection = ConnectionFate::keep_alive;
    Upgrading upgrading = Upgrading::no;
    std::span<const FieldEdit> edits = {};
};
// Always HTTP/1.1, origin form ("*" for OPTIONS *, authority form for CONNECT), Host first.
// CONNECT takes the target from the authority and no framing. An authority is required, also for
// a request that came as HTTP/1.0 without Host.
Result<std::size_t>
write_request_head(std::span<char> room, const RequestHead& head, const RequestRewrite& how);

struct ResponseRewrite {
    // none: the body-less answers (HEAD keeps its Content-Length); until_close implies close.
    Framing framing = Framing::none;
    std::uint64_t content_length = 0;
    ConnectionFate connection = ConnectionFate::keep_alive;
    Upgrading upgrading = Upgrading::no;
    std::uint8_t peer_version_minor = 1;  // 0: never chunked; keep-alive is then spelled out
    std::span<const FieldEdit> edits = {};
};
// Chunked to a 1.0 peer is an error: choose until_close there.
Result<std::size_t>
write_response_head(std::span<char> room, const ResponseHead& head, const ResponseRewrite& how);

// One chunk on the wire is: chunk header, payload, chunk_crlf. The last is write_last_chunk.
inline constexpr std::size_t chunk_header_bytes_max = 18;  // 16 hex digits and CRLF
std::size_t write_chunk_header(std::span<char, chunk_header_bytes_max> room, std::uint64_t bytes);
Result<std::size_t> write_last_chunk(std::span<char> room, std::span<const Field> trailers);

// A complete answer of the proxy itself.
struct LocalReply {
    std::uint16_t status = 500;
    std::string_view body = {};  // text/plain; its length is announced also when not written (HEAD)
    std::span<const Field> fields = {};  // written besides content-type, content-length, connection
    ConnectionFate connection = ConnectionFate::keep_alive;
    Method request_method = Method::get;  // HEAD: head only
};
Result<std::size_t> write_local_reply(std::span<char> room, const LocalReply& reply);

std::string_view status_text(std::uint16_t status);  // "OK", ...; "Unknown" when not registered

}  // namespace orlop::h1
