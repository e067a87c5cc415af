// Destroys the established IPv4 connections of this network namespace to one port, as a broken
// network would (SOCK_DESTROY of sock_diag): whoever owns them must connect and shake hands again.
// Needs CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace orlop::bench {

class Severer {
public:
    Severer();
    ~Severer();
    Severer(const Severer&) = delete;
    Severer& operator=(const Severer&) = delete;

    // How many there were; `address` empty: whatever the peer's address is.
    std::expected<int, std::string> sever(const std::string& address, std::uint16_t port);

private:
    int fd_;
};

}  // namespace orlop::bench
