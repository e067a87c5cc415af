// gRPC over HTTP, as much as a proxy needs (gRPC "PROTOCOL-HTTP2"): which requests are calls, where
// messages begin and end in a body, and how an error is told without a body.
//
//     GrpcMessages seen; seen.feed(payload); seen.count();
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orlop::grpc {

// content-type application/grpc, also with + or ; behind it. grpc-web is another protocol.
bool is_call(std::string_view content_type);

// Counts length-prefixed messages as they pass; never looks inside, never holds anything up.
class GrpcMessages {
public:
    void feed(std::string_view payload);
    std::uint64_t count() const { return count_; }  // those that have ended

private:
    std::uint64_t count_ = 0;
    std::uint32_t prefix_bytes_ = 0;  // of the five read so far
    std::uint32_t left_ = 0;          // of the message, once its prefix is read
};

// What a reply made from an HTTP status is in gRPC ("HTTP to gRPC Status Code Mapping").
std::uint32_t status_of_http(std::uint16_t status);

// Value of grpc-message: printable ASCII stays, everything else and '%' becomes %XX.
std::string message_value(std::string_view text);

}  // namespace orlop::grpc
