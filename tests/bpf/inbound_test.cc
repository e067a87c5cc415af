// What the per-pod sk_lookup program does with connections that arrive, and how orlopd delivers.
#include "tests/bpf/pod_world.h"

#include <fmt/core.h>

namespace orlop::datapath::test {

class Inbound : public PodWorld {
protected:
    void expect_at(int listener, int caller, const SocketAddress& to) {
        UniqueFd taken = accept_from(listener);
        ASSERT_TRUE(taken.valid()) << "not steered: " << to.to_string();
        EXPECT_EQ(local_address(taken.get()), to);
        EXPECT_EQ(peer_address(taken.get()), local_address(caller));
        EXPECT_TRUE(exchange_bytes(caller, taken.get()));
    }
    UniqueFd deliver(const SocketAddress& to, std::optional<IpAddress> from) {
        auto made =
            open_upstream_socket(*pod_->network, {.destination = to.ip, .deliver_from = from});
        EXPECT_TRUE(made.has_value()) << made.error().context;
        int error = made ? connect_socket(made->get(), to) : EINVAL;
        EXPECT_TRUE(error == 0 || error == EINPROGRESS) << std::strerror(error);
        return made ? std::move(*made) : UniqueFd();
    }
};

TEST_F(Inbound, arriving_connections_meet_the_listener_of_their_port) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd app4 = listen("a", at("0.0.0.0:9000"));
    for (const char* to : {"10.99.0.1:9000", "10.99.0.1:9999", "[fd99::1]:9999"}) {
        SCOPED_TRACE(to);
        UniqueFd caller = connect("b", at(to));
        ASSERT_TRUE(caller.valid()) << std::strerror(errno);
        expect_at(listeners_->inbound.get(), caller.get(), at(to));
    }
    for (const char* to : {"10.99.0.1:15008", "[fd99::1]:15008"}) {
        SCOPED_TRACE(to);
        UniqueFd caller = connect("b", at(to));
        ASSERT_TRUE(caller.valid()) << std::strerror(errno);
        expect_at(listeners_->inbound.get(), caller.get(), at(to));
    }
    EXPECT_TRUE(nothing_to_accept(app4.get()));
    EXPECT_EQ(count("inbound_captured"), 3u);
    EXPECT_EQ(count("inbound_hbone"), 2u);
}

TEST_F(Inbound, the_app_sees_the_callers_address_on_delivery) {
    ASSERT_NO_FATAL_FAILURE(start());
    struct Case {
        const char* what;
        SocketAddress listen;
        SocketAddress to;
        IpAddress caller;
    };
    for (const Case& c :
         {Case{"v4", at("10.99.0.1:9000"), at("10.99.0.1:9000"), ip(b4)},
          Case{"v6", at("[fd99::1]:9000"), at("[fd99::1]:9000"), ip(b6)},
          Case{"v4 to a wildcard v6 listener", at("[::]:9001"), at("10.99.0.1:9001"), ip(b4)},
          Case{"from far away", at("0.0.0.0:9002"), at("10.99.0.1:9002"), ip("203.0.113.9")}}) {
        SCOPED_TRACE(c.what);
        UniqueFd app = listen("a", c.listen);
        UniqueFd delivery = deliver(c.to, c.caller);
        UniqueFd taken = accept_from(app.get());
        ASSERT_TRUE(taken.valid()) << "the app got no connection";
        EXPECT_EQ(peer_address(taken.get()).ip, c.caller);
        EXPECT_TRUE(exchange_bytes(taken.get(), delivery.get()));
    }
    EXPECT_TRUE(nothing_to_accept(listeners_->inbound.get()));
    EXPECT_TRUE(nothing_to_accept(listeners_->outbound.get()));
    EXPECT_EQ(count("inbound_delivery"), 4u);
}

TEST_F(Inbound, delivery_without_the_callers_address_needs_no_mark) {
    auto opened = Datapath::open(options());
    ASSERT_TRUE(opened.has_value()) << opened.error().context;
    datapath_ = std::move(*opened);
    PodSpec plain = spec("a");
    plain.source = SourceAddress::pod;
    auto pod = datapath_->prepare(plain);
    ASSERT_TRUE(pod.has_value()) << pod.error().context;
    pod_ = std::move(*pod);
    listeners_ = std::move(datapath_->open_listeners(plain.uid).value());
    ASSERT_TRUE(datapath_->activate(plain.uid));
    UniqueFd app = listen("a", at("10.99.0.1:9000"));
    UniqueFd delivery = deliver(at("10.99.0.1:9000"), std::nullopt);
    UniqueFd taken = accept_from(app.get());
    ASSERT_TRUE(taken.valid());
    EXPECT_EQ(peer_address(taken.get()).ip, ip(a4));
    EXPECT_TRUE(exchange_bytes(taken.get(), delivery.get()));
    EXPECT_TRUE(run("ip netns exec " + name_ + "a cat /proc/sys/net/ipv4/tcp_fwmark_accept")
                    .starts_with("0"));
}

