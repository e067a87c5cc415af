// Enrolling, leaving, dying and coming back.
#include "bpf/abi.h"
#include "tests/bpf/pod_world.h"

#include <bpf/bpf.h>
#include <fmt/core.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <signal.h>
#include <time.h>

namespace orlop::datapath::test {

class Lifecycle : public PodWorld {
protected:
    // A daemon in a process of its own that serves pod a; returns when it does.
    pid_t start_daemon(const PodPolicy& policy) {
        int ready[2];
        EXPECT_EQ(::pipe(ready), 0);
        pid_t child = ::fork();
        if (child == 0) {
            start_with(policy);
            char ok = ::testing::Test::HasFailure() ? 'n' : 'y';
            [[maybe_unused]] ssize_t written = ::write(ready[1], &ok, 1);
            while (true) {
                datapath_->beat();
                ::poll(nullptr, 0, 200);
            }
        }
        char ok = 'n';
        EXPECT_EQ(::read(ready[0], &ok, 1), 1);
        EXPECT_EQ(ok, 'y') << "the child daemon did not come up";
        ::close(ready[0]);
        ::close(ready[1]);
        return child;
    }
    void kill_daemon(pid_t child) {
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
    void reopen() {
        datapath_.reset();
        auto opened = Datapath::open(options());
        ASSERT_TRUE(opened.has_value()) << opened.error().context;
        datapath_ = std::move(*opened);
    }
    // What a daemon that hangs leaves behind: everything in place, no heartbeat.
    void age_the_heartbeat() {
        UniqueFd map(bpf_obj_get((options().bpffs_dir + "/map_beat").c_str()));
        std::uint32_t zero = 0;
        orlop_beat last{};
        ASSERT_EQ(bpf_map_lookup_elem(map.get(), &zero, &last), 0);
        ASSERT_GT(last.at_ns, ORLOP_BEAT_EXPIRY_NS);
        last.at_ns -= ORLOP_BEAT_EXPIRY_NS;
        ASSERT_EQ(bpf_map_update_elem(map.get(), &zero, &last, BPF_ANY), 0);
    }
    int connect_error(const std::string& pod, const SocketAddress& to) {
        return connect(pod, to).valid() ? 0 : errno;
    }
};

PodPolicy open_policy() {
    PodPolicy policy;
    policy.outbound_when_gone = WhenGone::open;
    policy.inbound_when_gone = WhenGone::open;
    return policy;
}

TEST_F(Lifecycle, a_killed_daemon_leaves_a_strict_pod_closed_both_ways) {
    pid_t daemon = start_daemon(PodPolicy{});
    UniqueFd app = listen("a", at("[::]:9000"));
    UniqueFd server = listen("b", at("[::]:8080"));
    kill_daemon(daemon);
    for (const char* to : {"10.99.0.2:8080", "[fd99::2]:8080"}) {
        EXPECT_EQ(connect_error("a", at(to)), EPERM) << to;
    }
    for (const char* to : {"10.99.0.1:9000", "[fd99::1]:9000", "10.99.0.1:15008"}) {
        EXPECT_EQ(connect_error("b", at(to)), ECONNREFUSED) << to;
    }
    EXPECT_TRUE(nothing_to_accept(app.get()));
    EXPECT_TRUE(nothing_to_accept(server.get()));
    EXPECT_EQ(connect_error("a", at("10.99.0.1:9000")), 0) << "inside the pod nothing changes";
    reopen();
    EXPECT_EQ(count("outbound_gone_closed"), 2u);
    EXPECT_EQ(count("inbound_gone_closed"), 3u);
}

TEST_F(Lifecycle, a_killed_daemon_leaves_an_open_pod_direct) {
    pid_t daemon = start_daemon(open_policy());
    UniqueFd app = listen("a", at("[::]:9000"));
    UniqueFd server = listen("b", at("[::]:8080"));
    kill_daemon(daemon);
    for (const char* to : {"10.99.0.2:8080", "[fd99::2]:8080"}) {
        UniqueFd client = connect("a", at(to));
        EXPECT_TRUE(accept_from(server.get()).valid()) << to;
    }
    for (const char* to : {"10.99.0.1:9000", "[fd99::1]:9000"}) {
        UniqueFd client = connect("b", at(to));
        EXPECT_TRUE(accept_from(app.get()).valid()) << to;
    }
}

TEST_F(Lifecycle, a_hung_daemon_counts_as_gone) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    UniqueFd app = listen("a", at("0.0.0.0:9000"));
    ASSERT_NO_FATAL_FAILURE(age_the_heartbeat());
    EXPECT_EQ(connect_error("a", at("10.99.0.2:8080")), EPERM);
    ASSERT_TRUE(datapath_->update("test/a", open_policy()));
    UniqueFd out = connect("a", at("10.99.0.2:8080"));
    EXPECT_TRUE(accept_from(server.get()).valid());
    UniqueFd in = connect("b", at("10.99.0.1:9000"));
    EXPECT_TRUE(accept_from(app.get()).valid());
    datapath_->beat();
    UniqueFd again = connect("a", at("10.99.0.2:8080"));
    EXPECT_TRUE(accept_from(listeners_->outbound.get()).valid()) << "back after one beat";
}

TEST_F(Lifecycle, a_successor_re_adopts_the_pod_in_its_slot) {
    pid_t daemon = start_daemon(PodPolicy{});
    kill_daemon(daemon);
    ASSERT_NO_FATAL_FAILURE(reopen());
    auto adopted = datapath_->adopted_pods();
    ASSERT_EQ(adopted.size(), 1u);
    EXPECT_EQ(adopted[0].uid, "test/a");
    EXPECT_EQ(adopted[0].state, PodState::enrolled);
    UniqueFd app = listen("a", at("0.0.0.0:9000"));
    EXPECT_EQ(connect_error("a", at("10.99.0.2:8080")), EPERM) << "still closed";
    EXPECT_EQ(connect_error("b", at("10.99.0.1:9000")), ECONNREFUSED) << "still closed";
    auto links_before = run("ls " + options().bpffs_dir);
    ASSERT_NO_FATAL_FAILURE({
        datapath_.reset();
        start();
    });
    EXPECT_EQ(pod_->slot, adopted[0].slot);
    EXPECT_TRUE(datapath_->adopted_pods().empty());
    EXPECT_EQ(run("ls " + options().bpffs_dir), links_before);
    UniqueFd out = connect("a", at("10.99.0.2:8080"));
    EXPECT_TRUE(accept_from(listeners_->outbound.get()).valid());
    UniqueFd in = connect("b", at("10.99.0.1:9000"));
    EXPECT_TRUE(accept_from(listeners_->inbound.get()).valid());
}

TEST_F(Lifecycle, a_lost_journal_does_not_open_the_pod_and_the_cookie_finds_it) {
    for (const char* garbage : {"", "not a journal\n", "orlop-datapath\t1"}) {
        SCOPED_TRACE(garbage);
        pid_t daemon = start_daemon(PodPolicy{});
        kill_daemon(daemon);
        std::ofstream(options().state_dir + "/datapath-test.journal") << garbage;
        ASSERT_NO_FATAL_FAILURE(reopen());
        auto adopted = datapath_->adopted_pods();
        ASSERT_EQ(adopted.size(), 1u);
        EXPECT_EQ(adopted[0].uid, "");
        EXPECT_EQ(connect_error("a", at("10.99.0.2:8080")), EPERM);
        auto pod = datapath_->prepare(spec("a"));
        ASSERT_TRUE(pod.has_value()) << pod.error().context;
        EXPECT_EQ(pod->slot, adopted[0].slot);
        EXPECT_TRUE(datapath_->adopted_pods().empty());
        ASSERT_TRUE(datapath_->forget("test/a"));
        datapath_.reset();
    }
}

TEST_F(Lifecycle, unclaimed_pods_are_taken_out_whole) {
    std::string before = netns_state("a");
    pid_t daemon = start_daemon(PodPolicy{});
    EXPECT_NE(netns_state("a"), before);
    kill_daemon(daemon);
    ASSERT_NO_FATAL_FAILURE(reopen());
    ASSERT_TRUE(datapath_->remove_unclaimed());
    EXPECT_TRUE(datapath_->adopted_pods().empty());
    EXPECT_EQ(netns_state("a"), before);
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    EXPECT_EQ(connect_error("a", at("10.99.0.2:8080")), 0);
}

TEST_F(Lifecycle, leaving_keeps_live_connections_and_frees_new_ones) {
    std::string before = netns_state("a");
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    UniqueFd app = listen("a", at("10.99.0.1:9000"));
    UniqueFd old_out = connect("a", at("10.99.0.2:8080"));
    UniqueFd old_out_proxy = accept_from(listeners_->outbound.get());
    UniqueFd old_in = connect("b", at("10.99.0.1:9000"));
    UniqueFd old_in_proxy = accept_from(listeners_->inbound.get());
    auto delivery =
        open_upstream_socket(*pod_->network, {.destination = ip(a4), .deliver_from = ip(b4)});
    ASSERT_TRUE(delivery.has_value());
    connect_socket(delivery->get(), at("10.99.0.1:9000"));
    UniqueFd old_app = accept_from(app.get());
    ASSERT_TRUE(old_app.valid());

    ASSERT_TRUE(datapath_->begin_leave("test/a"));
    UniqueFd new_out = connect("a", at("10.99.0.2:8080"));
    EXPECT_TRUE(accept_from(server.get()).valid());
    UniqueFd new_in = connect("b", at("10.99.0.1:9000"));
    EXPECT_TRUE(accept_from(app.get()).valid());
    EXPECT_TRUE(exchange_bytes(old_out.get(), old_out_proxy.get()));
    EXPECT_TRUE(exchange_bytes(old_in.get(), old_in_proxy.get()));
    EXPECT_TRUE(exchange_bytes(old_app.get(), delivery->get()));

    ASSERT_TRUE(datapath_->activate("test/a")) << "it may come back";
    UniqueFd captured = connect("a", at("10.99.0.2:8080"));
    EXPECT_TRUE(accept_from(listeners_->outbound.get()).valid());

    ASSERT_TRUE(datapath_->begin_leave("test/a"));
    ASSERT_TRUE(datapath_->finish_leave("test/a"));
    EXPECT_EQ(netns_state("a"), before);
    EXPECT_FALSE(datapath_->update("test/a", PodPolicy{}).has_value());
}

TEST_F(Lifecycle, connections_open_before_enrolment_go_on) {
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    UniqueFd early = connect("a", at("10.99.0.2:8080"));
    UniqueFd early_server = accept_from(server.get());
    ASSERT_NO_FATAL_FAILURE(start());
    EXPECT_TRUE(exchange_bytes(early.get(), early_server.get()));
}

TEST_F(Lifecycle, a_deleted_pod_frees_its_namespace) {
    ASSERT_NO_FATAL_FAILURE(start());
    listeners_.reset();
    pod_.reset();
    run("ip netns del " + name_ + "a");
    ASSERT_TRUE(datapath_->forget("test/a"));
    EXPECT_TRUE(eventually([&] {  // b's end of the veth pair goes with the namespace
        return run("ip -n " + name_ + "b link show eth0").find("does not exist") !=
               std::string::npos;
    }));
    run("ip netns add " + name_ + "a");
}

TEST_F(Lifecycle, hostile_or_wrong_specs_are_refused_by_name) {
    auto opened = Datapath::open(options());
    ASSERT_TRUE(opened.has_value());
    datapath_ = std::move(*opened);
    struct Case {
        const char* what;
        std::function<void(PodSpec&)> spoil;
        const char* says;
    };
    PodSpec good = spec("a");
    for (const Case& c : {
             Case{"own", [](PodSpec& s) { s.netns_path = "/proc/self/ns/net"; }, "hostNetwork"},
             Case{"other kind",
                  [](PodSpec& s) { s.netns_path = "/proc/self/ns/mnt"; },
                  "no network namespace"},
             Case{"file", [](PodSpec& s) { s.netns_path = "/etc/passwd"; }, "no network namespace"},
             Case{"absent",
                  [](PodSpec& s) { s.netns_path = "/run/netns/none"; },
                  "has the pod gone"},
             Case{"newline", [](PodSpec& s) { s.netns_path = "/run/netns/a\npod"; }, "control"},
             Case{"uid", [](PodSpec& s) { s.uid = "a\tb"; }, "uid"},
             Case{"ports",
                  [](PodSpec& s) { s.policy.exclusions.outbound_ports.assign(65, {1, 1}); },
                  "excludeOutboundPorts"},
         }) {
        SCOPED_TRACE(c.what);
        PodSpec bad = good;
        c.spoil(bad);
        auto pod = datapath_->prepare(bad);
        ASSERT_FALSE(pod.has_value());
        EXPECT_NE(pod.error().context.find(c.says), std::string::npos) << pod.error().context;
    }
    ASSERT_TRUE(datapath_->prepare(good));
    PodSpec twin = good;
    twin.uid = "test/twin";
    auto pod = datapath_->prepare(twin);
    ASSERT_FALSE(pod.has_value());
    EXPECT_NE(pod.error().context.find("already belongs to pod test/a"), std::string::npos);
    EXPECT_FALSE(datapath_->activate("test/a").has_value()) << "no listeners yet";
}

TEST_F(Lifecycle, one_daemon_per_instance) {
    ASSERT_NO_FATAL_FAILURE(start());
    auto second = Datapath::open(options());
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().context.find("another orlopd"), std::string::npos);
    EXPECT_FALSE(Datapath::uninstall(options()).has_value()) << "not beside a running daemon";
}

