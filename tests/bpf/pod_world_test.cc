#include "tests/bpf/pod_world.h"

#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>

namespace orlop::datapath::test {
namespace {

namespace fs = std::filesystem;

void join_cgroup(const std::string& path) {
    UniqueFd procs(::open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    std::string pid = std::to_string(::getpid());
    ASSERT_EQ(::write(procs.get(), pid.data(), pid.size()), static_cast<ssize_t>(pid.size()));
}

std::string cgroup_mount() {
    std::string found;
    FILE* mounts = std::fopen("/proc/self/mounts", "re");
    std::array<char, 512> line{};
    std::array<char, 256> where{};
    std::array<char, 64> type{};
    while (mounts != nullptr && std::fgets(line.data(), line.size(), mounts) != nullptr) {
        if (std::sscanf(line.data(), "%*s %255s %63s", where.data(), type.data()) == 2 &&
            std::string_view(type.data()) == "cgroup2" && found.empty()) {
            found = where.data();
        }
    }
    if (mounts != nullptr) {
        std::fclose(mounts);
    }
    return found;
}

}  // namespace

void PodWorld::SetUp() {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "NOT TESTED: needs root to make namespaces and load BPF programs";
    }
    if (cgroup_mount().empty()) {
        GTEST_SKIP() << "NOT TESTED: no cgroup v2 is mounted";
    }
    name_ = fmt::format("orlopt{}", ::getpid());
    directory_ = "/run/" + name_;
    cgroup_ = cgroup_mount() + "/" + name_;
    fs::create_directories(directory_ + "/state");
    ASSERT_TRUE(::mkdir(cgroup_.c_str(), 0755) == 0 || errno == EEXIST);
    join_cgroup(cgroup_);
    std::string a = name_ + "a";
    std::string b = name_ + "b";
    std::string script = fmt::format(
        "set -e; ip netns add {0}; ip netns add {1}; "
        "ip -n {0} link add eth0 type veth peer name eth0 netns {1}; "
        "ip -n {0} addr add {2}/24 dev eth0; ip -n {1} addr add {3}/24 dev eth0; "
        "ip -n {0} addr add {4}/64 dev eth0 nodad; ip -n {1} addr add {5}/64 dev eth0 nodad; "
        "for n in {0} {1}; do ip -n $n link set lo up; ip -n $n link set eth0 up; done; "
        "ip -n {0} route add default via {3}; ip -n {1} route add default via {2}; "
        "ip -n {0} -6 route add default via {5}; ip -n {1} -6 route add default via {4}; echo done",
        a,
        b,
        a4,
        b4,
        a6,
        b6);
    ASSERT_EQ(run(script), "done\n") << "namespaces could not be made";
    ASSERT_TRUE(eventually([&] {  // the carrier comes up on the kernel's own time
        return run("ip -n " + a + " link show eth0 | grep -c 'state UP'").ends_with("1\n");
    }));
}

void PodWorld::TearDown() {
    listeners_.reset();
    datapath_.reset();
    pod_.reset();
    if (name_.empty()) {
        return;
    }
    auto removed = Datapath::uninstall(options());
    EXPECT_TRUE(removed.has_value()) << removed.error().context;
    run(fmt::format("ip netns del {0}a; ip netns del {0}b", name_));
    std::string parent = fs::path(cgroup_).parent_path();
    join_cgroup(parent);
    EXPECT_TRUE(eventually([&] { return ::rmdir(cgroup_.c_str()) == 0; }));
    ::umount2((directory_ + "/bpf").c_str(), MNT_DETACH);
    fs::remove_all(directory_);
}

Options PodWorld::options() const {
    return {.instance = "test",
            .bpffs_dir = directory_ + "/bpf/orlop",
            .cgroup_path = cgroup_,
            .state_dir = directory_ + "/state"};
}

std::string PodWorld::netns_path(const std::string& pod) const {
    return "/run/netns/" + name_ + pod;
}

PodSpec PodWorld::spec(const std::string& pod) const {
    PodSpec spec;
    spec.uid = "test/" + pod;
    spec.netns_path = netns_path(pod);
    spec.addresses = pod == "a" ? std::vector{ip(a4), ip(a6)} : std::vector{ip(b4), ip(b6)};
    return spec;
}

std::string PodWorld::run(const std::string& command) const {
    FILE* pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "re");
    std::string output;
    std::array<char, 4096> chunk{};
    while (pipe != nullptr && std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) {
        output += chunk.data();
    }
    if (pipe != nullptr) {
        ::pclose(pipe);
    }
    return output;
}

