#include "daemon/base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace orlop {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::uint64_t load64(const std::uint8_t* from) {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

std::uint64_t mix(std::uint64_t value) {  // finaliser of splitmix64
    value ^= value >> 30;
    value *= 0xbf58476d1ce4e5b9ULL;
    value ^= value >> 27;
    value *= 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

Result<int> parse_number(std::string_view text, int max, std::string_view what) {
    int value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || text.size() > 5 || error != std::errc() ||
        end != text.data() + text.size() || value < 0 || value > max) {
        return fail(ErrorKind::invalid_input,
                    std::string(what) + " must be a number from 0 to " + std::to_string(max));
    }
    return value;
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
    char buffer[INET6_ADDRSTRLEN + 1] = {};
    if (text.empty() || text.size() >= sizeof buffer || text.find('\0') != std::string_view::npos) {
        return fail(ErrorKind::invalid_input, "not an IP address: '" + std::string(text) + "'");
    }
    std::copy(text.begin(), text.end(), buffer);
    in_addr four{};
    if (inet_pton(AF_INET, buffer, &four) == 1) {
        return v4(ntohl(four.s_addr));
    }
    std::array<std::uint8_t, 16> six{};
    if (inet_pton(AF_INET6, buffer, six.data()) == 1) {
        return v6(six);
    }
    return fail(ErrorKind::invalid_input, "not an IP address: '" + std::string(text) + "'");
}

IpAddress IpAddress::v4(std::uint32_t host_order) {
    IpAddress out;
    std::copy(mapped_prefix.begin(), mapped_prefix.end(), out.bytes_.begin());
    for (int i = 0; i < 4; ++i) {
        out.bytes_[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    }
    return out;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& network_order) {
    IpAddress out;
    out.bytes_ = network_order;
    return out;
}

bool IpAddress::is_v4() const {
    return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin());
}

bool IpAddress::is_loopback() const {
    if (is_v4()) {
        return bytes_[12] == 127;
    }
    return std::all_of(bytes_.begin(), bytes_.begin() + 15, [](auto b) { return b == 0; }) &&
           bytes_[15] == 1;
}

bool IpAddress::is_unspecified() const {
    if (is_v4()) {
        return to_v4() == 0;
    }
    return *this == IpAddress();
}

std::uint32_t IpAddress::to_v4() const {
    return (std::uint32_t{bytes_[12]} << 24) | (std::uint32_t{bytes_[13]} << 16) |
           (std::uint32_t{bytes_[14]} << 8) | bytes_[15];
}

std::string IpAddress::to_string() const {
    char buffer[INET6_ADDRSTRLEN] = {};
    if (is_v4()) {
        inet_ntop(AF_INET, bytes_.data() + 12, buffer, sizeof buffer);
    } else {
        inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof buffer);
    }
    return buffer;
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
    auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return fail(ErrorKind::invalid_input,
                    "expected address:port, got '" + std::string(text) + "'");
    }
    std::string_view host = text.substr(0, colon);
    bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    auto ip = IpAddress::parse(host);
    if (!ip) {
        return std::unexpected(ip.error());
    }
    if (!bracketed && host.find(':') != std::string_view::npos) {
        return fail(ErrorKind::invalid_input, "an IPv6 address needs brackets: [addr]:port");
    }
    auto port = parse_number(text.substr(colon + 1), 65535, "port");
    if (!port) {
        return std::unexpected(port.error());
    }
    return SocketAddress{*ip, static_cast<std::uint16_t>(*port)};
}

SocketAddress SocketAddress::from_sockaddr(const sockaddr* address) {
    SocketAddress out;
    if (address->sa_family == AF_INET) {
        auto* in = reinterpret_cast<const sockaddr_in*>(address);
        out = {IpAddress::v4(ntohl(in->sin_addr.s_addr)), ntohs(in->sin_port)};
    } else if (address->sa_family == AF_INET6) {
        auto* in = reinterpret_cast<const sockaddr_in6*>(address);
        std::array<std::uint8_t, 16> bytes;
        std::memcpy(bytes.data(), &in->sin6_addr, 16);
        out = {IpAddress::v6(bytes), ntohs(in->sin6_port)};
    }
    return out;
}

unsigned SocketAddress::to_sockaddr(sockaddr_storage& out) const {
    std::memset(&out, 0, sizeof out);
    if (ip.is_v4()) {
        auto* in = reinterpret_cast<sockaddr_in*>(&out);
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        in->sin_addr.s_addr = htonl(ip.to_v4());
        return sizeof(sockaddr_in);
    }
    auto* in = reinterpret_cast<sockaddr_in6*>(&out);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    std::memcpy(&in->sin6_addr, ip.bytes().data(), 16);
    return sizeof(sockaddr_in6);
}

std::string SocketAddress::to_string() const {
    std::string host = ip.to_string();
    if (!ip.is_v4()) {
        host = "[" + host + "]";
    }
    return host + ":" + std::to_string(port);
}

Result<Cidr> Cidr::parse(std::string_view text) {
    auto slash = text.find('/');
    auto ip = IpAddress::parse(text.substr(0, slash));
    if (!ip) {
        return std::unexpected(ip.error());
    }
    Cidr out;
    out.base_ = *ip;
    int max = ip->is_v4() ? 32 : 128;
    out.prefix_length_ = max;
    if (slash != std::string_view::npos) {
        auto length = parse_number(text.substr(slash + 1), max, "prefix length");
        if (!length) {
            return std::unexpected(length.error());
        }
        out.prefix_length_ = *length;
    }
    return out;
}

bool Cidr::contains(const IpAddress& address) const {
    if (address.is_v4() != base_.is_v4()) {
        return false;
    }
    int bits = prefix_length_ + (base_.is_v4() ? 96 : 0);
    for (int i = 0; i < 16 && bits > 0; ++i, bits -= 8) {
        std::uint8_t mask = bits >= 8 ? 0xff : static_cast<std::uint8_t>(0xff << (8 - bits));
        if ((address.bytes()[i] & mask) != (base_.bytes()[i] & mask)) {
            return false;
        }
    }
    return true;
}

std::string Cidr::to_string() const {
    return base_.to_string() + "/" + std::to_string(prefix_length_);
}

}  // namespace orlop

std::size_t std::hash<orlop::IpAddress>::operator()(const orlop::IpAddress& a) const noexcept {
    using orlop::load64;
    return orlop::mix(load64(a.bytes().data()) * 0x9e3779b97f4a7c15ULL ^
                      load64(a.bytes().data() + 8));
}

std::size_t
std::hash<orlop::SocketAddress>::operator()(const orlop::SocketAddress& a) const noexcept {
    return orlop::mix(std::hash<orlop::IpAddress>()(a.ip) + a.port);
}