TEST_F(Lifecycle, pinned_maps_of_another_layout_are_not_misread) {
    ASSERT_NO_FATAL_FAILURE(start());
    {
        UniqueFd meta(bpf_obj_get((options().bpffs_dir + "/map_meta").c_str()));
        std::uint32_t zero = 0;
        orlop_meta other{.abi = ORLOP_ABI_VERSION + 1, .reason_count = 1};
        ASSERT_EQ(bpf_map_update_elem(meta.get(), &zero, &other, BPF_ANY), 0);
    }
    datapath_.reset();
    auto opened = Datapath::open(options());
    ASSERT_FALSE(opened.has_value());
    EXPECT_NE(opened.error().context.find("orlopctl uninstall"), std::string::npos);
}

TEST_F(Lifecycle, a_program_that_meets_another_layout_refuses) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd pods(bpf_obj_get((options().bpffs_dir + "/map_pods").c_str()));
    orlop_pod entry{};
    ASSERT_EQ(bpf_map_lookup_elem(pods.get(), &pod_->slot, &entry), 0);
    entry.abi += 1;
    ASSERT_EQ(bpf_map_update_elem(pods.get(), &pod_->slot, &entry, BPF_ANY), 0);
    EXPECT_EQ(connect_error("a", at("10.99.0.2:8080")), EPERM);
    EXPECT_EQ(connect_error("b", at("10.99.0.1:8080")), ECONNREFUSED);
    EXPECT_EQ(count("outbound_bad_config"), 1u);
    EXPECT_EQ(count("inbound_bad_config"), 1u);
}

