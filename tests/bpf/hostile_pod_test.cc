// Pods without privilege, moments of weakness, and many threads at once.
#include "bpf/abi.h"
#include "tests/bpf/pod_world.h"

#include <fmt/core.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <thread>

namespace orlop::datapath::test {

class HostilePod : public PodWorld {
protected:
    // Runs `body` in a child process and returns what it returned (0..255).
    int in_child(const std::function<int()>& body) {
        pid_t child = ::fork();
        if (child == 0) {
            ::_exit(body());
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    }
    // connect() of a process in pod a that is nobody, its socket bound to `device` if not empty.
    int unprivileged_connect(const SocketAddress& to, const std::string& device) {
        return in_child([&] {
            UniqueFd netns(::open(netns_path("a").c_str(), O_RDONLY | O_CLOEXEC));
            if (::setns(netns.get(), CLONE_NEWNET) != 0 || ::setgid(65534) != 0 ||
                ::setuid(65534) != 0) {
                return 254;
            }
            int socket = ::socket(to.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM, 0);
            if (!device.empty() && ::setsockopt(socket,
                                                SOL_SOCKET,
                                                SO_BINDTODEVICE,
                                                device.c_str(),
                                                static_cast<socklen_t>(device.size())) != 0) {
                return 253;
            }
            return connect_socket(socket, to);
        });
    }
};

TEST_F(HostilePod, an_app_without_privilege_is_captured) {
    ASSERT_NO_FATAL_FAILURE(start());
    for (const char* to : {"10.99.0.2:8080", "[fd99::2]:8080"}) {
        EXPECT_EQ(unprivileged_connect(at(to), ""), 0) << to;
        UniqueFd taken = accept_from(listeners_->outbound.get());
        ASSERT_TRUE(taken.valid()) << to;
        EXPECT_EQ(local_address(taken.get()), at(to));
    }
}

TEST_F(HostilePod, an_app_without_privilege_bound_to_a_device_never_bypasses_a_closed_pod) {
    ASSERT_NO_FATAL_FAILURE(start());
    UniqueFd server = listen("b", at("10.99.0.2:8080"));
    int error = unprivileged_connect(at("10.99.0.2:8080"), "eth0");
    EXPECT_TRUE(error == 0 || error == EPERM) << std::strerror(error);
    EXPECT_TRUE(nothing_to_accept(server.get()));
    EXPECT_EQ(count("outbound_device_cleared") + count("outbound_device_stuck_closed"), 1u);
    std::printf("SO_BINDTODEVICE of an unprivileged app: %s\n",
                error == 0 ? "cleared, captured" : "could not be cleared, refused");
}

TEST_F(HostilePod, no_plaintext_gets_in_or_out_while_a_strict_pod_changes_hands) {
    UniqueFd app = listen("a", at("[::]:9000"));
    UniqueFd server = listen("b", at("[::]:8080"));
    ASSERT_NO_FATAL_FAILURE(start());
    std::atomic<bool> stop{false};
    std::atomic<int> probes{0};
    auto probe = [&](const char* pod, const SocketAddress& to) {
        while (!stop) {
            UniqueFd socket = connect(pod, to);
            ++probes;
        }
    };
    std::thread in4(probe, "b", at("10.99.0.1:9000"));
    std::thread out6(probe, "a", at("[fd99::2]:8080"));
    for (int round = 0; round < 5; ++round) {
        int seen = probes;
        EXPECT_TRUE(eventually([&] { return probes > seen + 20; }));
        listeners_.reset();  // dies
        datapath_.reset();
        seen = probes;
        EXPECT_TRUE(eventually([&] { return probes > seen + 20; }));
        start();  // re-adopted: programs replaced, listeners entered again
    }
    stop = true;
    in4.join();
    out6.join();
    EXPECT_TRUE(nothing_to_accept(app.get()));
    EXPECT_TRUE(nothing_to_accept(server.get()));
    EXPECT_GT(count("inbound_gone_closed"), 0u);
    EXPECT_GT(count("outbound_gone_closed"), 0u);
}

TEST_F(HostilePod, a_death_between_any_two_steps_leaves_nothing_behind_an_uninstall) {
    std::string before = netns_state("a");
    for (int steps = 0; steps <= 6; ++steps) {
        SCOPED_TRACE(steps);
        pid_t child = ::fork();
        if (child == 0) {
            auto datapath = std::move(*Datapath::open(options()));
            auto pod = steps >= 1 ? datapath->prepare(spec("a")) : Result<PreparedPod>{};
            auto listeners = steps >= 2 ? datapath->open_listeners("test/a") : Result<Listeners>{};
            bool fine = steps < 3 || datapath->activate("test/a").has_value();
            fine = fine && (steps < 4 || datapath->begin_leave("test/a").has_value());
            fine = fine && (steps < 5 || datapath->activate("test/a").has_value());
            fine = fine && (steps < 6 || datapath->finish_leave("test/a").has_value());
            ::kill(::getpid(), pod && listeners && fine ? SIGKILL : SIGABRT);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        EXPECT_EQ(WTERMSIG(status), SIGKILL) << "the child failed on its way";
        auto removed = Datapath::uninstall(options());
        ASSERT_TRUE(removed.has_value()) << removed.error().context;
        EXPECT_EQ(netns_state("a"), before);
        EXPECT_TRUE(Datapath::list_owned(options()).empty());
    }
}

TEST_F(HostilePod, threads_make_sockets_in_the_right_namespace_and_come_home) {
    ASSERT_NO_FATAL_FAILURE(start());
    auto second = datapath_->prepare(spec("b"));
    ASSERT_TRUE(second.has_value());
    auto cookie = [](int socket) {
        std::uint64_t value = 0;
        socklen_t size = sizeof(value);
        ::getsockopt(socket, SOL_SOCKET, 71, &value, &size);
        return value;
    };
    UniqueFd home(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 500; ++i) {
                const PreparedPod& pod = (i + t) % 2 == 0 ? *pod_ : *second;
                auto made = open_upstream_socket(*pod.network, {.destination = ip(a6)});
                UniqueFd own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                wrong += !made || cookie(made->get()) != pod.netns_cookie ||
                         cookie(own.get()) != cookie(home.get());
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(wrong, 0);
}

}  // namespace orlop::datapath::test