std::string PodWorld::netns_state(const std::string& pod) const {
    // Link-local and multicast routes come up on the kernel's own time.
    return run(fmt::format("ip -n {0} rule; ip -n {0} -6 rule; ip -n {0} route show table all | "
                           "grep -v -e fe80 -e multicast | sort; ip -n {0} -6 route show table all "
                           "| grep -v -e fe80 -e multicast "
                           "| sort; ip netns exec {0} cat /proc/sys/net/ipv4/tcp_fwmark_accept",
                           name_ + pod));
}

void PodWorld::in(const std::string& pod, const std::function<void()>& body) const {
    UniqueFd netns(::open(netns_path(pod).c_str(), O_RDONLY | O_CLOEXEC));
    auto visit = NetnsVisit::enter(netns.get());
    ASSERT_TRUE(visit.has_value()) << visit.error().context;
    body();
}

void PodWorld::start() {
    start_with(PodPolicy{});
}

void PodWorld::start_with(const PodPolicy& policy) {
    auto opened = Datapath::open(options());
    ASSERT_TRUE(opened.has_value()) << opened.error().context;
    datapath_ = std::move(*opened);
    PodSpec wanted = spec("a");
    wanted.policy = policy;
    auto pod = datapath_->prepare(wanted);
    ASSERT_TRUE(pod.has_value()) << pod.error().context;
    pod_ = std::move(*pod);
    auto listeners = datapath_->open_listeners(wanted.uid);
    ASSERT_TRUE(listeners.has_value()) << listeners.error().context;
    listeners_ = std::move(*listeners);
    auto active = datapath_->activate(wanted.uid);
    ASSERT_TRUE(active.has_value()) << active.error().context;
}

std::uint64_t PodWorld::count(std::string_view reason) const {
    for (const Counter& counter : datapath_->counters()) {
        if (counter.name == reason) {
            return counter.count;
        }
    }
    ADD_FAILURE() << "no counter " << reason;
    return 0;
}

UniqueFd PodWorld::tcp(const std::string& pod, int family) const {
    UniqueFd made;
    in(pod, [&] { made.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)); });
    timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return made;
}

UniqueFd PodWorld::listen(const std::string& pod, const SocketAddress& address) const {
    UniqueFd made = tcp(pod, address.ip.is_v4() ? AF_INET : AF_INET6);
    int one = 1;
    ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_storage storage{};
    unsigned length = address.to_sockaddr(storage);
    EXPECT_EQ(::bind(made.get(), reinterpret_cast<sockaddr*>(&storage), length), 0)
        << address.to_string() << ": " << std::strerror(errno);
    EXPECT_EQ(::listen(made.get(), 16), 0);
    return made;
}

UniqueFd PodWorld::connect(const std::string& pod, const SocketAddress& to, int family) const {
    if (family == 0) {
        family = to.ip.is_v4() ? AF_INET : AF_INET6;
    }
    UniqueFd made = tcp(pod, family);
    if (int error = connect_socket(made.get(), to); error != 0) {
        made.reset();
        errno = error;
    }
    return made;
}

namespace {

// An address as an AF_INET6 socket wants it: IPv4 in its v4-mapped form.
unsigned to_mapped(const SocketAddress& to, sockaddr_storage& storage) {
    storage = {};
    auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(to.port);
    std::memcpy(&six->sin6_addr, to.ip.bytes().data(), to.ip.bytes().size());
    return sizeof *six;
}

}  // namespace

int connect_socket(int socket, const SocketAddress& to) {
    int family = 0;
    socklen_t size = sizeof(family);
    ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
    sockaddr_storage storage{};
    unsigned length = family == AF_INET6 ? to_mapped(to, storage) : to.to_sockaddr(storage);
    return ::connect(socket, reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

UniqueFd accept_from(int listener) {
    pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 5000) != 1) {
        return UniqueFd();
    }
    return UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

bool nothing_to_accept(int listener) {
    pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 0) == 0;
}

SocketAddress local_address(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length);
    return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
}

SocketAddress peer_address(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    ::getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &length);
    return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
}

bool exchange_bytes(int from, int to) {
    for (auto [sender, receiver] : {std::pair{from, to}, std::pair{to, from}}) {
        std::array<char, 8> got{};
        pollfd waiting{.fd = receiver, .events = POLLIN, .revents = 0};
        if (::send(sender, "ping", 4, MSG_NOSIGNAL) != 4 || ::poll(&waiting, 1, 5000) != 1 ||
            ::recv(receiver, got.data(), got.size(), 0) != 4) {
            return false;
        }
    }
    return true;
}

bool eventually(const std::function<bool()>& holds) {
    constexpr int tries_max = 500;
    for (int i = 0; i < tries_max; ++i) {
        if (holds()) {
            return true;
        }
        ::poll(nullptr, 0, 10);
    }
    return false;
}

}  // namespace orlop::datapath::test
