// Loop and Core on the kernel's ring: messages, stop, and many threads.
#include "daemon/base/limits.h"
#include "daemon/runtime/core.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/scope.h"
#include "daemon/runtime/uring_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace orlop::runtime {
namespace {

UringOptions small() {
    UringOptions options;
    options.entries = 64;
    options.completions = 128;
    options.buffers = 8;
    return options;
}

std::unique_ptr<Loop> kernel_loop() {
    auto backend = create_uring_backend(small(), nullptr);
    EXPECT_TRUE(backend) << backend.error().context;
    return std::make_unique<Loop>(std::move(*backend));
}

TEST(Loop, runs_messages_of_other_threads_in_each_threads_order) {
    auto loop = kernel_loop();
    constexpr int threads = 4, each = 5000;
    std::vector<int> seen[threads];
    int total = 0;
    auto note = [&](int thread, int number) {
        seen[thread].push_back(number);
        if (++total == threads * each) {
            loop->stop();
        }
    };
    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t) {
        posters.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                EXPECT_TRUE(loop->post([&, t, i] { note(t, i); }));
            }
        });
    }
    loop->run();
    for (auto& poster : posters) {
        poster.join();
    }
    for (const auto& numbers : seen) {
        EXPECT_EQ(numbers.size(), static_cast<std::size_t>(each));
        EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
    }
}

// Each message is posted only after the one before has run: no wake-up may be lost.
TEST(Loop, wakes_for_every_single_message) {
    auto loop = kernel_loop();
    std::atomic<int> answered = 0;
    std::thread poster([&] {
        for (int i = 0; i < 2000; ++i) {
            std::promise<void> ran;
            auto done = ran.get_future();
            ASSERT_TRUE(loop->post([&] { ran.set_value(); }));
            done.wait();
            ++answered;
        }
        ASSERT_TRUE(loop->post([&] { loop->stop(); }));
    });
    loop->run();
    poster.join();
    EXPECT_EQ(answered, 2000);
}

TEST(Loop, a_message_may_post_another) {
    auto loop = kernel_loop();
    int left = 1000;
    std::function<void()> again = [&] {
        if (--left == 0) {
            loop->stop();
        } else {
            EXPECT_TRUE(loop->post(again));
        }
    };
    ASSERT_TRUE(loop->post(again));
    loop->run();
    EXPECT_EQ(left, 0);
}

TEST(Loop, refuses_messages_beyond_the_bound) {
    auto loop = kernel_loop();
    for (std::size_t i = 0; i < limits::core_messages_max; ++i) {
        ASSERT_TRUE(loop->post([] {}));
    }
    auto refused = loop->post([] {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::limit_exceeded);
    EXPECT_NE(refused.error().context.find("core_messages_max"), std::string::npos);
    loop->turn(Backend::Wait::no);
    EXPECT_TRUE(loop->post([] {}));
}

TEST(Loop, stop_before_run_returns_at_once) {
    auto loop = kernel_loop();
    loop->stop();
    loop->run();
    ASSERT_TRUE(loop->post([&] { loop->stop(); }));
    loop->run();
}

// Resumes itself for ever, until something else of the loop gets its turn.
struct Yield {
    Loop& loop;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> self) { loop.resume_later(self); }
    void await_resume() const {}
};

Task<void> spin_until(Loop* loop, const bool* done) {
    while (!*done) {
        co_await Yield{*loop};
    }
}

Task<void> sleep_then(Loop* loop, bool* done) {
    co_await Sleep(*loop, std::chrono::milliseconds(1));
    *done = true;
}

TEST(Loop, a_busy_coroutine_starves_neither_timers_nor_messages_nor_the_ring) {
    auto loop = kernel_loop();
    Scope scope(*loop);
    bool timer = false, message = false, ring = false;
    scope.spawn(spin_until, loop.get(), &timer);
    scope.spawn(spin_until, loop.get(), &message);
    scope.spawn(spin_until, loop.get(), &ring);
    scope.spawn(sleep_then, loop.get(), &timer);
    auto nothing = [](Loop* l, bool* done) -> Task<void> {
        Operation nop;
        co_await Await(*l, nop);
        *done = true;
    };
    scope.spawn(nothing, loop.get(), &ring);
    std::thread poster([&] { ASSERT_TRUE(loop->post([&] { message = true; })); });
    while (scope.live() != 0) {
        loop->turn(loop->idle() ? Backend::Wait::until_event : Backend::Wait::no);
    }
    poster.join();
    EXPECT_TRUE(timer && message && ring);
}

