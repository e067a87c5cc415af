// Sockets of the bench programs: non-blocking TCP, no Nagle delay. Negative results are -errno.
#pragma once

#include <cstdint>
#include <string>

namespace orlop::bench {

int connect_tcp(const std::string& address, std::uint16_t port);  // in progress on return
int listen_tcp(const std::string& address, std::uint16_t port);
int accept_tcp(int listener);
void set_no_delay(int fd);
int connect_result(int fd);  // 0 when connected

}  // namespace orlop::bench
