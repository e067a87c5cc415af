#include "daemon/net/listener.h"

#include "daemon/base/log.h"

#include <cassert>
#include <unistd.h>

namespace orlop::net {
namespace {
constexpr Duration pause_length = std::chrono::milliseconds(50);
}

Listener::Listener(runtime::Loop& loop, UniqueFd socket, Handler handler)
    : loop_(loop), socket_(std::move(socket)), handler_(std::move(handler)),
      pause_(&Listener::on_pause_over, this), settled_(loop) {
    accept_.code = runtime::OpCode::accept;
    accept_.fd = socket_.get();
    accept_.owner = this;
    accept_.on_complete = &Listener::on_accepted;
}

Listener::~Listener() {
    assert(!accept_.in_flight && "stop() was not awaited");
}

void Listener::start() {
    loop_.backend().start(accept_);
}

void Listener::on_accepted(runtime::Operation& operation) {
    auto& self = *static_cast<Listener*>(operation.owner);
    if (operation.result >= 0) {
        if (self.stopping_) {
            self.loop_.backend().close(operation.result);
        } else {
            self.handler_(operation.result);
        }
    }
    if (operation.in_flight) {
        return;
    }
    self.settled_.set();
    if (self.stopping_) {
        return;
    }
    int error = operation.result < 0 ? -operation.result : 0;
    if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) {
        if (!std::exchange(self.complained_, true)) {
            log_line(LogLevel::error,
                     "net",
                     "accept: {}; raise LimitNOFILE (ulimit -n)",
                     std::strerror(error));
        }
        self.loop_.timers().set(self.pause_, self.loop_.now() + pause_length);
        return;
    }
    if (error == EINVAL || error == EBADF) {
        log_line(LogLevel::error, "net", "a listener failed: {}", std::strerror(error));
        return;
    }
    self.start();
}

void Listener::on_pause_over(void* context) {
    auto& self = *static_cast<Listener*>(context);
    if (!self.stopping_ && !self.accept_.in_flight) {
        self.start();
    }
}

runtime::Task<void> Listener::stop() {
    stopping_ = true;
    pause_.cancel();
    loop_.backend().cancel(accept_);
    while (accept_.in_flight) {
        settled_.clear();
        co_await settled_;
    }
    if (socket_.valid()) {
        loop_.backend().close(socket_.release());
    }
}

}  // namespace orlop::net
