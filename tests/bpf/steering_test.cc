// That pods share the body of the sk_lookup program, and nothing but it.
#include "bpf/abi.h"
#include "tests/bpf/pod_world.h"

#include <bpf/bpf.h>

namespace orlop::datapath::test {

class Steering : public PodWorld {
protected:
    // Captures pod b too.
    void start_both() {
        ASSERT_NO_FATAL_FAILURE(start());
        auto pod = datapath_->prepare(spec("b"));
        ASSERT_TRUE(pod.has_value()) << pod.error().context;
        pod_b_ = std::move(*pod);
        auto listeners = datapath_->open_listeners(spec("b").uid);
        ASSERT_TRUE(listeners.has_value()) << listeners.error().context;
        listeners_b_ = std::move(*listeners);
        auto active = datapath_->activate(spec("b").uid);
        ASSERT_TRUE(active.has_value()) << active.error().context;
    }
    // A connection of orlopd's own from one pod to the other: it arrives, uncaptured at its start.
    UniqueFd arrive(const PreparedPod& from, const SocketAddress& to) {
        auto made = open_upstream_socket(*from.network, {.destination = to.ip});
        EXPECT_TRUE(made.has_value()) << made.error().context;
        int error = made ? connect_socket(made->get(), to) : EINVAL;
        EXPECT_TRUE(error == 0 || error == EINPROGRESS) << std::strerror(error);
        return made ? std::move(*made) : UniqueFd();
    }
    std::optional<PreparedPod> pod_b_;
    std::optional<Listeners> listeners_b_;
};

TEST_F(Steering, each_pod_meets_its_own_listeners) {
    ASSERT_NO_FATAL_FAILURE(start_both());
    constexpr int rounds = 20;
    for (int i = 0; i < rounds; ++i) {
        for (bool v4 : {true, false}) {
            SCOPED_TRACE(v4 ? "IPv4" : "IPv6");
            UniqueFd from_a = connect("a", at(v4 ? "10.99.0.77:80" : "[fd99::77]:80"));
            UniqueFd from_b = connect("b", at(v4 ? "10.99.0.77:80" : "[fd99::77]:80"));
            UniqueFd to_a = arrive(*pod_b_, at(v4 ? "10.99.0.1:80" : "[fd99::1]:80"));
            UniqueFd to_b = arrive(*pod_, at(v4 ? "10.99.0.2:80" : "[fd99::2]:80"));
            struct Case {
                int listener;
                int caller;
            };
            for (const Case& c : {Case{listeners_->outbound.get(), from_a.get()},
                                  Case{listeners_b_->outbound.get(), from_b.get()},
                                  Case{listeners_->inbound.get(), to_a.get()},
                                  Case{listeners_b_->inbound.get(), to_b.get()}}) {
                UniqueFd taken = accept_from(c.listener);
                ASSERT_TRUE(taken.valid());
                EXPECT_EQ(peer_address(taken.get()), local_address(c.caller));
                EXPECT_TRUE(nothing_to_accept(c.listener));
            }
        }
    }
}

TEST_F(Steering, without_a_body_nothing_passes) {
    PodPolicy open{.outbound_when_gone = WhenGone::open, .inbound_when_gone = WhenGone::open};
    ASSERT_NO_FATAL_FAILURE(start_with(open));
    UniqueFd app = listen("a", at("10.99.0.1:9000"));
    UniqueFd bodies(bpf_obj_get((options().bpffs_dir + "/map_bodies").c_str()));
    for (std::uint32_t family : {ORLOP_FAMILY_V4, ORLOP_FAMILY_V6}) {
        ASSERT_EQ(bpf_map_delete_elem(bodies.get(), &family), 0);
    }
    UniqueFd caller = connect("b", at("10.99.0.1:9000"));
    EXPECT_FALSE(caller.valid()) << "passed by nobody's judgement";
    EXPECT_TRUE(nothing_to_accept(app.get()));
    EXPECT_EQ(count("inbound_bad_config"), 1u);
}

TEST_F(Steering, an_earlier_pod_goes_on_in_the_body_of_a_later_daemon) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd bodies(bpf_obj_get((options().bpffs_dir + "/map_bodies").c_str()));
    std::uint32_t family = ORLOP_FAMILY_V4;
    std::uint32_t before = 0;
    ASSERT_EQ(bpf_map_lookup_elem(bodies.get(), &family, &before), 0);
    datapath_.reset();
    auto again = Datapath::open(options());
    ASSERT_TRUE(again.has_value()) << again.error().context;
    datapath_ = std::move(*again);
    std::uint32_t after = 0;
    ASSERT_EQ(bpf_map_lookup_elem(bodies.get(), &family, &after), 0);
    EXPECT_NE(after, before) << "the successor's own body";
    UniqueFd caller = connect("b", at("10.99.0.1:9000"));  // pod a is not claimed again yet
    ASSERT_TRUE(caller.valid()) << std::strerror(errno);
    UniqueFd taken = accept_from(listeners_->inbound.get());
    EXPECT_TRUE(taken.valid());
}

}  // namespace orlop::datapath::test
