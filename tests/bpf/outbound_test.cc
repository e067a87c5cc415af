// What the connect hooks and the loop do with a pod's outgoing connections.
#include "bpf/abi.h"
#include "tests/bpf/pod_world.h"

#include <fmt/core.h>

#include <fcntl.h>

namespace orlop::datapath::test {

class Outbound : public PodWorld {
protected:
    // The connection `app` made to `to` is at the outbound listener and nobody sees a difference.
    void expect_captured(int app, const SocketAddress& to) {
        UniqueFd taken = accept_from(listeners_->outbound.get());
        ASSERT_TRUE(taken.valid()) << "not captured: " << to.to_string();
        EXPECT_EQ(local_address(taken.get()), to) << "original destination";
        EXPECT_EQ(peer_address(taken.get()), local_address(app));
        EXPECT_EQ(peer_address(app), to);
        EXPECT_EQ(local_address(app).ip, to.ip.is_v4() ? ip(a4) : ip(a6));
        EXPECT_TRUE(exchange_bytes(app, taken.get()));
    }
    // `app`'s connection arrived at `server` and not at orlopd.
    void expect_direct(int app, int server) {
        UniqueFd taken = accept_from(server);
        ASSERT_TRUE(taken.valid()) << "did not reach the server";
        EXPECT_TRUE(nothing_to_accept(listeners_->outbound.get()));
        EXPECT_TRUE(exchange_bytes(app, taken.get()));
    }
};

TEST_F(Outbound, original_destination_survives_in_every_family) {
    ASSERT_NO_FATAL_FAILURE(start());
    struct Case {
        const char* what;
        SocketAddress to;
        int family;
    };
    for (const Case& c : {Case{"v4", at("10.99.0.2:8080"), AF_INET},
                          Case{"v6", at("[fd99::2]:8080"), AF_INET6},
                          Case{"v4-mapped", at("10.99.0.2:8080"), AF_INET6},
                          Case{"v4 address on no interface", at("172.31.255.1:80"), AF_INET},
                          Case{"v6 address on no interface", at("[fdee::1]:443"), AF_INET6},
                          Case{"cloud metadata", at("169.254.169.254:80"), AF_INET}}) {
        SCOPED_TRACE(c.what);
        UniqueFd app = connect("a", c.to, c.family);
        ASSERT_TRUE(app.valid()) << std::strerror(errno);
        expect_captured(app.get(), c.to);
    }
    EXPECT_EQ(count("outbound_captured"), 6u);
    EXPECT_EQ(count("outbound_steered"), 6u);
}

TEST_F(Outbound, bound_and_non_blocking_sockets_are_captured) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd bound = tcp("a", AF_INET);
    sockaddr_storage storage{};
    unsigned length = at("10.99.0.1:0").to_sockaddr(storage);
    ASSERT_EQ(::bind(bound.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ASSERT_EQ(connect_socket(bound.get(), at("10.99.0.2:8080")), 0);
    expect_captured(bound.get(), at("10.99.0.2:8080"));

    UniqueFd quick = tcp("a", AF_INET6);
    ::fcntl(quick.get(), F_SETFL, O_NONBLOCK);
    int error = connect_socket(quick.get(), at("[fd99::2]:8080"));
    ASSERT_TRUE(error == 0 || error == EINPROGRESS) << std::strerror(error);
    expect_captured(quick.get(), at("[fd99::2]:8080"));
}

TEST_F(Outbound, fast_open_is_captured) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd app = tcp("a", AF_INET);
    sockaddr_storage storage{};
    unsigned length = at("10.99.0.2:8080").to_sockaddr(storage);
    ASSERT_EQ(
        ::sendto(app.get(), "hi", 2, MSG_FASTOPEN, reinterpret_cast<sockaddr*>(&storage), length),
        2)
        << std::strerror(errno);
    UniqueFd taken = accept_from(listeners_->outbound.get());
    ASSERT_TRUE(taken.valid());
    char got[4];
    EXPECT_EQ(::recv(taken.get(), got, sizeof(got), 0), 2);
    EXPECT_EQ(local_address(taken.get()), at("10.99.0.2:8080"));
}

TEST_F(Outbound, multipath_tcp_is_captured) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd app;
    in("a", [&] { app.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 262)); });
    if (!app.valid()) {
        GTEST_SKIP() << "NOT TESTED: this kernel has no MPTCP";
    }
    ASSERT_EQ(connect_socket(app.get(), at("10.99.0.2:8080")), 0) << std::strerror(errno);
    expect_captured(app.get(), at("10.99.0.2:8080"));
}

