// Two pods on a wire, for tests with real programs and sockets: namespaces a and b joined by a veth
// pair, IPv4 and IPv6, a cgroup of their own that the test process lives in, a private bpffs.
// Everything has the process id in its name and is removed by the destructor.
#pragma once

#include "daemon/base/ip.h"
#include "daemon/base/unique_fd.h"
#include "daemon/datapath/datapath.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace orlop::datapath::test {

inline IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
inline SocketAddress at(std::string_view text) {
    return SocketAddress::parse(text).value();
}

class PodWorld : public ::testing::Test {
protected:
    void SetUp() override;
    void TearDown() override;

    static constexpr const char* a4 = "10.99.0.1";
    static constexpr const char* a6 = "fd99::1";
    static constexpr const char* b4 = "10.99.0.2";
    static constexpr const char* b6 = "fd99::2";

    Options options() const;
    std::string netns_path(const std::string& pod) const;
    PodSpec spec(const std::string& pod) const;             // uid "test/<pod>"
    std::string run(const std::string& command) const;      // output of a shell command
    std::string netns_state(const std::string& pod) const;  // rules, routes, sysctl
    void in(const std::string& pod, const std::function<void()>& body) const;

    // Opens the datapath, enrols pod a, keeps its listeners.
    void start();
    void start_with(const PodPolicy& policy);
    std::uint64_t count(std::string_view reason) const;

    // Sockets in a pod. The returned descriptors are -1 with errno set on failure.
    UniqueFd tcp(const std::string& pod, int family) const;
    UniqueFd listen(const std::string& pod, const SocketAddress& address) const;
    // A connected socket; `family` AF_INET6 with an IPv4 address connects v4-mapped.
    UniqueFd connect(const std::string& pod, const SocketAddress& to, int family = 0) const;

    std::string name_;
    std::string directory_;
    std::string cgroup_;
    std::unique_ptr<Datapath> datapath_;
    std::optional<PreparedPod> pod_;
    std::optional<Listeners> listeners_;
};

int connect_socket(int socket, const SocketAddress& to);  // 0 or errno; AF of the socket decides
UniqueFd accept_from(int listener);  // waits up to 5 s; invalid when nothing came
bool nothing_to_accept(int listener);
SocketAddress local_address(int socket);
SocketAddress peer_address(int socket);
bool exchange_bytes(int from, int to);  // a few bytes in each direction

// Bounded waiting for something the kernel does on its own time.
bool eventually(const std::function<bool()>& holds);

}  // namespace orlop::datapath::test