TEST(Loop, sleeps_end_in_order_and_never_early) {
    auto owned = std::make_unique<FakeBackend>(FakeOptions{});
    FakeBackend& network = *owned;
    Loop loop(std::move(owned));
    Scope scope(loop);
    std::vector<int> order;
    auto nap = [](Loop* l, int ms, std::vector<int>* out) -> Task<void> {
        Instant begun = l->now();
        co_await Sleep(*l, std::chrono::milliseconds(ms));
        EXPECT_GE(l->now() - begun, std::chrono::milliseconds(ms));
        out->push_back(ms);
    };
    for (int ms : {50, 7, 1, 3'600'000, 200, 0}) {
        scope.spawn(nap, &loop, ms, &order);
    }
    EXPECT_EQ(run_until(
                  loop, network, [&] { return scope.live() == 0; }, std::chrono::hours(2)),
              FakeEnd::done);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 7, 50, 200, 3'600'000}));
}

TEST(LoopDeathTest, a_frame_may_not_die_under_its_operation) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            auto owned = std::make_unique<FakeBackend>(FakeOptions{});
            int fd = owned->socket();
            Loop loop(std::move(owned));
            Operation receive;
            receive.code = OpCode::receive;
            receive.fd = fd;
            Await await(loop, receive);
            await.await_suspend(std::noop_coroutine());
        },
        "destroyed under an operation in flight");
}

// --- Core ----------------------------------------------------------------------------------------

struct Tally final : Core::Guest {
    explicit Tally(std::atomic<int>* alive) : alive_(alive) { ++*alive_; }
    ~Tally() override { --*alive_; }
    std::atomic<int>* alive_;
};

std::unique_ptr<Core> start_core(std::atomic<int>* alive) {
    UringNotes notes;
    auto core = Core::start(
        {"test core", -1, small()},
        [alive](Loop&) { return std::make_unique<Tally>(alive); },
        &notes);
    EXPECT_TRUE(core) << core.error().context;
    EXPECT_TRUE(notes.lines.empty() || notes.lines[0].find("Linux") != std::string::npos);
    return std::move(*core);
}

TEST(Core, its_guest_lives_from_start_to_stop) {
    std::atomic<int> alive = 0;
    auto core = start_core(&alive);
    EXPECT_EQ(alive, 1);
    std::promise<std::thread::id> where;
    ASSERT_TRUE(core->post([&] { where.set_value(std::this_thread::get_id()); }));
    EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
    core->stop();
    EXPECT_EQ(alive, 0);
    core->stop();
    auto late = core->post([] {});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, ErrorKind::closed);
}

TEST(Core, may_be_posted_to_by_many_threads_while_it_stops) {
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> alive = 0;
        std::atomic<int> ran = 0, accepted = 0;
        auto core = start_core(&alive);
        std::atomic<bool> go = false;
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                while (core->post([&] { ++ran; })) {
                    ++accepted;
                    go = true;
                    go.notify_one();
                }
            });
        }
        go.wait(false);
        threads.emplace_back([&] { core->stop(); });
        core->stop();
        for (auto& thread : threads) {
            thread.join();
        }
        EXPECT_LE(ran, accepted);
        EXPECT_EQ(alive, 0);
    }
}

TEST(Core, two_cores_send_each_other_messages) {
    std::atomic<int> alive = 0;
    auto left = start_core(&alive);
    auto right = start_core(&alive);
    std::promise<int> finished;
    struct Ball {
        Core* here;
        Core* there;
        std::promise<int>* finished;
        void hit(int count) {
            if (count == 1000) {
                finished->set_value(count);
                return;
            }
            EXPECT_TRUE(there->post(
                [ball = Ball{there, here, finished}, count]() mutable { ball.hit(count + 1); }));
        }
    };
    ASSERT_TRUE(left->post([&] { Ball{left.get(), right.get(), &finished}.hit(0); }));
    EXPECT_EQ(finished.get_future().get(), 1000);
}

TEST(Core, says_why_a_ring_cannot_be_made) {
    UringOptions impossible = small();
    impossible.completions = 1;
    impossible.entries = 0;
    auto nobody = [](Loop&) { return nullptr; };
    auto core = Core::start({"broken", -1, impossible}, nobody, nullptr);
    ASSERT_FALSE(core);
    EXPECT_NE(core.error().context.find("io_uring"), std::string::npos) << core.error().context;
}

}  // namespace
}  // namespace orlop::runtime