// The ids of everything in the kernel, as "map 12", "link 3", "prog 7".
std::set<std::string> kernel_ids() {
    std::set<std::string> ids;
    std::uint32_t id = 0;
    while (bpf_map_get_next_id(id, &id) == 0) {
        ids.insert(fmt::format("map {}", id));
    }
    id = 0;
    while (bpf_link_get_next_id(id, &id) == 0) {
        ids.insert(fmt::format("link {}", id));
    }
    id = 0;
    while (bpf_prog_get_next_id(id, &id) == 0) {
        ids.insert(fmt::format("prog {}", id));
    }
    return ids;
}

TEST_F(Lifecycle, uninstall_leaves_no_trace) {
    std::string before_a = netns_state("a");
    std::string before_b = netns_state("b");
    std::set<std::string> before = kernel_ids();
    pid_t daemon = start_daemon(PodPolicy{});
    std::set<std::string> during = kernel_ids();
    EXPECT_GE(during.size(), before.size() + 10 + 4 + 3) << "maps, programs and links are there";
    std::vector<std::string> owned = Datapath::list_owned(options());
    EXPECT_EQ(std::ranges::count_if(owned, [](auto& l) { return l.starts_with("link "); }), 3);
    EXPECT_EQ(std::ranges::count_if(owned, [](auto& l) { return l.starts_with("map "); }), 10);
    EXPECT_EQ(std::ranges::count_if(owned, [](auto& l) { return l.starts_with("rule "); }), 4);
    EXPECT_EQ(std::ranges::count_if(owned, [](auto& l) { return l.starts_with("route "); }), 2);
    kill_daemon(daemon);

    auto removed = Datapath::uninstall(options());
    ASSERT_TRUE(removed.has_value()) << removed.error().context;
    EXPECT_EQ(removed->size(), owned.size());
    EXPECT_TRUE(Datapath::list_owned(options()).empty());
    EXPECT_EQ(netns_state("a"), before_a);
    EXPECT_EQ(netns_state("b"), before_b);
    EXPECT_EQ(run("ls -A " + directory_ + "/state; ls -d " + options().bpffs_dir + " | wc -l"),
              "ls: cannot access '" + options().bpffs_dir + "': No such file or directory\n0\n");
    // Other processes may load programs at the same time: none of what appeared with us is left.
    EXPECT_TRUE(eventually([&] {
        std::set<std::string> after = kernel_ids();
        return std::ranges::none_of(during, [&](const std::string& id) {
            return !before.contains(id) && after.contains(id);
        });
    }));
    auto again = Datapath::uninstall(options());
    ASSERT_TRUE(again.has_value());
    EXPECT_TRUE(again->empty());
}

