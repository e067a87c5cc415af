// Task, Scope, Event, Drain, without a ring: the fake one only provides the loop.
#include "daemon/base/error.h"
#include "daemon/runtime/drain.h"
#include "daemon/runtime/event.h"
#include "daemon/runtime/fake_backend.h"
#include "daemon/runtime/scope.h"
#include "daemon/runtime/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace orlop::runtime {
namespace {

struct Bench {
    explicit Bench(FakeOptions options = {})
        : owned(std::make_unique<FakeBackend>(options)), network(*owned), loop(std::move(owned)) {}
    FakeEnd settle(Scope& scope) {
        return run_until(loop, network, [&] { return scope.live() == 0; }, std::chrono::hours(1));
    }
    std::unique_ptr<FakeBackend> owned;
    FakeBackend& network;
    Loop loop;
};

Task<int> forty_two() {
    co_return 42;
}

Task<std::string> spell(int number) {
    co_return std::to_string(number + co_await forty_two());
}

Task<Result<int>> refuse() {
    co_return fail(ErrorKind::denied, "no");
}

Task<std::unique_ptr<int>> movable_only() {
    co_return std::make_unique<int>(7);
}

Task<int> sum_to(int depth) {
    if (depth == 0) {
        co_return 0;
    }
    co_return depth + co_await sum_to(depth - 1);
}

Task<void> collect(std::vector<std::string>* out) {
    out->push_back(co_await spell(1));
    auto refused = co_await refuse();
    out->push_back(refused ? "value" : refused.error().context);
    out->push_back(std::to_string(*co_await movable_only()));
    out->push_back(std::to_string(co_await sum_to(1000)));
}

TEST(Task, gives_values_errors_and_owners_through_nested_calls) {
    Bench bench;
    Scope scope(bench.loop);
    std::vector<std::string> out;
    scope.spawn(collect, &out);
    EXPECT_EQ(out, (std::vector<std::string>{"43", "no", "7", "500500"}));
    EXPECT_EQ(scope.live(), 0u);
}

Task<void> ready_awaits(int count, long* total) {
    for (int i = 0; i < count; ++i) {
        *total += co_await forty_two();
    }
}

TEST(Task, a_million_awaits_that_never_suspend_do_not_grow_the_stack) {
    Bench bench;
    Scope scope(bench.loop);
    long total = 0;
    scope.spawn(ready_awaits, 1'000'000, &total);
    EXPECT_EQ(total, 42'000'000);
}

struct Counted {
    explicit Counted(int* alive) : alive_(alive) { ++*alive_; }
    Counted(Counted&& other) noexcept : alive_(other.alive_) { ++*alive_; }
    Counted(const Counted& other) : alive_(other.alive_) { ++*alive_; }
    ~Counted() { --*alive_; }
    int* alive_;
};

Task<void> hold(Counted counted, bool* ran) {
    *ran = true;
    co_return;
}

TEST(Task, destroyed_without_being_awaited_never_runs_and_frees_its_arguments) {
    int alive = 0;
    bool ran = false;
    {
        auto task = hold(Counted(&alive), &ran);
        EXPECT_EQ(alive, 1);
    }
    EXPECT_EQ(alive, 0);
    EXPECT_FALSE(ran);
}

Task<void>
pause(Loop* loop, Duration duration, Counted counted, std::vector<int>* order, int name) {
    co_await Sleep(*loop, duration);
    order->push_back(name);
}

Task<void> join_and_note(Scope* scope, bool* joined) {
    co_await scope->join();
    *joined = true;
}

TEST(Scope, join_waits_for_every_coroutine_and_for_later_ones) {
    using std::chrono::milliseconds;
    Bench bench;
    Scope scope(bench.loop);
    Scope joiner(bench.loop);
    int alive = 0;
    bool joined = false;
    std::vector<int> order;
    scope.spawn(pause, &bench.loop, milliseconds(30), Counted(&alive), &order, 3);
    scope.spawn(pause, &bench.loop, milliseconds(10), Counted(&alive), &order, 1);
    joiner.spawn(join_and_note, &scope, &joined);
    auto first = [&] { return order.size() == 1; };
    ASSERT_EQ(run_until(bench.loop, bench.network, first, std::chrono::hours(1)), FakeEnd::done);
    scope.spawn(pause, &bench.loop, milliseconds(5), Counted(&alive), &order, 2);
    EXPECT_FALSE(joined);
    EXPECT_EQ(bench.settle(joiner), FakeEnd::done);
    EXPECT_TRUE(joined);
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(alive, 0);
}

Task<void> use_later(Loop* loop, std::string text, std::unique_ptr<int> number, std::string* out) {
    co_await Sleep(*loop, std::chrono::milliseconds(1));
    *out = text + std::to_string(*number);
}

TEST(Scope, arguments_live_in_the_spawned_frame) {
    Bench bench;
    Scope scope(bench.loop);
    std::string out;
    {
        std::string text = "a text that is too long for the small string buffer ";
        scope.spawn(use_later, &bench.loop, text, std::make_unique<int>(5), &out);
        text.assign(200, '!');
    }
    EXPECT_EQ(bench.settle(scope), FakeEnd::done);
    EXPECT_EQ(out, "a text that is too long for the small string buffer 5");
}

TEST(Scope, join_of_an_empty_scope_returns_at_once) {
    Bench bench;
    Scope scope(bench.loop);
    Scope joiner(bench.loop);
    bool joined = false;
    joiner.spawn(join_and_note, &scope, &joined);
    EXPECT_TRUE(joined);
}

Task<void> wait_for(Event* event, int* count) {
    co_await *event;
    ++*count;
}

TEST(ScopeDeathTest, aborts_when_destroyed_with_live_work) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            Bench bench;
            Event never(bench.loop);
            int count = 0;
            Scope scope(bench.loop);
            scope.spawn(wait_for, &never, &count);
        },
        "Scope died with 1 live");
}

