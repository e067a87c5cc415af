#include "daemon/app/core_set.h"

#include "daemon/base/log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <unistd.h>

namespace orlop::app {

namespace {

// A kernel that refuses one of these keeps its default: the connection is of use all the same.
void set_keepalive(int fd, const net::KeepAlive& wish) {
    const auto seconds = [](Duration duration) {
        return static_cast<int>(std::chrono::duration_cast<std::chrono::seconds>(duration).count());
    };
    const auto set = [fd](int level, int name, int value) {
        if (value > 0) {
            ::setsockopt(fd, level, name, &value, sizeof value);
        }
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPCNT, static_cast<int>(std::min(wish.probes, 127u)));
    set(IPPROTO_TCP, TCP_KEEPIDLE, seconds(wish.time));
    set(IPPROTO_TCP, TCP_KEEPINTVL, seconds(wish.interval));
}

}  // namespace

Result<int> PodSockets::open_socket(const net::Network& network, const net::SocketWish& wish) {
    const auto& handle = static_cast<const PodNetworkHandle&>(network);
    auto fd =
        datapath::open_upstream_socket(handle.network(), {wish.destination, wish.deliver_from});
    if (!fd) {
        return std::unexpected(fd.error());
    }
    if (wish.keepalive) {
        set_keepalive(fd->get(), *wish.keepalive);
    }
    return fd->release();
}

struct CoreSet::Member {
    std::unique_ptr<runtime::Core> core;
    proxy::ProxyCore* proxy = nullptr;  // lives on the core's thread
};

namespace {

// How many of a number of things have happened; waited for by one thread.
class Countdown {
public:
    explicit Countdown(std::size_t count) : left_(count) {}
    void one_done() {
        std::lock_guard lock(mutex_);
        --left_;
        changed_.notify_all();
    }
    bool wait(std::chrono::steady_clock::time_point until) {
        std::unique_lock lock(mutex_);
        return changed_.wait_until(lock, until, [&] { return left_ == 0; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t left_;
};

}  // namespace

Result<std::unique_ptr<CoreSet>>
CoreSet::start(std::size_t cores, telemetry::Metrics& metrics, runtime::UringNotes* notes) {
    std::unique_ptr<CoreSet> set(new CoreSet);
    set->limits_ =
        std::make_shared<proxy::NodeLimits>(telemetry::FastRandom::seeded_by_kernel().next());
    for (std::size_t i = 0; i < cores; ++i) {
        auto member = std::make_unique<Member>();
        runtime::Core::Options options;
        options.thread_name = "orlop-core-" + std::to_string(i);
        Member* slot = member.get();
        auto core = runtime::Core::start(
            options,
            [slot, set = set.get(), &metrics, i](runtime::Loop& loop) {
                auto proxy =
                    std::make_unique<proxy::ProxyCore>(loop, set->sockets_, metrics.core(i), i);
                proxy->share_limits(set->limits_);
                proxy->share_spans(set->spans_);
                slot->proxy = proxy.get();
                return proxy;
            },
            i == 0 ? notes : nullptr);
        if (!core) {
            return std::unexpected(core.error());
        }
        member->core = std::move(*core);
        set->cores_.push_back(std::move(member));
    }
    return set;
}

CoreSet::~CoreSet() {
    drain_and_stop(std::chrono::seconds(0));
}

std::size_t CoreSet::home_of(std::string_view uid) const {
    return std::hash<std::string_view>()(uid) % cores_.size();
}

void CoreSet::tell(std::size_t index, std::function<void(proxy::ProxyCore&)> order) {
    Member& member = *cores_[index];
    auto told =
        member.core->post([proxy = member.proxy, order = std::move(order)] { order(*proxy); });
    if (!told) {
        log_line(LogLevel::error, "app", "core {}: {}", index, told.error().context);
    }
}

void CoreSet::tell_all(const std::function<void(proxy::ProxyCore&)>& order) {
    for (std::size_t i = 0; i < cores_.size(); ++i) {
        tell(i, order);
    }
}

void CoreSet::drain_and_stop(std::chrono::seconds deadline) {
    if (stopped_) {
        return;
    }
    stopped_ = true;
    if (deadline.count() > 0) {
        auto drained = std::make_shared<Countdown>(cores_.size());
        tell_all(
            [drained](proxy::ProxyCore& core) { core.drain([drained] { drained->one_done(); }); });
        if (!drained->wait(std::chrono::steady_clock::now() + deadline)) {
            log_line(LogLevel::warning, "app", "drain deadline passed; open connections are cut");
        }
    }
    auto ended = std::make_shared<Countdown>(cores_.size());
    tell_all([ended](proxy::ProxyCore& core) { core.shut_down([ended] { ended->one_done(); }); });
    if (!ended->wait(std::chrono::steady_clock::now() + std::chrono::seconds(3))) {
        // A connect that cannot be cut is still pending; the kernel cleans up after us.
        log_line(LogLevel::warning, "app", "some connections did not end in time; exiting anyway");
        stop_log_writer();
        ::_exit(0);
    }
    for (auto& member : cores_) {
        member->core->stop();
    }
}

}  // namespace orlop::app
