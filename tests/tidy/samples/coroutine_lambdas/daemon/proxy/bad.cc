Task<void> f(int x) {
    auto a = [x]() -> Task<void> { co_return; };
    auto b = [&](int y) -> Task<Result<int>> {
        auto inner = [] { return 1; };
        co_return inner();
    };
    auto c = [](int y) -> Task<void> { co_await y; };
    auto d = [x](int y) {
        return [](int z) -> Task<void> { co_await z; };
    };
    scope.spawn([this] { co_await work(); });
    co_await a();
}