TEST(Event, set_before_the_wait_is_remembered_once) {
    Bench bench;
    Event event(bench.loop);
    Scope scope(bench.loop);
    int count = 0;
    event.set();
    event.set();
    scope.spawn(wait_for, &event, &count);
    EXPECT_EQ(count, 1);
    scope.spawn(wait_for, &event, &count);
    EXPECT_EQ(count, 1);
    EXPECT_TRUE(event.has_waiter());
    event.set();
    EXPECT_EQ(count, 1) << "a coroutine never resumes inside set()";
    EXPECT_EQ(bench.settle(scope), FakeEnd::done);
    EXPECT_EQ(count, 2);
}

TEST(Event, clear_forgets) {
    Bench bench;
    Event event(bench.loop);
    Scope scope(bench.loop);
    int count = 0;
    event.set();
    event.clear();
    scope.spawn(wait_for, &event, &count);
    EXPECT_EQ(count, 0);
    event.set();
    EXPECT_EQ(bench.settle(scope), FakeEnd::done);
}

Task<void> work_under(DrainWatcher watcher, Loop* loop, bool* told) {
    for (int i = 0; i < 1000 && !watcher.draining(); ++i) {
        co_await Sleep(*loop, std::chrono::milliseconds(1));
    }
    *told = watcher.draining();
}

Task<void> await_drained(DrainTrigger* trigger, bool* drained) {
    co_await trigger->drained();
    *drained = true;
}

TEST(Drain, is_over_when_the_last_watcher_is_gone) {
    Bench bench;
    DrainTrigger trigger(bench.loop);
    Scope scope(bench.loop);
    bool told[2] = {};
    bool drained = false;
    scope.spawn(work_under, trigger.watch(), &bench.loop, &told[0]);
    scope.spawn(work_under, trigger.watch(), &bench.loop, &told[1]);
    EXPECT_EQ(trigger.watchers(), 2u);
    scope.spawn(await_drained, &trigger, &drained);
    EXPECT_FALSE(drained);
    trigger.begin();
    EXPECT_EQ(bench.settle(scope), FakeEnd::done);
    EXPECT_TRUE(told[0] && told[1]);
    EXPECT_TRUE(drained);
    EXPECT_EQ(trigger.watchers(), 0u);
}

TEST(Drain, an_assigned_watcher_counts_once) {
    Bench bench;
    DrainTrigger trigger(bench.loop);
    {
        DrainWatcher empty;
        DrainWatcher watcher = trigger.watch();
        empty = std::move(watcher);
        EXPECT_EQ(trigger.watchers(), 1u);
        EXPECT_FALSE(empty.draining());
        trigger.begin();
        EXPECT_TRUE(empty.draining());
    }
    EXPECT_EQ(trigger.watchers(), 0u);
}

}  // namespace
}  // namespace orlop::runtime
