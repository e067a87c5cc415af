// Task<T>: a lazy coroutine, awaited in the expression that made it.
//
// It starts when awaited and finishes before the awaiting expression does, so references to
// objects of the caller are safe. It cannot be moved or detached; what must outlive the expression
// goes to a Scope. Frames come from a per-thread pool: a Task must be destroyed on the thread that
// created it. Exceptions inside terminate: failures are values (base/error.h).
//
//     Task<Result<int>> read_number(Stream& stream);
//     auto number = co_await read_number(stream);
#pragma once

#include "daemon/base/block_pool.h"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace orlop::runtime {

// Specialise to true for guards and views that must not be captured by a coroutine frame.
template <class T> inline constexpr bool forbidden_as_coroutine_parameter = false;

namespace detail {

struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
        return self.promise().continuation;
    }
    void await_resume() const noexcept {}
};

struct PromiseBase : InBlocks {
    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::suspend_always initial_suspend() noexcept { return {}; }
    FinalAwaiter final_suspend() noexcept { return {}; }
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] [[clang::coro_return_type]] [[clang::coro_lifetimebound]] Task {
public:
    struct promise_type;

    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    ~Task() {
        if (handle_) {
            handle_.destroy();
        }
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        handle_.promise().continuation = caller;
        return handle_;
    }
    T await_resume() {
        if constexpr (!std::is_void_v<T>) {
            return std::move(*handle_.promise().value);
        }
    }

private:
    explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T> struct PromiseValue : PromiseBase {
    std::optional<T> value;
    template <class U = T> void return_value(U&& result) { value.emplace(std::forward<U>(result)); }
};
template <> struct PromiseValue<void> : PromiseBase {
    void return_void() noexcept {}
};
}  // namespace detail

template <class T> struct Task<T>::promise_type : detail::PromiseValue<T> {
    promise_type() = default;
    template <class... Args> explicit promise_type(Args&&...) {
        static_assert((!forbidden_as_coroutine_parameter<std::remove_cvref_t<Args>> && ...),
                      "this type may not be a coroutine parameter: it would dangle");
    }
    [[clang::coro_wrapper]] Task get_return_object() {
        return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
};

}  // namespace orlop::runtime