TEST_F(Inbound, delivery_refuses_mixed_families) {
    ASSERT_NO_FATAL_FAILURE(start());
    auto made =
        open_upstream_socket(*pod_->network, {.destination = ip(a4), .deliver_from = ip(b6)});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().kind, ErrorKind::invalid_input);
}

TEST_F(Inbound, excluded_ports_and_bypass_reach_the_app) {
    PodPolicy policy;
    policy.exclusions.inbound_ports = {{9100, 9100}};
    ASSERT_NO_FATAL_FAILURE(start_with(policy));
    UniqueFd app = listen("a", at("[::]:9100"));
    for (const char* to : {"10.99.0.1:9100", "[fd99::1]:9100"}) {
        UniqueFd caller = connect("b", at(to));
        EXPECT_TRUE(accept_from(app.get()).valid()) << to;
    }
    EXPECT_EQ(count("inbound_excluded_port"), 2u);

    PodPolicy bypass;
    bypass.inbound = InboundCapture::bypassed;
    ASSERT_TRUE(datapath_->update("test/a", bypass));
    UniqueFd other = listen("a", at("[::]:9200"));
    UniqueFd caller = connect("b", at("10.99.0.1:9200"));
    EXPECT_TRUE(accept_from(other.get()).valid());
    EXPECT_EQ(count("inbound_bypassed"), 1u);
    EXPECT_TRUE(nothing_to_accept(listeners_->inbound.get()));
}

TEST_F(Inbound, loopback_service_ports_answer_unless_the_app_has_them) {
    ASSERT_NO_FATAL_FAILURE(start());
    for (const char* to : {"127.0.0.1:15021", "127.0.0.1:15020", "[::1]:15021", "[::1]:15020"}) {
        SCOPED_TRACE(to);
        {
            UniqueFd client = connect("a", at(to));
            ASSERT_TRUE(client.valid()) << std::strerror(errno);
            expect_at(listeners_->local.get(), client.get(), at(to));
        }
        {
            UniqueFd app = listen("a", at(to));
            UniqueFd client = connect("a", at(to));
            ASSERT_TRUE(client.valid()) << std::strerror(errno);
            EXPECT_TRUE(accept_from(app.get()).valid()) << "the app's own listener wins";
        }
        UniqueFd client = connect("a", at(to));
        ASSERT_TRUE(client.valid()) << std::strerror(errno);
        expect_at(listeners_->local.get(), client.get(), at(to));
    }
    EXPECT_EQ(count("local_served"), 8u);
    EXPECT_EQ(count("local_app_wins"), 4u);
    UniqueFd wildcard = listen("a", at("[::]:15021"));
    UniqueFd client = connect("a", at("127.0.0.1:15021"));
    EXPECT_TRUE(accept_from(wildcard.get()).valid()) << "a wildcard listener counts too";
}

TEST_F(Inbound, two_pods_keep_their_listeners_apart) {
    ASSERT_NO_FATAL_FAILURE(start());
    auto second = datapath_->prepare(spec("b"));
    ASSERT_TRUE(second.has_value()) << second.error().context;
    auto listeners = datapath_->open_listeners("test/b");
    ASSERT_TRUE(listeners.has_value());
    ASSERT_TRUE(datapath_->activate("test/b"));
    EXPECT_NE(second->slot, pod_->slot);
    UniqueFd from_b = connect("b", at("10.99.0.1:80"));
    expect_at(listeners->outbound.get(), from_b.get(), at("10.99.0.1:80"));
    UniqueFd from_a = connect("a", at("10.99.0.2:80"));
    expect_at(listeners_->outbound.get(), from_a.get(), at("10.99.0.2:80"));
    // The hop between the nodes: orlopd's own socket of a arrives at b's listener.
    auto hop = open_upstream_socket(*pod_->network, {.destination = ip(b4)});
    ASSERT_TRUE(hop.has_value());
    connect_socket(hop->get(), at("10.99.0.2:15008"));
    UniqueFd taken = accept_from(listeners->inbound.get());
    EXPECT_TRUE(taken.valid());
    // The same-node shortcut: made in b, the app of b sees a.
    UniqueFd app = listen("b", at("10.99.0.2:7777"));
    auto shortcut =
        open_upstream_socket(*second->network, {.destination = ip(b4), .deliver_from = ip(a4)});
    ASSERT_TRUE(shortcut.has_value());
    connect_socket(shortcut->get(), at("10.99.0.2:7777"));
    UniqueFd delivered = accept_from(app.get());
    ASSERT_TRUE(delivered.valid());
    EXPECT_EQ(peer_address(delivered.get()).ip, ip(a4));
}

}  // namespace orlop::datapath::test
