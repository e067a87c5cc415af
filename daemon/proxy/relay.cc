#include "daemon/proxy/relay.h"

#include <algorithm>
#include <string>

namespace orlop::proxy {
namespace {

struct Pump {
    net::Stream& from;
    net::Stream& to;
    std::uint64_t& bytes;
    std::optional<Error>& failure;
    Instant& last_byte;
};

// Ends a conversation that has been silent, or has lasted, for too long.
struct Watchdog {
    Watchdog(net::Stream& one, net::Stream& other, const RelayLimits& bounds)
        : first(one), second(other), limits(bounds), begun(one.loop().now()), last_byte(begun),
          timer(&Watchdog::on_timer, this) {
        arm();
    }
    static void on_timer(void* self) {
        auto& dog = *static_cast<Watchdog*>(self);
        const Instant now = dog.first.loop().now();
        const bool silent =
            dog.limits.idle > Duration::zero() && now >= dog.last_byte + dog.limits.idle;
        const bool old =
            dog.limits.duration > Duration::zero() && now >= dog.begun + dog.limits.duration;
        if (!silent && !old) {
            dog.arm();
            return;
        }
        dog.expired = old ? "max connection duration reached" : "idle timeout";
        const Error error{ErrorKind::cancelled, std::string(dog.expired), Side::internal, 0};
        dog.first.abort(error);
        dog.second.abort(error);
    }
    void arm() {
        Instant due = Instant::max();
        if (limits.idle > Duration::zero()) {
            due = last_byte + limits.idle;
        }
        if (limits.duration > Duration::zero()) {
            due = std::min(due, begun + limits.duration);
        }
        if (due != Instant::max()) {
            first.loop().timers().set(timer, due);
        }
    }

    net::Stream& first;
    net::Stream& second;
    RelayLimits limits;
    Instant begun;
    Instant last_byte;
    runtime::Timer timer;
    std::string_view expired{};
};

// A broken direction ends the other one too: half of a conversation is worse than none.
void break_off(const Pump& pump, Error error) {
    if (!pump.failure) {
        pump.failure = error;
    }
    pump.from.abort(error);
    pump.to.abort(std::move(error));
}

runtime::Task<void> run_pump(Pump* pump) {
    while (true) {
        std::string_view bytes = pump->from.input();
        if (bytes.empty()) {
            auto arrived = co_await pump->from.more();
            if (!arrived) {
                break_off(*pump, arrived.error());
                co_return;
            }
            if (*arrived == 0) {
                pump->to.shutdown_write();
                co_return;
            }
            continue;
        }
        pump->last_byte = pump->from.loop().now();
        pump->from.read_ahead();
        auto written = co_await pump->to.write(bytes);
        if (!written) {
            break_off(*pump, written.error());
            co_return;
        }
        pump->bytes += bytes.size();
        pump->from.consume(bytes.size());
    }
}

}  // namespace

runtime::Task<void>
relay_into(net::Stream& first, net::Stream& second, RelayOutcome& outcome, RelayLimits limits) {
    Watchdog watchdog(first, second, limits);
    Pump forth{first, second, outcome.to_second, outcome.failure, watchdog.last_byte};
    Pump back{second, first, outcome.to_first, outcome.failure, watchdog.last_byte};
    runtime::Scope pumps(first.loop());
    pumps.spawn(&run_pump, &back);
    pumps.spawn(&run_pump, &forth);
    co_await pumps.join();
    outcome.expired = watchdog.expired;
}

runtime::Task<RelayOutcome> relay(net::Stream& first, net::Stream& second) {
    RelayOutcome outcome;
    co_await relay_into(first, second, outcome);
    co_return outcome;
}

}  // namespace orlop::proxy
