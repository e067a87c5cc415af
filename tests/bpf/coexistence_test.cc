// Living beside other programs on the same hooks, and saying what is in the way.
#include "bpf/abi.h"
#include "tests/bpf/pod_world.h"

#include <bpf/bpf.h>
#include <fmt/core.h>

#include <algorithm>
#include <fcntl.h>

namespace orlop::datapath::test {

class Coexistence : public PodWorld {
protected:
    // A load balancer in the CNI's manner: connect4 to 10.200.0.99 becomes 10.99.0.2.
    UniqueFd load_balancer() {
        constexpr int user_ip4 = offsetof(bpf_sock_addr, user_ip4);
        std::int32_t vip = static_cast<std::int32_t>(htonl(0x0ac80063));
        std::int32_t backend = static_cast<std::int32_t>(htonl(0x0a630002));
        bpf_insn program[] = {
            {.code = BPF_LDX | BPF_MEM | BPF_W,
             .dst_reg = 2,
             .src_reg = 1,
             .off = user_ip4,
             .imm = 0},
            {.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 2, .src_reg = 0, .off = 2, .imm = vip},
            {.code = BPF_ALU | BPF_MOV | BPF_K,
             .dst_reg = 2,
             .src_reg = 0,
             .off = 0,
             .imm = backend},
            {.code = BPF_STX | BPF_MEM | BPF_W,
             .dst_reg = 1,
             .src_reg = 2,
             .off = user_ip4,
             .imm = 0},
            {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
            {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
        };
        bpf_prog_load_opts options{};
        options.sz = sizeof(options);
        options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
        UniqueFd loaded(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                                      "test_lb4",
                                      "Apache-2.0",
                                      program,
                                      std::size(program),
                                      &options));
        EXPECT_TRUE(loaded.valid()) << std::strerror(errno);
        return loaded;
    }
    UniqueFd cgroup() const {
        return UniqueFd(::open(cgroup_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    // The proxy learns the backend whichever program runs first: the mark survives the rewrite.
    void expect_backend_captured() {
        UniqueFd app = connect("a", at("10.200.0.99:8080"));
        ASSERT_TRUE(app.valid()) << std::strerror(errno);
        UniqueFd taken = accept_from(listeners_->outbound.get());
        ASSERT_TRUE(taken.valid());
        EXPECT_EQ(local_address(taken.get()), at("10.99.0.2:8080"));
        EXPECT_TRUE(exchange_bytes(app.get(), taken.get()));
    }
};

TEST_F(Coexistence, a_load_balancer_attached_before_is_respected) {
    UniqueFd balancer = load_balancer();
    UniqueFd group = cgroup();
    UniqueFd link(bpf_link_create(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    ASSERT_TRUE(link.valid());
    ASSERT_NO_FATAL_FAILURE(start());
    expect_backend_captured();
}

TEST_F(Coexistence, a_load_balancer_attached_after_is_respected) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd balancer = load_balancer();
    UniqueFd group = cgroup();
    UniqueFd link(bpf_link_create(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    ASSERT_TRUE(link.valid());
    expect_backend_captured();
}

TEST_F(Coexistence, another_multi_program_without_a_link_is_no_obstacle) {
    UniqueFd balancer = load_balancer();
    UniqueFd group = cgroup();
    ASSERT_EQ(
        bpf_prog_attach(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT, BPF_F_ALLOW_MULTI),
        0);
    start();
    expect_backend_captured();
    bpf_prog_detach2(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT);
}

TEST_F(Coexistence, a_program_attached_alone_is_named_with_the_remedy) {
    UniqueFd balancer = load_balancer();
    UniqueFd group = cgroup();
    ASSERT_EQ(bpf_prog_attach(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT, 0), 0);
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    bpf_obj_get_info_by_fd(balancer.get(), &info, &size);
    std::string name = fmt::format("program {} (test_lb4)", info.id);

    auto opened = Datapath::open(options());
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().sys_errno, EPERM);
    EXPECT_NE(opened.error().context.find(name), std::string::npos) << opened.error().context;
    EXPECT_NE(opened.error().context.find("BPF_F_ALLOW_MULTI"), std::string::npos);
    auto checks = Datapath::check(options());
    auto found = std::ranges::find(checks, std::string("other connect programs"), &Check::name);
    ASSERT_NE(found, checks.end());
    EXPECT_EQ(found->level, CheckLevel::failure);
    EXPECT_NE(found->detail.find(name), std::string::npos) << found->detail;

    ASSERT_EQ(bpf_prog_detach2(balancer.get(), group.get(), BPF_CGROUP_INET4_CONNECT), 0);
    ASSERT_NO_FATAL_FAILURE(start());
}

TEST_F(Coexistence, two_instances_serve_their_own_pods) {
    ASSERT_NO_FATAL_FAILURE(start());
    Options other = options();
    other.instance = "second";
    other.bpffs_dir = directory_ + "/bpf/second";
    auto second = Datapath::open(other);
    ASSERT_TRUE(second.has_value()) << second.error().context;
    ASSERT_TRUE((*second)->prepare(spec("b")));
    auto listeners = (*second)->open_listeners("test/b");
    ASSERT_TRUE(listeners.has_value());
    ASSERT_TRUE((*second)->activate("test/b"));
    UniqueFd from_a = connect("a", at("10.99.0.2:80"));
    EXPECT_TRUE(accept_from(listeners_->outbound.get()).valid());
    UniqueFd from_b = connect("b", at("10.99.0.1:80"));
    EXPECT_TRUE(accept_from(listeners->outbound.get()).valid());
    auto hop = open_upstream_socket(*pod_->network, {.destination = ip(b6)});
    ASSERT_TRUE(hop.has_value());
    connect_socket(hop->get(), at("[fd99::2]:15008"));
    EXPECT_TRUE(accept_from(listeners->inbound.get()).valid());
    second->reset();
    ASSERT_TRUE(Datapath::uninstall(other).has_value());
    UniqueFd again = connect("a", at("10.99.0.2:80"));
    EXPECT_TRUE(accept_from(listeners_->outbound.get()).valid()) << "the first is untouched";
}

TEST_F(Coexistence, a_healthy_machine_passes_every_check) {
    for (const Check& check : Datapath::check(options())) {
        EXPECT_NE(check.level, CheckLevel::failure) << check.name << ": " << check.detail;
    }
    Options wrong = options();
    wrong.cgroup_path = "/tmp";
    auto opened = Datapath::open(wrong);
    ASSERT_FALSE(opened.has_value());
    EXPECT_NE(opened.error().context.find("cgroup v2"), std::string::npos);
    Options read_only = options();
    read_only.state_dir = "/proc/orlop";
    opened = Datapath::open(read_only);
    ASSERT_FALSE(opened.has_value());
    EXPECT_NE(opened.error().context.find("/proc/orlop"), std::string::npos);
}

}  // namespace orlop::datapath::test
