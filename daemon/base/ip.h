// Addresses as values: 16 bytes, IPv4 kept as v4-mapped, so that one code path serves both.
//
// IpAddress::parse accepts the textual forms of RFC 4291 and dotted IPv4 and nothing else.
// Cidr accepts `address/length`. Both are trivially copyable and hashable.
#pragma once

#include "daemon/base/error.h"

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

struct sockaddr;
struct sockaddr_storage;

namespace orlop {

class IpAddress {
public:
    IpAddress() = default;  // the unspecified address ::
    static Result<IpAddress> parse(std::string_view text);
    static IpAddress v4(std::uint32_t host_order);
    static IpAddress v6(const std::array<std::uint8_t, 16>& network_order);  // maps ::ffff:x to v4

    bool is_v4() const;
    bool is_loopback() const;
    bool is_unspecified() const;
    std::uint32_t to_v4() const;  // host order; only when is_v4()
    const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
    std::string to_string() const;

    auto operator<=>(const IpAddress&) const = default;

private:
    std::array<std::uint8_t, 16> bytes_{};
};

struct SocketAddress {
    IpAddress ip;
    std::uint16_t port = 0;

    static Result<SocketAddress> parse(std::string_view text);    // 1.2.3.4:80, [::1]:80
    static SocketAddress from_sockaddr(const sockaddr* address);  // AF_INET/AF_INET6 else empty
    // Fills `out` as AF_INET or AF_INET6 by the address; returns the length to pass to the kernel.
    unsigned to_sockaddr(sockaddr_storage& out) const;
    std::string to_string() const;

    auto operator<=>(const SocketAddress&) const = default;
};

class Cidr {
public:
    static Result<Cidr> parse(std::string_view text);
    bool contains(const IpAddress& address) const;
    const IpAddress& base() const { return base_; }
    int prefix_length() const { return prefix_length_; }  // within the address's own family
    std::string to_string() const;

private:
    IpAddress base_;
    int prefix_length_ = 0;
};

}  // namespace orlop

template <> struct std::hash<orlop::IpAddress> {
    std::size_t operator()(const orlop::IpAddress& address) const noexcept;
};
template <> struct std::hash<orlop::SocketAddress> {
    std::size_t operator()(const orlop::SocketAddress& address) const noexcept;
};
