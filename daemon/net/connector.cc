#include "daemon/net/connector.h"

namespace orlop::net {
namespace {

struct Attempt {
    runtime::Loop& loop;
    runtime::Operation operation;
    bool timed_out = false;

    static void on_deadline(void* self) {
        auto& attempt = *static_cast<Attempt*>(self);
        attempt.timed_out = true;
        attempt.loop.backend().cancel(attempt.operation);
    }
    static void on_interrupt(void* self) {
        auto& attempt = *static_cast<Attempt*>(self);
        attempt.loop.backend().cancel(attempt.operation);
    }
};

struct Wait {
    runtime::Event over;
    static void end(void* self) { static_cast<Wait*>(self)->over.set(); }
};

}  // namespace

runtime::Task<void> wait_for(runtime::Loop& loop, Duration duration, Interrupt& interrupt) {
    if (duration <= Duration::zero() || interrupt.fired()) {
        co_return;
    }
    Wait wait{runtime::Event(loop)};
    runtime::Timer timer(&Wait::end, &wait);
    loop.timers().set(timer, loop.now() + duration);
    interrupt.hook(&Wait::end, &wait);
    co_await wait.over;
    interrupt.unhook();
}

runtime::Task<Result<std::unique_ptr<TcpStream>>>
connect(runtime::Loop& loop, SocketSource& source, const ConnectRequest& request) {
    if (request.interrupt != nullptr && request.interrupt->fired()) {
        co_return fail(ErrorKind::cancelled, "the connection is not wanted any more");
    }
    auto fd = source.open_socket(*request.network,
                                 {request.address.ip, request.deliver_from, request.keepalive});
    if (!fd) {
        co_return std::unexpected(fd.error());
    }
    auto stream = std::make_unique<TcpStream>(loop, *fd);
    Attempt attempt{loop, {}, false};
    attempt.operation.code = runtime::OpCode::connect;
    attempt.operation.fd = *fd;
    attempt.operation.address_length = request.address.to_sockaddr(attempt.operation.address);
    runtime::Timer deadline(&Attempt::on_deadline, &attempt);
    if (request.timeout > Duration::zero()) {
        loop.timers().set(deadline, loop.now() + request.timeout);
    }
    if (request.interrupt != nullptr) {
        request.interrupt->hook(&Attempt::on_interrupt, &attempt);
    }
    int result = co_await runtime::Await(loop, attempt.operation);
    if (request.interrupt != nullptr) {
        request.interrupt->unhook();
    }
    if (result == 0) {
        co_return std::move(stream);
    }
    co_await stream->close(Closing::reset);
    if (attempt.timed_out) {
        co_return fail(ErrorKind::timed_out,
                       "connect timeout to " + request.address.to_string(),
                       Side::upstream);
    }
    co_return fail_errno(-result, "connect to " + request.address.to_string(), Side::upstream);
}

}  // namespace orlop::net
