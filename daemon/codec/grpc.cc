#include "daemon/codec/grpc.h"

#include "daemon/codec/field.h"

#include <algorithm>

namespace orlop::grpc {
namespace {

constexpr std::uint32_t prefix_size = 5;  // a flag, and four bytes of length

}  // namespace

bool is_call(std::string_view content_type) {
    constexpr std::string_view name = "application/grpc";
    if (content_type.size() < name.size() ||
        !same_name(content_type.substr(0, name.size()), name)) {
        return false;
    }
    std::string_view rest = content_type.substr(name.size());
    return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

void GrpcMessages::feed(std::string_view payload) {
    while (!payload.empty()) {
        if (prefix_bytes_ < prefix_size) {
            if (prefix_bytes_ != 0) {
                left_ = (left_ << 8U) | static_cast<unsigned char>(payload.front());
            }
            ++prefix_bytes_;
            payload.remove_prefix(1);
        } else {
            auto taken = std::min<std::size_t>(left_, payload.size());
            left_ -= static_cast<std::uint32_t>(taken);
            payload.remove_prefix(taken);
        }
        if (prefix_bytes_ == prefix_size && left_ == 0) {
            ++count_;
            prefix_bytes_ = 0;
        }
    }
}

std::uint32_t status_of_http(std::uint16_t status) {
    switch (status) {
    case 400:
        return 13;
    case 401:
        return 16;
    case 403:
        return 7;
    case 404:
        return 12;
    case 429:
    case 502:
    case 503:
    case 504:
        return 14;
    default:
        return 2;
    }
}

std::string message_value(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        if (byte >= ' ' && byte <= '~' && c != '%') {
            out += c;
        } else {
            out += '%';
            out += digits[byte >> 4U];
            out += digits[byte & 15U];
        }
    }
    return out;
}

}  // namespace orlop::grpc
