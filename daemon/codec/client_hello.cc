#include "daemon/codec/client_hello.h"

#include "daemon/base/limits.h"

#include <cstdint>

namespace orlop::tls {
namespace {

constexpr std::size_t record_header_bytes = 5;
constexpr std::uint8_t handshake_record = 22;
constexpr std::uint8_t client_hello_message = 1;
constexpr std::size_t message_header_bytes = 4;
constexpr std::size_t name_bytes_max = 255;

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint8_t>(bytes[at]);
}

// Takes numbers and vectors from the front; once something is missing everything after is empty.
class Reader {
public:
    explicit Reader(std::string_view bytes) : left_(bytes) {}
    bool failed() const { return failed_; }
    bool empty() const { return left_.empty(); }
    std::string_view take(std::size_t size) {
        if (size > left_.size()) {
            failed_ = true;
            left_ = {};
            return {};
        }
        std::string_view out = left_.substr(0, size);
        left_.remove_prefix(size);
        return out;
    }
    std::size_t number(std::size_t width) {
        std::size_t value = 0;
        std::string_view bytes = take(width);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            value = value << 8 | byte_at(bytes, i);
        }
        return value;
    }
    // A vector whose length is written in `width` bytes before it.
    std::string_view vector(std::size_t width) { return take(number(width)); }

private:
    std::string_view left_;
    bool failed_ = false;
};

// RFC 6066 §3: a DNS name in ASCII without a last dot; others are treated as if none was sent.
std::string dns_name(std::string_view text) {
    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    std::string out;
    for (char c : text) {
        bool upper = c >= 'A' && c <= 'Z';
        bool known = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                     c == '_' || upper;
        if (!known) {
            return {};
        }
        out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out.size() > name_bytes_max ? std::string() : out;
}

bool read_server_name(std::string_view body, ClientHello& hello) {
    Reader list(Reader(body).vector(2));
    while (!list.empty()) {
        std::size_t kind = list.number(1);
        std::string_view name = list.vector(2);
        if (kind == 0 && hello.server_name.empty()) {
            hello.server_name = dns_name(name);
        }
    }
    return !list.failed();
}

bool read_alpn(std::string_view body, ClientHello& hello) {
    Reader list(Reader(body).vector(2));
    while (!list.empty()) {
        hello.alpn.emplace_back(list.vector(1));
    }
    return !list.failed();
}

bool read_hello(std::string_view body, ClientHello& hello) {
    Reader reader(body);
    reader.take(2 + 32);  // legacy version, random
    reader.vector(1);     // session
    reader.vector(2);     // cipher suites
    reader.vector(1);     // compression
    if (reader.failed()) {
        return false;
    }
    if (reader.empty()) {
        return true;  // an old client without extensions
    }
    Reader extensions(reader.vector(2));
    while (!extensions.empty()) {
        std::size_t kind = extensions.number(2);
        std::string_view extension = extensions.vector(2);
        constexpr std::size_t server_name_extension = 0;
        constexpr std::size_t alpn_extension = 16;
        bool good = kind == server_name_extension ? read_server_name(extension, hello)
                    : kind == alpn_extension      ? read_alpn(extension, hello)
                                                  : true;
        if (!good) {
            return false;
        }
    }
    return !extensions.failed() && !reader.failed();
}

ClientHello only(HelloState state) {
    ClientHello hello;
    hello.state = state;
    return hello;
}

}  // namespace

// The message may be spread over several records (RFC 8446 §5.1); they are joined here.
ClientHello look_at_client_hello(std::string_view input) {
    std::string message;
    while (true) {
        if (!input.empty() && byte_at(input, 0) != handshake_record) {
            return only(message.empty() ? HelloState::not_tls : HelloState::refused);
        }
        if (input.size() >= 2 && byte_at(input, 1) != 3) {
            return only(HelloState::not_tls);
        }
        if (input.size() < record_header_bytes) {
            return only(HelloState::need_more);
        }
        std::size_t size = std::size_t{byte_at(input, 3)} << 8 | byte_at(input, 4);
        if (size == 0 || message.size() + size > limits::tls_hello_bytes_max) {
            return only(HelloState::refused);
        }
        std::string_view body = input.substr(record_header_bytes, size);
        message += body;
        if (!message.empty() && byte_at(message, 0) != client_hello_message) {
            return only(HelloState::not_tls);
        }
        if (message.size() >= message_header_bytes) {
            Reader reader(message);
            reader.take(1);
            std::size_t length = reader.number(3);
            if (length > limits::tls_hello_bytes_max) {
                return only(HelloState::refused);
            }
            if (message.size() >= message_header_bytes + length) {
                ClientHello hello;
                bool good = read_hello(reader.take(length), hello);
                hello.state = good ? HelloState::complete : HelloState::refused;
                return hello;
            }
        }
        if (body.size() < size) {
            return only(HelloState::need_more);
        }
        input.remove_prefix(record_header_bytes + size);
    }
}

}  // namespace orlop::tls