TEST_F(Lifecycle, uninstall_finds_namespaces_without_journal_or_path) {
    std::string before = netns_state("a");
    pid_t daemon = start_daemon(PodPolicy{});
    kill_daemon(daemon);
    ASSERT_EQ(::unlink((options().state_dir + "/datapath-test.journal").c_str()), 0);
    ASSERT_TRUE(Datapath::uninstall(options()).has_value());
    EXPECT_EQ(netns_state("a"), before);
}

TEST_F(Lifecycle, a_clean_stop_can_remove_everything) {
    std::string before = netns_state("a");
    ASSERT_NO_FATAL_FAILURE(start());
    listeners_.reset();
    ASSERT_TRUE(datapath_->close(Pins::remove));
    datapath_.reset();
    EXPECT_TRUE(Datapath::list_owned(options()).empty());
    EXPECT_EQ(netns_state("a"), before);
}

TEST_F(Lifecycle, the_time_to_enrol_is_printed) {
    ASSERT_NO_FATAL_FAILURE(start());
    // Processor time of this thread: the wall clock of a busy machine says nothing.
    auto now = [] {
        timespec spent{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
        return static_cast<double>(spent.tv_sec) * 1e3 + static_cast<double>(spent.tv_nsec) / 1e6;
    };
    for (int round = 0; round < 5; ++round) {
        auto begin = now();
        ASSERT_TRUE(datapath_->prepare(spec("b")));
        auto prepared = now();
        auto listeners = datapath_->open_listeners("test/b");
        auto listening = now();
        ASSERT_TRUE(datapath_->activate("test/b"));
        auto active = now();
        ASSERT_TRUE(datapath_->begin_leave("test/b"));
        ASSERT_TRUE(datapath_->finish_leave("test/b"));
        std::printf("CPU: prepare %.2f ms, listeners %.2f ms, activate %.2f ms, leave %.2f ms\n",
                    prepared - begin,
                    listening - prepared,
                    active - listening,
                    now() - active);
    }
}

}  // namespace orlop::datapath::test
