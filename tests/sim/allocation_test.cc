// A warm request allocates nothing. operator new of this binary counts while asked to.
#include "tests/sim/world.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace orlop::sim {
namespace {

// Callers and applications below live on fixed arrays, and the fake ring pauses the counting, so
// that what is counted are the coroutines of the proxy. A head that arrives in pieces may be joined
// in heap memory: here they arrive whole.
std::atomic<bool> counting = false;
std::atomic<std::size_t> allocations = 0;

[[maybe_unused]] void* counted(std::size_t size) {
    if (counting.load(std::memory_order_relaxed)) {
        allocations.fetch_add(1, std::memory_order_relaxed);
    }
    void* memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) {
        std::abort();
    }
    return memory;
}

}  // namespace
}  // namespace orlop::sim

#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) &&                         \
    !__has_feature(thread_sanitizer)
void* operator new(std::size_t size) {
    return orlop::sim::counted(size);
}
void* operator new[](std::size_t size) {
    return orlop::sim::counted(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}
#define ORLOP_COUNTS_ALLOCATIONS 1
#endif

namespace orlop::sim {
namespace {

class Uncounted final : public runtime::Backend {
public:
    explicit Uncounted(std::unique_ptr<FakeBackend> inner) : inner_(std::move(inner)) {}
    static std::unique_ptr<runtime::Backend> wrap(std::unique_ptr<FakeBackend> inner) {
        return std::make_unique<Uncounted>(std::move(inner));
    }
    struct Pause {
        Pause() : was(counting.exchange(false)) {}
        ~Pause() { counting = was; }
        bool was;
    };
    void start(runtime::Operation& operation) override {
        Pause pause;
        inner_->start(operation);
    }
    void cancel(runtime::Operation& operation) override {
        Pause pause;
        inner_->cancel(operation);
    }
    void release_buffer(const runtime::LentBuffer& buffer) override {
        Pause pause;
        inner_->release_buffer(buffer);
    }
    void close(int fd) override {
        Pause pause;
        inner_->close(fd);
    }
    void poll(Wait wait, std::optional<Instant> deadline) override {
        Pause pause;
        inner_->poll(wait, deadline);
    }
    Instant now() override { return inner_->now(); }
    const runtime::BackendStats& stats() const override { return inner_->stats(); }
    SocketAddress local_address(int fd) override { return inner_->local_address(fd); }
    SocketAddress peer_address(int fd) override { return inner_->peer_address(fd); }
    void shutdown_write(int fd) override {
        Pause pause;
        inner_->shutdown_write(fd);
    }
    void set_close_style(int fd, CloseStyle style) override { inner_->set_close_style(fd, style); }
    void prepare_stream_socket(int fd) override { inner_->prepare_stream_socket(fd); }

private:
    std::unique_ptr<FakeBackend> inner_;
};

// Bytes from a socket into a fixed array until `mark` ends them; false at an end or an error.
Task<bool> receive_fixed(World* world, int fd, std::string_view mark, std::size_t* total) {
    std::array<char, 4096> seen;
    std::size_t size = 0;
    while (size < mark.size() ||
           std::string_view(seen.data(), size).substr(size - mark.size()) != mark) {
        runtime::Operation operation;
        operation.code = runtime::OpCode::receive;
        operation.fd = fd;
        int result = co_await runtime::Await(world->loop, operation);
        if (result <= 0) {
            co_return false;
        }
        std::memcpy(seen.data() + size, operation.lent->data, operation.lent->size);
        size += operation.lent->size;
        world->loop.backend().release_buffer(*operation.lent);
    }
    *total += size;
    co_return true;
}

Task<bool> send_fixed(World* world, int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        runtime::Operation operation;
        operation.code = runtime::OpCode::send;
        operation.fd = fd;
        operation.buffer = const_cast<char*>(bytes.data());
        operation.length = bytes.size();
        int result = co_await runtime::Await(world->loop, operation);
        if (result <= 0) {
            co_return false;
        }
        bytes.remove_prefix(static_cast<std::size_t>(result));
    }
    co_return true;
}

struct Exchanges {
    std::string_view request;
    std::string_view answer;
    unsigned warm = 50;
    unsigned counted = 200;
    std::size_t received = 0;
    unsigned done = 0;
};

Task<void> ask_many(World* world, Exchanges* exchanges) {
    ScriptedPeer peer(world->loop, world->network.socket());
    co_await peer.connect(*SocketAddress::parse("10.96.0.1:80"));
    for (unsigned i = 0; i < exchanges->warm + exchanges->counted; ++i) {
        counting = i >= exchanges->warm;
        if (!co_await send_fixed(world, peer.fd(), exchanges->request) ||
            !co_await receive_fixed(world, peer.fd(), "end", &exchanges->received)) {
            break;
        }
        ++exchanges->done;
    }
    counting = false;
}

Task<void> answer_many(App* app, ScriptedPeer* peer, std::size_t) {
    auto* exchanges = static_cast<Exchanges*>(app->context);
    std::size_t total = 0;
    while (co_await receive_fixed(&app->world(),
                                  peer->fd(),
                                  exchanges->request.substr(exchanges->request.size() - 4),
                                  &total) &&
           co_await send_fixed(&app->world(), peer->fd(), exchanges->answer)) {
    }
}

[[maybe_unused]] std::size_t allocations_of(Exchanges exchanges, const std::string& route) {
    World world({.latency_max = Duration(1000), .short_read = 0}, &Uncounted::wrap);
    world.pod("shop-1", "10.0.0.1", "shop");
    world.pod("shop-2", "10.0.0.2", "shop");
    if (!route.empty()) {
        world.apply("vs", route);
    }
    App app(world, "10.0.0.1:9090", &answer_many);
    App other(world, "10.0.0.2:9090", &answer_many);
    app.context = other.context = &exchanges;
    allocations = 0;
    world.scope().spawn(&ask_many, &world, &exchanges);
    EXPECT_EQ(world.settle(), FakeEnd::done) << world.network.describe();
    EXPECT_EQ(exchanges.done, exchanges.warm + exchanges.counted);
    std::size_t counted = allocations;
    world.finish();
    return counted;
}

struct Warm {
    const char* what;
    Exchanges exchanges;
    const char* route;
};

TEST(Allocation, a_warm_request_makes_none) {
#ifndef ORLOP_COUNTS_ALLOCATIONS
    GTEST_SKIP() << "a sanitizer owns operator new";
#else
    const char* vs = R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {prefix: /a}, headers: {x-user: {exact: me}}}]
    route: [{destination: {host: shop}}]
    timeout: 5s
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx}
)";
    for (const Warm& one : {
             Warm{"GET with a length",
                  {"GET /a HTTP/1.1\r\nhost: shop\r\nx-user: me\r\n\r\n",
                   "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n...end"},
                  ""},
             Warm{"GET under a VirtualService",
                  {"GET /a HTTP/1.1\r\nhost: shop\r\nx-user: me\r\n\r\n",
                   "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n...end"},
                  vs},
             Warm{"POST with a body",
                  {"POST /a HTTP/1.1\r\nhost: shop\r\nx-user: me\r\ncontent-length: "
                   "8\r\n\r\nbodybody",
                   "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n...end"},
                  vs},
         }) {
        std::size_t counted = allocations_of(one.exchanges, one.route);
        EXPECT_EQ(counted, 0u) << one.what << ": " << static_cast<double>(counted) / 200
                               << " per request";
    }
#endif
}

}  // namespace
}  // namespace orlop::sim