TEST_F(Outbound, binding_to_a_device_does_not_bypass) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd app = tcp("a", AF_INET);
    ASSERT_EQ(::setsockopt(app.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
    ASSERT_EQ(connect_socket(app.get(), at("10.99.0.2:8080")), 0);
    expect_captured(app.get(), at("10.99.0.2:8080"));
    EXPECT_EQ(count("outbound_device_cleared"), 1u);
}

TEST_F(Outbound, a_mark_set_by_the_pod_buys_nothing) {
    ASSERT_NO_FATAL_FAILURE(start());
    for (std::uint32_t mark : {ORLOP_MARK_IN, ORLOP_MARK_OUT, 1u, 1337u}) {
        SCOPED_TRACE(mark);
        UniqueFd app = tcp("a", AF_INET);
        ASSERT_EQ(::setsockopt(app.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
        ASSERT_EQ(connect_socket(app.get(), at("10.99.0.2:8080")), 0);
        expect_captured(app.get(), at("10.99.0.2:8080"));
    }
    EXPECT_EQ(count("outbound_exempt"), 0u);
}

TEST_F(Outbound, sockets_of_orlopd_go_direct) {
    ASSERT_NO_FATAL_FAILURE(start());
    for (const char* to : {"10.99.0.2:8080", "[fd99::2]:8080"}) {
        SCOPED_TRACE(to);
        UniqueFd server = listen("b", at(to));
        auto own = open_upstream_socket(*pod_->network, {.destination = at(to).ip});
        ASSERT_TRUE(own.has_value()) << own.error().context;
        EXPECT_EQ(connect_socket(own->get(), at(to)), EINPROGRESS);
        expect_direct(own->get(), server.get());
    }
    EXPECT_EQ(count("outbound_exempt"), 2u);
}

TEST_F(Outbound, a_pool_of_sockets_is_made_in_one_visit) {
    ASSERT_NO_FATAL_FAILURE(start());
    std::array<UniqueFd, 8> pool;
    auto made = open_upstream_sockets(*pod_->network, {.destination = ip(b4)}, pool);
    ASSERT_TRUE(made.has_value()) << made.error().context;
    EXPECT_EQ(*made, pool.size());
    EXPECT_TRUE(pool.back().valid());
}

TEST_F(Outbound, loopback_and_own_addresses_stay_inside_the_pod) {
    ASSERT_NO_FATAL_FAILURE(start());
    for (const char* to :
         {"127.0.0.1:7000", "127.0.0.9:7000", "[::1]:7000", "10.99.0.1:7000", "[fd99::1]:7000"}) {
        SCOPED_TRACE(to);
        UniqueFd server = listen("a", at(to));
        UniqueFd app = connect("a", at(to));
        ASSERT_TRUE(app.valid()) << std::strerror(errno);
        expect_direct(app.get(), server.get());
    }
    EXPECT_TRUE(nothing_to_accept(listeners_->inbound.get()));
    EXPECT_EQ(count("outbound_captured"), 0u);
}

TEST_F(Outbound, excluded_ports_and_ranges_go_direct) {
    PodPolicy policy;
    policy.exclusions.outbound_ports = {{5432, 5433}};
    policy.exclusions.outbound_ranges = {Cidr::parse("fd99::/64").value()};
    ASSERT_NO_FATAL_FAILURE(start_with(policy));
    ASSERT_TRUE(datapath_->set_mesh_exclusions(
        {.outbound_ports = {{6379, 6379}}, .outbound_ranges = {}, .inbound_ports = {}}));
    for (const char* to : {"10.99.0.2:5432", "10.99.0.2:5433", "10.99.0.2:6379", "[fd99::2]:80"}) {
        SCOPED_TRACE(to);
        UniqueFd server = listen("b", at(to));
        UniqueFd app = connect("a", at(to));
        ASSERT_TRUE(app.valid()) << std::strerror(errno);
        expect_direct(app.get(), server.get());
    }
    UniqueFd other = connect("a", at("10.99.0.2:5434"));
    expect_captured(other.get(), at("10.99.0.2:5434"));
    EXPECT_EQ(count("outbound_excluded_port"), 3u);
    EXPECT_EQ(count("outbound_excluded_range"), 1u);

    ASSERT_TRUE(datapath_->update("test/a", PodPolicy{}));
    UniqueFd now_captured = connect("a", at("10.99.0.2:5432"));
    expect_captured(now_captured.get(), at("10.99.0.2:5432"));
}

TEST_F(Outbound, udp_is_untouched) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd server;
    UniqueFd app;
    in("b", [&] { server.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    in("a", [&] { app.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    sockaddr_storage storage{};
    unsigned length = at("10.99.0.2:53").to_sockaddr(storage);
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ASSERT_EQ(connect_socket(app.get(), at("10.99.0.2:53")), 0);
    int mark = -1;
    socklen_t size = sizeof(mark);
    ::getsockopt(app.get(), SOL_SOCKET, SO_MARK, &mark, &size);
    EXPECT_EQ(mark, 0);
    ASSERT_EQ(::send(app.get(), "q", 1, 0), 1);
    pollfd waiting{.fd = server.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
}

TEST_F(Outbound, a_namespace_not_enrolled_is_untouched) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    UniqueFd app = connect("b", at("10.99.0.2:8080"));
    ASSERT_TRUE(app.valid());
    EXPECT_TRUE(accept_from(server.get()).valid());
    for (const Counter& counter : datapath_->counters()) {
        EXPECT_EQ(counter.count, 0u) << counter.name;
    }
}

TEST_F(Outbound, a_wildcard_listener_of_the_app_never_takes_a_looped_connection) {
    ASSERT_NO_FATAL_FAILURE(start());
    PodPolicy open;
    open.outbound_when_gone = WhenGone::open;
    ASSERT_TRUE(datapath_->update("test/a", open));
    UniqueFd trap = listen("a", at("0.0.0.0:8080"));
    UniqueFd app = connect("a", at("10.99.0.2:8080"));
    expect_captured(app.get(), at("10.99.0.2:8080"));
    EXPECT_TRUE(nothing_to_accept(trap.get()));
}

}  // namespace orlop::datapath::test
